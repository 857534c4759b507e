//! Way out of the container's pod: another member's, or taken over from one that has ended.

use super::super::pod::{ExitNews, ExitWatch};
use super::Monitor;

impl Monitor {
    /// Handles the end of the member that has the way out, and what is due.
    pub(super) fn look_after_exit(&mut self) {
        if self.ended.is_some() {
            return;
        }
        match self.exit.as_mut().and_then(ExitWatch::turn) {
            None => {}
            Some(ExitNews::Failed(report)) => self.log.say(&report),
            Some(ExitNews::Taken(network)) => {
                self.network = *network;
                if let Err(error) = self.network.serve_names() {
                    self.log.say(&error.to_string());
                }
                self.look_after_helper();
            }
        }
    }
}
