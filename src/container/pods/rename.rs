//! New name of a member, on the named networks of its pod and in the /etc/hosts of all members.

use super::host_names;
use super::known::Pod;
use super::launch::names;
use crate::container::{Container, network};
use crate::error::Result;
use crate::monitor::pod::{self, UplinkFile};
use crate::monitor::record::Record;
use crate::net::{LiveFile, definition};

/// Gives a member that runs the name of its new record. Does nothing for a container without a pod. Errors: a file of
/// the pod cannot be written.
pub(in crate::container) fn rename_member(container: &Container, record: &Record) -> Result<()> {
    let Some(id) = &record.pod else { return Ok(()) };
    let Some(pod) = Pod::open(&container.store, id)? else { return Ok(()) };
    let Some(process) = container.status()?.state().map(|state| state.process) else {
        return Ok(());
    };
    let mut live = Vec::new();
    for attachment in &pod.record.network.attachments {
        let definition = definition::named(&container.store, &attachment.network)?;
        live.push(LiveFile::of(&network::live_folder(&container.store)?, &definition.id));
    }
    UplinkFile::of(&pod::folder(&container.store, id)).change(|owner| {
        for member in owner.members.iter_mut().filter(|member| member.process == process) {
            member.names = names(record);
        }
        owner.tell(id, live.iter());
    })?;
    let renamed = Container { record: record.clone(), ..container.clone() };
    host_names::tell_members(&renamed)
}
