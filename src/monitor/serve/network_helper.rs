//! Network helper of the container: news about it go to the log, the state and the event log.

use std::time::Instant;

use super::super::events;
use super::Monitor;
use crate::engine;
use crate::net::{HelperChange, HelperNews, HelperWatch, NameService};

/// Action of the event after a new start of the network helper.
const RESTARTED: &str = "network_restart";

impl Monitor {
    /// Time of the next work for the network without an event.
    pub(super) fn network_deadline(&self) -> Option<Instant> {
        let names = self.names.as_ref().and_then(NameService::deadline);
        names.into_iter().chain(self.helper.as_ref().and_then(HelperWatch::due)).min()
    }

    /// Does the work for the network that is due.
    pub(super) fn turn_network(&mut self) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| Instant::now() >= due);
        if let Some(names) = self.names.as_mut().filter(|names| is_due(names.deadline())) {
            names.turn();
        }
        if is_due(self.helper.as_ref().and_then(HelperWatch::due)) {
            self.look_after_helper();
        }
    }

    /// Handles the events of the helper.
    pub(super) fn look_after_helper(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let Some(helper) = &mut self.helper else { return };
        if let Some(news) = helper.turn(&self.membership) {
            self.hear_helper(&news);
        }
    }

    fn hear_helper(&mut self, news: &HelperNews) {
        if let Some(report) = &news.report {
            self.log.say(report);
        }
        let reason = match news.change {
            HelperChange::Down => return self.has_trouble(engine::HELPER_DIED),
            HelperChange::Restarted => "died",
            HelperChange::Replaced => "host_changed",
        };
        if self.state.trouble.as_deref() == Some(engine::HELPER_DIED) {
            self.set_trouble(None);
        }
        if news.report.is_some() {
            let attributes =
                [("helper", news.program.name().to_owned()), ("reason", reason.to_owned())];
            events::of_container(&self.store, &self.record, RESTARTED, &attributes);
        }
    }
}
