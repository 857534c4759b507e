//! User, groups and capabilities of the command.

use std::io;

use crate::engine::plan::process::{Groups, ProcessCredentials};
use crate::engine::step_error::{OnObject, StepResult};
use crate::sys::process;

/// State of the system call filter. Installing a filter without no_new_privs needs CAP_SYS_ADMIN (seccomp(2)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PendingFilter {
    /// A filter is still to be installed: CAP_SYS_ADMIN stays until then.
    Filter,
    /// No later step needs an extra capability.
    Nothing,
}

/// Drops capabilities and becomes the command's user. Order matters: the bounding set needs CAP_SETPCAP, the groups
/// CAP_SETGID, the user CAP_SETUID; the remaining sets are reduced last. Verifies the IDs at the end: a wrong user must
/// not go unnoticed (CVE-2026-30892).
pub fn drop_privileges(who: &ProcessCredentials, ahead: PendingFilter) -> StepResult {
    use caps::CapSet;
    let failed = |_: caps::errors::CapsError| io::Error::from_raw_os_error(libc::EPERM);
    for capability in caps::all() {
        if !who.bounding.contains(&capability) {
            match caps::drop(None, CapSet::Bounding, capability) {
                Ok(()) => {}
                Err(_) if !caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false) => {} // unknown to this kernel
                Err(error) => return Err(failed(error)).on(|| format!("drop {capability}")),
            }
        }
    }
    process::keep_capabilities()?;
    if let Groups::Set(groups) = &who.groups {
        let groups: Vec<nix::unistd::Gid> = groups.iter().map(|gid| (*gid).into()).collect();
        nix::unistd::setgroups(&groups).on(|| "setgroups")?;
    }
    process::become_user(who.uid, who.gid).on(|| format!("{}:{}", who.uid, who.gid))?;
    // CVE-2022-27649, CVE-2022-29162: inheritable and ambient are empty unless the config names capabilities for them.
    caps::clear(None, CapSet::Ambient).map_err(failed).on(|| "clear ambient")?;
    caps::set(None, CapSet::Inheritable, &who.inheritable)
        .map_err(failed)
        .on(|| "set inheritable")?;
    reduce_sets(who, ahead)?;
    for capability in &who.ambient {
        caps::raise(None, CapSet::Ambient, *capability)
            .map_err(failed)
            .on(|| format!("raise {capability}"))?;
    }
    let (user, group) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
    let is_all = |ids: [u32; 3], id: u32| ids.iter().all(|now| *now == id);
    if is_all([user.real.as_raw(), user.effective.as_raw(), user.saved.as_raw()], who.uid)
        && is_all([group.real.as_raw(), group.effective.as_raw(), group.saved.as_raw()], who.gid)
    {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EPERM)).on(|| "the user did not change")
}

/// Reduces the effective and permitted sets to those of `who`, plus CAP_SYS_ADMIN while a filter is still to be
/// installed.
pub fn reduce_sets(who: &ProcessCredentials, ahead: PendingFilter) -> StepResult {
    use caps::{CapSet, Capability};
    let failed = |_: caps::errors::CapsError| io::Error::from_raw_os_error(libc::EPERM);
    let (mut effective, mut permitted) = (who.effective.clone(), who.permitted.clone());
    if ahead == PendingFilter::Filter {
        effective.insert(Capability::CAP_SYS_ADMIN);
        permitted.insert(Capability::CAP_SYS_ADMIN);
    }
    caps::set(None, CapSet::Effective, &effective).map_err(failed).on(|| "set effective")?;
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed).on(|| "set permitted")
}
