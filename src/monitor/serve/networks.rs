//! Changes of the container's networks while it runs.

use super::Monitor;
use crate::error::{Error, Result};
use crate::fail;
use crate::net::NetworkChange;

impl Monitor {
    /// Carries out a change, a [`NetworkChange`] as JSON. Its record has been changed before. Errors: those of the change,
    /// which then changes nothing.
    pub(super) fn change_networks(&mut self, json: &[u8]) -> Result<()> {
        let change: NetworkChange = serde_json::from_slice(json).map_err(Error::new)?;
        if self.ended.is_some() {
            fail!(NotRunning: "the container has ended");
        }
        let left = self.network.change(change, self.state.process.pid)?;
        left.into_iter().for_each(|error| self.log.say(&error.to_string()));
        Ok(())
    }
}
