//! Descriptors of the caller that a command gets: those that the user chose, or the sockets of socket activation.

use std::os::fd::RawFd;

use crate::engine::{LISTEN_FDS, ListenSockets};
use crate::error::{Error, Phrase, Result, Setting};
use crate::hint;
use crate::sys::fd;

/// Descriptors that a user chose for a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreservedDescriptors<'a> {
    /// Number of descriptors from 3 on.
    pub count: u32,
    /// Numbers of further ones.
    pub named: &'a [u32],
}

/// Marks all descriptors but 0 to 2 close-on-exec: the last step before the command makes exceptions. Returns the
/// sockets for the command: none where the user chose descriptors (podman's rule). Errors: one is not open.
pub(super) fn passed_sockets(
    sockets: Option<&ListenSockets>,
    preserved: PreservedDescriptors<'_>,
) -> Result<Option<ListenSockets>> {
    let PreservedDescriptors { count, named } = preserved;
    if count == 0 && named.is_empty() {
        check_sockets(sockets)?;
        return Ok(sockets.cloned());
    }
    if sockets.is_some() {
        let chosen = if count > 0 { Setting::PreserveFds } else { Setting::PreserveFd };
        log::warn!(
            "the sockets of {LISTEN_FDS} are ignored: {chosen} names the descriptors to pass"
        );
    }
    check_descriptors(preserved)?;
    Ok(None)
}

fn check_descriptors(descriptors: PreservedDescriptors<'_>) -> Result<()> {
    let PreservedDescriptors { count, named: preserved } = descriptors;
    let named = preserved.iter().map(|number| *number as RawFd);
    let passed = (3..3 + count as RawFd).chain(named);
    fd::close_all_at_exec(passed).map_err(|(number, error)| {
        let setting: Phrase =
            match u32::try_from(number).is_ok_and(|number| preserved.contains(&number)) {
                true => Setting::PreserveFd.into(),
                false => Setting::PreserveFds.with(count),
            };
        Error::from(error)
            .within(format!("descriptor {number}"))
            .within(setting)
            .hint(hint::PRESERVED_DESCRIPTORS)
    })
}

/// Marks all descriptors but 0 to 2 close-on-exec. Errors: one of the sockets is not open.
pub(super) fn check_sockets(sockets: Option<&ListenSockets>) -> Result<()> {
    let numbers = sockets.map_or(0..0, ListenSockets::numbers);
    fd::close_all_at_exec(numbers).map_err(|(number, error)| {
        Error::from(error).within(format!("descriptor {number}")).within(LISTEN_FDS)
    })
}
