//! Changes of the container's networks while it runs.

use std::path::Path;

use super::super::protocol::NetworkChange;
use super::super::record::{self, CONTAINER, Record};
use super::Monitor;
use crate::error::{Error, Result};
use crate::fail;
use crate::net::{self, HelperWatch, NameService, namespace};

impl Monitor {
    /// Carries out a change, a [`NetworkChange`] as JSON. Its record has been changed before. Errors: those of the change,
    /// which then changes nothing.
    pub(super) fn change_networks(&mut self, json: &[u8]) -> Result<()> {
        let change: NetworkChange = serde_json::from_slice(json).map_err(Error::new)?;
        if self.ended.is_some() {
            fail!(NotRunning: "the container has ended");
        }
        let pid = self.state.process.pid;
        match change {
            NetworkChange::Connect(plan, identity) => {
                let place = self.membership.add(&plan, &identity, pid)?;
                let endpoint = &mut self.membership.endpoints[place];
                NameService::serve(&mut self.names, endpoint).inspect_err(|_| {
                    self.membership.remove(&plan.definition.id);
                })?;
            }
            NetworkChange::Disconnect(id) => {
                self.names.iter_mut().for_each(|names| names.detach(&id));
                self.membership.remove(&id);
                self.end_exit();
            }
            NetworkChange::Reload => self.membership.reload(pid)?,
        }
        if let Err(error) = self.rewrite_resolver() {
            self.log.say(&error.to_string());
        }
        Ok(())
    }

    /// Ends the helper of a container whose networks have no way out any more.
    fn end_exit(&mut self) {
        let networks: Vec<_> = self.membership.definitions().cloned().collect();
        let record = record::read_if_whole::<Record>(&self.folder, CONTAINER).ok().flatten();
        if record.is_none_or(|record| record.network.has_exit(&networks)) {
            return;
        }
        if let Some(helper) = self.helper.take().and_then(HelperWatch::into_child) {
            let _ = helper.signal(libc::SIGKILL);
            let _ = helper.wait();
        }
        self.membership.lose_exit();
    }

    /// Writes the name servers of the networks that the container has now.
    fn rewrite_resolver(&self) -> Result<()> {
        let Some(record) = record::read::<Record>(&self.folder, CONTAINER)? else { return Ok(()) };
        let networks = self.membership.endpoints.iter().map(|one| one.definition.clone());
        match record.network.resolv_conf(&networks.collect::<Vec<_>>())? {
            Some(content) => {
                let path = Path::new(net::RESOLV_CONF);
                namespace::replace_generated(self.state.process.pid, path, &content)
            }
            None => Ok(()),
        }
    }
}
