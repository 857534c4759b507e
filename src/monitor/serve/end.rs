//! End of a command: remaining output goes to its destinations, the end is recorded, then reported; and the next step.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::clients::Clients;
use super::super::events;
use super::super::handover::{Handover, RELAUNCH, REMOVE};
use super::super::launch::keep_sockets;
use super::super::log::Source;
use super::super::pod::UplinkWatch;
use super::super::policy::{self, Ending};
use super::super::record::{self, CONTAINER, Exit, STATE};
use super::super::streams::Streams;
use super::Monitor;
use crate::engine;
use crate::error::{Error, Result};
use crate::net::NetworkDefinition;
use crate::sys::fd;
use crate::sys::process::Ended;

impl Monitor {
    /// Delivers the remaining output and records the end. Returns the time to wait before a restart. `None`: no
    /// restart.
    pub(super) fn end(&mut self, waited: Duration) -> Result<Option<Duration>> {
        let left = self.disconnect();
        if !self.ends_all {
            engine::end_children();
        }
        self.hear_oom();
        self.oom.end();
        for source in [Source::Output, Source::Error] {
            while self.streams.source(source).is_some() {
                self.drain_clients()?;
                if self.carry_once(source).is_none() {
                    break;
                }
            }
        }
        let journal = self.log.finish();
        self.read_record_again();
        let ended = self.ended.unwrap_or(Ended::Killed(libc::SIGKILL));
        let ending = Ending {
            status: ended.status(),
            is_wanted: self.is_stopped() || !self.folder.exists(),
            restarts: self.state.restarts,
        };
        let is_to_restart = self.is_to_restart && !ending.is_wanted;
        let wait = (is_to_restart || self.record.restart.restarts(ending))
            .then(|| policy::backoff(waited, self.state.process.age()));
        if wait.is_some() {
            self.state.restarting = true;
            // On a full disk the container is restarted all the same, and until then seems to have ended for good.
            let written = record::write(&self.folder, STATE, &self.state);
            written.unwrap_or_else(|error| self.log.say(&error.to_string()));
        }
        let written = record::write_exit(&self.folder, &Exit { journal, ..self.exit(ended) });
        written.unwrap_or_else(|error| self.log.say(&error.to_string()));
        let status = ("exitCode", ended.status().to_string());
        events::of_container(&self.store, &self.record, "die", &[status]);
        events::of_networks(&self.store, &self.record.id, "disconnect", left.iter());
        self.streams = Streams::default();
        self.drain_clients()?;
        self.clients.tell_end(ended.status());
        Ok(wait)
    }

    /// Kills the network helper and leaves the networks first: clients that learn of the end find the ports and
    /// addresses free. Without ports nothing waits for the helper's end, which takes the kernel 20 ms and more. Returns
    /// the networks.
    fn disconnect(&mut self) -> Vec<NetworkDefinition> {
        if let Some(helper) = self.network.take_helper() {
            let _ = helper.signal(libc::SIGKILL);
            let of_pod = self.uplink.as_ref().is_some_and(UplinkWatch::publishes);
            if of_pod || !self.record.network.forwards.is_empty() {
                let _ = helper.wait();
            }
        }
        self.uplink = None;
        std::mem::take(&mut self.network).membership.definitions().cloned().collect()
    }

    /// Reads the record again: name and restart policy may have changed during the run.
    fn read_record_again(&mut self) {
        if let Ok(Some(record)) = record::read(&self.folder, CONTAINER) {
            self.record = record;
        }
    }

    /// Writes an event if the kernel has killed a process for want of memory since the last call.
    pub(super) fn hear_oom(&mut self) {
        if self.oom.is_new() {
            events::of_container(&self.store, &self.record, "oom", &[]);
        }
    }

    /// Records a trouble of the container, the reason of a later end.
    pub(super) fn has_trouble(&mut self, trouble: &str) {
        self.set_trouble(Some(trouble.to_owned()));
    }

    /// Records a trouble, or that it is over.
    pub(super) fn set_trouble(&mut self, trouble: Option<String>) {
        self.state.trouble = trouble;
        if let Err(error) = record::write(&self.folder, STATE, &self.state) {
            self.log.say(&error.to_string());
        }
    }

    fn exit(&self, ended: Ended) -> Exit {
        Exit {
            run: self.state.run,
            status: ended.status(),
            signal: match ended {
                Ended::Killed(signal) => Some(signal),
                Ended::Exited(_) => None,
            },
            oom: self.oom.has_killed(),
            started: Some(self.state.started),
            finished: Timestamp::now(),
            reason: self.state.trouble.clone(),
            journal: None,
        }
    }

    /// Waits until each client that must not miss output has received its message, or has disconnected.
    pub(super) fn drain_clients(&mut self) -> Result<()> {
        while self.clients.are_full() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Waits before the next start; returns false if the container was stopped meanwhile.
    pub(super) fn wait(&mut self, wait: Duration) -> Result<bool> {
        let until = Instant::now() + wait;
        self.clients = Clients::default();
        while Instant::now() < until && !self.is_stopped() {
            self.turn(Some(until))?;
        }
        Ok(!self.is_stopped())
    }

    pub(super) fn stop_listening(&mut self) {
        if self.listener.take().is_some()
            && let Some(path) = &self.state.socket
        {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Becomes the program that starts or removes the container.
    pub(super) fn hand_back(
        mut self,
        lock: OwnedFd,
        waited: Duration,
        role: &str,
    ) -> Result<Infallible> {
        if role == REMOVE {
            self.stop_listening();
        }
        let number = |fd: OwnedFd| fd::hand_over(fd).map_err(Error::from);
        let handover = Handover {
            lock: number(lock)?,
            held: Vec::new(),
            keeper: None,
            helper: None,
            networks: Vec::new(),
            notifier: None,
            status: self.ended.map_or(0, Ended::status),
            pod: None,
            sockets: self.sockets.take().filter(|_| role == RELAUNCH),
            listener: self.listener.take().map(number).transpose()?,
            client: None,
            terminal: None,
            pipes: [None; 3],
            ends_all: self.ends_all,
            waited: waited.as_millis() as u64,
            signals: Vec::new(),
            store: self.store,
            folder: self.folder,
        };
        keep_sockets(handover.sockets.as_ref())?;
        handover.exec(role)
    }
}
