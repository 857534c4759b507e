//! The session keyring of a command: a new, empty one.
//!
//! Keys are no part of any namespace's boundary but the user's: the session keyring of whoever runs usnea would come
//! along into the container, and with it the Kerberos tickets, CIFS and fscrypt keys that a login has put there.
//!
//! The keyring has no name. One of a fixed name is looked up in the user namespace of whoever joins it, which is new for
//! each container, so it would save none of the user's quota; and a process in the container could make one of that name
//! before a command of `exec` joins it.

use std::io;

use super::trouble::{Done, On};
use crate::security::seccomp::{self, Action, Architecture, Policy, Rule};
use crate::sys::keyring;
use crate::sys::seccomp::Listening;

/// The calls that reach keys.
const CALLS: [&str; 3] = ["add_key", "keyctl", "request_key"];

/// Leaves the caller's session keyring. Where there can be no new one (the user's quota of keys is spent, or a filter of
/// an outer container refuses it) the calls that reach keys are denied instead, for which CAP_SYS_ADMIN must be in hand.
pub fn leave() -> Done {
    match keyring::join_new_session() {
        Ok(()) => Ok(()),
        // A kernel without keyrings.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
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
    };
    // <linux/seccomp.h>: no slower for the processor on kernels before 5.16.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
    let program = seccomp::compile(&policy).map_err(io::Error::other)?;
    crate::sys::seccomp::install(&program, flags, Listening::No).map(drop)
}
