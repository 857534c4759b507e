//! Networks of a running container, in the hands of its parent: the monitor, or the parent of a container in the
//! foreground. The parent's loop polls the descriptors; nothing here waits for a helper.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::helper_watch::{HelperNews, HelperWatch};
use super::membership::{JoinPlan, MemberIdentity, Membership};
use super::name_service::NameService;
use super::program::Helper;
use super::{RESOLV_CONF, namespace};
use crate::error::{Error, Result};
use crate::sys::process::Child;

/// Networks of a running container, with all that serves them.
#[derive(Debug, Default)]
pub struct RunningNetwork {
    /// Named networks of the container.
    pub membership: Membership,
    /// Answers for their names; `None`: no network has names.
    pub names: Option<NameService>,
    /// Network helper, a child of this process. `None`: no uplink.
    pub helper: Option<HelperWatch>,
}

/// Change of the networks of a running container, and what follows from it.
#[derive(Debug, Serialize, Deserialize)]
pub struct NetworkChange {
    /// The change.
    pub kind: NetworkChangeKind,
    /// Consequence for the uplink.
    pub uplink: UplinkChange,
    /// New content of resolv.conf. `None`: the file is not one of ours.
    pub resolv_conf: Option<String>,
}

/// Kinds of changes.
#[derive(Debug, Serialize, Deserialize)]
pub enum NetworkChangeKind {
    /// Join a network.
    Connect(Box<JoinPlan>, Box<MemberIdentity>),
    /// Leave the network with this ID.
    Disconnect(String),
    /// Connect all networks anew.
    Reload,
}

/// Consequence of a change of networks for the uplink.
#[derive(Debug, Serialize, Deserialize)]
pub enum UplinkChange {
    /// The uplink stays as it is.
    Keep,
    /// A container without an uplink gets one, by the first of these helpers that works.
    Begin(Vec<Helper>),
    /// The uplink ends.
    End,
}

impl RunningNetwork {
    /// True if this process does work for the networks.
    pub fn is_served(&self) -> bool {
        self.names.is_some() || self.helper.is_some()
    }

    /// Begins to answer for the names of the networks. Errors: the names are not answered; all else works.
    pub fn serve_names(&mut self) -> Result<()> {
        self.names = NameService::of(&mut self.membership)?;
        Ok(())
    }

    /// Time of the next [`Self::turn`] without an event.
    pub fn due(&self) -> Option<Instant> {
        let names = self.names.as_ref().and_then(NameService::deadline);
        names.into_iter().chain(self.helper.as_ref().and_then(HelperWatch::due)).min()
    }

    /// Handles what is due. Returns the helper's change to report.
    pub fn turn(&mut self) -> Option<HelperNews> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| Instant::now() >= due);
        if let Some(names) = self.names.as_mut().filter(|names| is_due(names.deadline())) {
            names.turn();
        }
        match is_due(self.helper.as_ref().and_then(HelperWatch::due)) {
            true => self.turn_helper(),
            false => None,
        }
    }

    /// Handles questions about names that have arrived.
    pub fn turn_names(&mut self) {
        self.names.iter_mut().for_each(NameService::turn);
    }

    /// Handles the events of the helper. Returns the change to report.
    pub fn turn_helper(&mut self) -> Option<HelperNews> {
        self.helper.as_mut().and_then(|helper| helper.turn(&self.membership))
    }

    /// Handles a SIGCHLD. Returns the helper's change to report.
    pub fn hear_child(&mut self) -> Option<HelperNews> {
        self.helper.as_ref().and_then(HelperWatch::continue_if_stopped)
    }

    /// Closes the sockets for DNS queries, as long as this process is stopped. The kernel spreads the queries over the
    /// sockets of all members, whether their processes run or not.
    pub fn pause_names(&mut self) {
        self.names = None;
    }

    /// Opens the sockets for questions about names again. Errors: the names are not answered; all else works.
    pub fn resume_names(&mut self) -> Result<()> {
        self.membership.reopen_names()?;
        self.serve_names()
    }

    /// Stops watching the helper, and returns its process, which the caller ends.
    pub fn take_helper(&mut self) -> Option<Child> {
        self.helper.take().and_then(HelperWatch::into_child)
    }

    /// Carries out a change for the container whose process is `pid`. Returns the reason why resolv.conf is the old one,
    /// if so. Errors: those of the change, which then changes nothing.
    pub fn change(&mut self, change: NetworkChange, pid: i32) -> Result<Option<Error>> {
        match change.kind {
            NetworkChangeKind::Connect(plan, identity) => {
                let place = self.membership.add(&plan, &identity, pid)?;
                let endpoint = &mut self.membership.endpoints[place];
                NameService::serve(&mut self.names, endpoint)
                    .and_then(|()| self.change_uplink(change.uplink, pid))
                    .inspect_err(|_| self.leave(&plan.definition.id))?;
            }
            NetworkChangeKind::Disconnect(id) => {
                self.leave(&id);
                self.change_uplink(change.uplink, pid)?;
            }
            NetworkChangeKind::Reload => self.membership.reload(pid)?,
        }
        let path = Path::new(RESOLV_CONF);
        let replace = |content: &String| namespace::replace_generated(pid, path, content).err();
        Ok(change.resolv_conf.as_ref().and_then(replace))
    }

    fn leave(&mut self, id: &str) {
        self.names.iter_mut().for_each(|names| names.detach(id));
        self.membership.remove(id);
    }

    fn change_uplink(&mut self, uplink: UplinkChange, pid: i32) -> Result<()> {
        match uplink {
            UplinkChange::Begin(helpers) if self.helper.is_none() && !helpers.is_empty() => {
                self.helper = Some(HelperWatch::beginning(helpers, pid)?);
                self.membership.gain_uplink();
            }
            UplinkChange::Keep | UplinkChange::Begin(_) => {}
            UplinkChange::End => {
                if let Some(helper) = self.take_helper() {
                    let _ = helper.signal(libc::SIGKILL);
                    let _ = helper.wait();
                }
                self.membership.lose_uplink();
            }
        }
        Ok(())
    }
}
