//! Root emulation. In a container with a single ID, the kernel refuses every other owner, user and group: no package
//! could be installed. A filter passes those calls to a supervisor, which answers as a machine with all IDs would.
//!
//! ```text
//! credentials   the IDs that a process believes it has      processes    credentials of each process
//! caller        the waiting thread's memory and files       files, look  owners recorded beside the files
//! supervisor    receives and answers calls
//! ```
//!
//! Similar tools (Charliecloud's `--force=seccomp`) answer 0 to all such calls and keep no state. apt verifies that it
//! has become `_apt`, so those tools must disable this check by an option in the image. Here reads return what was set,
//! by the kernel's own rules, and the image stays unchanged.
//!
//! `capset` is left to the kernel: in a single-ID namespace, root can really gain and drop all its capabilities.
//! Emulating `capset` would make a program believe that it had dropped capabilities which it still has.
//!
//! **The supervisor can reach nothing but the container.** The process is ours, beside the command. The supervisor is
//! outside the container's PID namespace, so no process inside sees it. But it has entered the container's user and
//! mount namespaces. Its capabilities are the container's, plus two: inspecting processes (CAP_SYS_PTRACE) and seeing
//! files from their root (CAP_SYS_CHROOT). Its only access to the host is a descriptor of /proc, used for the folder of
//! a waiting thread alone (see `caller` for the check). Paths are resolved from the thread's own root and folder, in
//! the container's mount namespace. No matter where a path, a link or a concurrent change of either leads, the
//! container could have opened that file itself. No answer grants a permission: "make the call yourself" means that the
//! kernel checks the call as ever. The only write is an attribute of a file in the container's root.
//!
//! Limits: a signal whose handler does not restart calls (no SA_RESTART) may arrive before the supervisor has received
//! a call. That call fails with EINTR, as the kernel rules for all such calls. And privileges are not dropped: a
//! process that became another user still has root's access to the container's files. To the kernel, there is a single
//! user.

mod caller;
mod confine;
mod credentials;
mod files;
mod look;
mod processes;
mod supervisor;

use oci_spec::runtime::Spec;

use super::seccomp::{Action, Architecture, Operator, Policy, Rule, SupervisedCalls, Test};
use crate::error::Result;
use crate::fail;

pub use supervisor::{Supervisor, serve};

/// Annotation: a supervisor answers the calls of root emulation; [`IDS`] or [`OWNERS`].
pub const ANNOTATION: &str = "usnea.root-emulation";
/// Value of [`ANNOTATION`]: owners are recorded and not shown.
pub const IDS: &str = "ids";
/// Value of [`ANNOTATION`]: owners are recorded and shown.
pub const OWNERS: &str = "owners";

/// Extent of the emulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// IDs of processes; owners of files are recorded.
    Ids,
    /// Owners are shown too: every stat of a file goes to the supervisor.
    Owners,
}

/// Calls that set or read the IDs of a process. Names that end in 32 exist on 32-bit architectures, whose other calls
/// have 16-bit IDs.
const CREDENTIALS: [&str; 32] = [
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "setuid32",
    "setgid32",
    "setreuid32",
    "setregid32",
    "setresuid32",
    "setresgid32",
    "setfsuid32",
    "setfsgid32",
    "setgroups32",
    "getuid32",
    "geteuid32",
    "getgid32",
    "getegid32",
    "getresuid32",
    "getresgid32",
    "getgroups32",
];

/// Calls that change the owner or the mode of a file.
const CHANGES: [&str; 11] = [
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "chown32",
    "lchown32",
    "fchown32",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
];

/// Calls that stat a file. On 32-bit x86, `stat` and its like fill structs that no program of this century uses.
const LOOKS: [&str; 9] =
    ["stat", "lstat", "fstat", "newfstatat", "statx", "stat64", "lstat64", "fstat64", "fstatat64"];

/// Adds the emulation to a config.
pub fn emulate(spec: &mut Spec, emulation: Emulation) {
    let value = match emulation {
        Emulation::Ids => IDS,
        Emulation::Owners => OWNERS,
    };
    let mut annotations = spec.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION.to_owned(), value.to_owned());
    spec.set_annotations(Some(annotations));
}

/// Reads the emulation from a config; `None`: no emulation. Errors: an unknown value.
pub fn asked(spec: &Spec) -> Result<Option<Emulation>> {
    let value = spec.annotations().as_ref().and_then(|all| all.get(ANNOTATION));
    Ok(match value.map(String::as_str) {
        None => None,
        Some(IDS) => Some(Emulation::Ids),
        Some(OWNERS) => Some(Emulation::Owners),
        Some(other) => fail!("config.json: annotation {ANNOTATION}: '{other}' is not known"),
    })
}

/// Returns the calls that the supervisor answers.
pub fn supervision(emulation: Emulation) -> SupervisedCalls {
    match emulation {
        Emulation::Ids => SupervisedCalls { name: IDS, policy: || policy(Emulation::Ids) },
        Emulation::Owners => SupervisedCalls { name: OWNERS, policy: || policy(Emulation::Owners) },
    }
}

/// Returns the policy that hands calls over to the supervisor.
pub fn policy(emulation: Emulation) -> Policy {
    let looks: &[&str] = if emulation == Emulation::Owners { &LOOKS } else { &[] };
    let mut rules = vec![handed_over(&[&CREDENTIALS[..], &CHANGES, looks].concat(), Vec::new())];
    for (name, mode) in [("mknod", 1), ("mknodat", 2)] {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            rules.push(handed_over(&[name], vec![is_kind(mode, kind)]));
        }
    }
    Policy {
        default: Action::Allow,
        architectures: Architecture::of_this_machine().to_vec(),
        rules,
        younger: None,
    }
}

fn handed_over(names: &[&str], tests: Vec<Test>) -> Rule {
    let calls = names.iter().map(|name| (*name).to_owned()).collect();
    Rule { calls, action: Action::Notify, tests }
}

/// Tests that the argument, a mode, has this file type.
fn is_kind(argument: u8, kind: u32) -> Test {
    Test { argument, operator: Operator::Masked(libc::S_IFMT.into()), value: kind.into() }
}
