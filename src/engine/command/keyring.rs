//! New, empty session keyring of a command.
//!
//! Of all namespaces only the user namespace isolates keys. Without this step the container inherits the user's session
//! keyring. A login may have put Kerberos tickets, CIFS and fscrypt keys there.
//!
//! The keyring has no name. A named keyring is looked up in the user namespace of the process that joins it. That
//! namespace is new for each container: no later container could share the keyring, and so save the user's quota.
//! Besides, a process in the container could make a keyring of that name before a command of `exec` joins it.

use std::io;

use crate::engine::plan::step::Step;
use crate::engine::step_error::{OnObject, StepResult};
use crate::security::seccomp::{self, Action, Architecture, Policy, Rule};
use crate::sys::keyring;
use crate::sys::seccomp::Listening;

/// System calls for keys.
const CALLS: [&str; 3] = ["add_key", "keyctl", "request_key"];

/// Replaces the caller's session keyring by a new one. That fails where the user's quota of keys is used up, or a
/// filter of an outer container refuses the call. Then denies the system calls for keys by a filter, which needs
/// CAP_SYS_ADMIN; unless the command's own filter (of `steps`) denies them.
pub fn replace_session(steps: &[Step]) -> StepResult {
    let is_denied = |step: &Step| matches!(step, Step::Seccomp(filter, _) if filter.denies(&CALLS));
    match keyring::join_new_session() {
        Ok(()) => Ok(()),
        // A kernel without keyrings.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        Err(_) if steps.iter().any(is_denied) => Ok(()),
        Err(_) => deny().on(|| "keep the caller's keyring out"),
    }
}

fn deny() -> io::Result<()> {
    let policy = Policy {
        default: Action::Allow,
        architectures: Architecture::of_this_machine().to_vec(),
        rules: vec![Rule {
            calls: CALLS.map(str::to_owned).into(),
            action: Action::Errno(libc::ENOSYS as u16),
            tests: Vec::new(),
        }],
        younger: None,
    };
    // <linux/seccomp.h>: does not slow the processor down on kernels before 5.16.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
    let program = seccomp::compile(&[policy]).map_err(io::Error::other)?;
    crate::sys::seccomp::install(&program, flags, Listening::No).map(drop)
}
