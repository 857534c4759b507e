//! `usnea rename`: changes the record. The lock on the names serializes concurrent renames.

use super::{Container, Names, network, pods};
use crate::error::{Error, Result};
use crate::monitor::events;
use crate::monitor::record::{self, CONTAINER, Record};
use crate::net::{LiveFile, definition};
use crate::spec::ContainerName;

/// Renames a container. Errors: another container has the name.
pub fn rename(container: &Container, name: &ContainerName) -> Result<()> {
    container.refuse_foreground("other name can be given to it")?;
    let names = Names::lock(&container.store)?;
    let id = &container.record.id;
    names.assign(name.as_str(), id)?;
    let old = current(container).inspect_err(|_| names.release(name.as_str(), id))?;
    let record = Record { name: name.to_string(), ..old.clone() };
    record::change(&container.store, &container.folder, &record)
        .inspect_err(|_| names.release(name.as_str(), id))?;
    names.release(&old.name, id);
    match container.status()?.elsewhere() {
        // The live files of networks are on that machine.
        Some(host) if !record.network.attachments.is_empty() => log::warn!(
            "container {name} runs on {host}: its networks know it by its old name until its next start"
        ),
        _ => rename_member(container, &record),
    }
    if let Err(error) = pods::rename_member(container, &record) {
        log::warn!("the pod knows the container by its old name: {error}");
    }
    events::of_container(&container.store, &record, "rename", &[("oldName", old.name)]);
    Ok(())
}

/// Renames the container on its named networks. If that fails, warns: the old name stays valid there until the next
/// start.
pub(super) fn rename_member(container: &Container, record: &Record) {
    for attachment in &record.network.attachments {
        let rename = || -> Result<()> {
            let definition = definition::named(&container.store, &attachment.network)?;
            let live = LiveFile::of(&network::live_folder(&container.store)?, &definition.id);
            if !live.path().exists() {
                return Ok(());
            }
            let spec = container.spec_if_any()?.unwrap_or_default();
            let identity = network::identity(&record.id, Some(&record.name), &spec);
            live.change(|network| {
                let members = network.members.iter_mut();
                for member in members.filter(|member| *member.container == *record.id) {
                    member.name.clone_from(&identity.name);
                    member.names = identity.names(attachment);
                }
                Ok(())
            })
        };
        if let Err(error) = rename() {
            let network = &attachment.network;
            log::warn!("network {network} knows the container by its old name: {error}");
        }
    }
}

/// Reads the record again, under the lock.
pub(super) fn current(container: &Container) -> Result<Record> {
    let gone = || Error::not_found(format!("container {} is gone", container.short_id()));
    record::read(&container.folder, CONTAINER)?.ok_or_else(gone)
}
