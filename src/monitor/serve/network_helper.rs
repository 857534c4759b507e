//! Network helper of the container: news about it go to the log, the state and the event log.

use std::time::Instant;

use super::super::events;
use super::super::pod::UplinkWatch;
use super::Monitor;
use crate::engine;
use crate::net::{HelperChange, HelperNews};

/// Action of the event after a new start of the network helper.
const RESTARTED: &str = "network_restart";

impl Monitor {
    /// Time of the next work for the network without an event.
    pub(super) fn network_deadline(&self) -> Option<Instant> {
        let uplink = self.uplink.as_ref().and_then(UplinkWatch::due);
        self.network.due().into_iter().chain(uplink).min()
    }

    /// Does the work for the network that is due.
    pub(super) fn turn_network(&mut self) {
        if self.ended.is_none()
            && let Some(news) = self.network.turn()
        {
            self.hear_helper(&news);
        }
        let uplink = self.uplink.as_ref().and_then(UplinkWatch::due);
        if uplink.is_some_and(|due| Instant::now() >= due) {
            self.watch_pod_uplink();
        }
    }

    /// Handles the events of the helper.
    pub(super) fn look_after_helper(&mut self) {
        if self.ended.is_none()
            && let Some(news) = self.network.turn_helper()
        {
            self.hear_helper(&news);
        }
    }

    /// Handles a SIGCHLD, which a stopped helper causes too.
    pub(super) fn hear_child(&mut self) {
        if let Some(news) = self.network.hear_child() {
            self.hear_helper(&news);
        }
    }

    fn hear_helper(&mut self, news: &HelperNews) {
        if let Some(report) = &news.report {
            self.log.say(report);
        }
        let reason = match news.change {
            // The reason of the first failure stays.
            HelperChange::Down if self.state.offline.is_some() => return,
            HelperChange::Down => return self.has_trouble(engine::HELPER_DIED),
            HelperChange::Continued => return,
            HelperChange::Begun => None,
            HelperChange::Restarted => Some("died"),
            HelperChange::Revived => Some("hung"),
            HelperChange::Replaced => Some("host_changed"),
        };
        let was_offline = self.state.offline.take().is_some();
        if self.state.trouble.as_deref() == Some(engine::HELPER_DIED) {
            self.set_trouble(None);
        } else if was_offline {
            self.set_trouble(self.state.trouble.clone());
        }
        if let (Some(_), Some(reason)) = (&news.report, reason) {
            let attributes =
                [("helper", news.program.name().to_owned()), ("reason", reason.to_owned())];
            events::of_container(&self.store, &self.record, RESTARTED, &attributes);
        }
    }
}
