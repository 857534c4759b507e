//! Filter of the supervisor's own system calls. A process in the container chooses what the supervisor reads: its
//! arguments, memory and descriptors. A fault there must not lead to a program, socket, namespace, mount or signal.
//!
//! No landlock domain: it would forbid to read the memory of callers, which are outside of the domain (landlock(7),
//! ptrace restrictions).

use std::io;

use crate::security::seccomp::{self, Action, Architecture, Policy, Rule};
use crate::sys::seccomp::Listening;

/// Calls that the supervisor never makes, by their effect.
const CALLS: [&[&str]; 6] = [
    // Programs and processes.
    &["clone", "clone3", "execve", "execveat", "fork", "ptrace", "vfork"],
    // Sockets.
    &[
        "accept",
        "accept4",
        "bind",
        "connect",
        "listen",
        "recvfrom",
        "recvmmsg",
        "recvmsg",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "socket",
        "socketpair",
    ],
    // Signals.
    &["kill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill"],
    // Namespaces and mounts.
    &[
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "pivot_root",
        "setns",
        "umount2",
        "unshare",
    ],
    // Large parts of the kernel.
    &[
        "bpf",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "perf_event_open",
        "userfaultfd",
    ],
    // Keys, modules, the machine.
    &[
        "acct",
        "add_key",
        "delete_module",
        "finit_module",
        "init_module",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "quotactl",
        "reboot",
        "request_key",
        "swapoff",
        "swapon",
    ],
];

/// Installs the filter: these calls fail with EPERM from here on. The caller has set no_new_privs. Errors: seccomp(2).
pub(super) fn install() -> io::Result<()> {
    let policy = Policy {
        default: Action::Allow,
        architectures: Architecture::of_this_machine().to_vec(),
        rules: vec![Rule {
            calls: CALLS.concat().into_iter().map(str::to_owned).collect(),
            action: Action::Errno(libc::EPERM as u16),
            tests: Vec::new(),
        }],
        younger: None,
    };
    let program = seccomp::compile(&[policy]).map_err(io::Error::other)?;
    // <linux/seccomp.h>: does not slow the processor down on kernels before 5.16.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
    crate::sys::seccomp::install(&program, flags, Listening::No).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_sockets_namespaces_and_signals_are_out_of_reach() {
        let denied = |result: io::Result<()>| {
            let error = result.expect_err("denied");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        };
        let thread = std::thread::spawn(move || {
            crate::sys::process::set_no_new_privileges().unwrap();
            install().unwrap();
            denied(Err(crate::sys::process::exec(c"/bin/true", &[c"true"], &[])));
            denied(std::os::unix::net::UnixDatagram::unbound().map(drop));
            denied(crate::sys::namespace::unshare_mounts());
            let own = rustix::process::getpid();
            denied(rustix::process::test_kill_process(own).map_err(io::Error::from));
            assert!(std::fs::read("/proc/self/status").is_ok());
        });
        thread.join().unwrap();
    }
}
