//! Way out of the container's pod: another member's, or taken over from one that has ended.

use super::super::pod::{UplinkNews, UplinkWatch};
use super::Monitor;

impl Monitor {
    /// Handles the end of the uplink's owner, and the next attempt to take the uplink over.
    pub(super) fn watch_pod_uplink(&mut self) {
        if self.ended.is_some() {
            return;
        }
        match self.uplink.as_mut().and_then(UplinkWatch::turn) {
            None => {}
            Some(UplinkNews::Failed(report)) => self.log.say(&report),
            Some(UplinkNews::Taken(network)) => {
                self.network = *network;
                if let Err(error) = self.network.serve_names() {
                    self.log.say(&error.to_string());
                }
                self.look_after_helper();
            }
        }
    }
}
