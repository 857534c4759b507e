//! Root emulation: in a container with a single ID the kernel refuses every other owner, user and group, so that no
//! package could be installed. A filter hands those calls to a supervisor that answers as a machine with all IDs would.
//!
//! ```text
//! credentials   the IDs that a process believes it has      processes    which process believes what
//! caller        the waiting thread's memory and files       files, look  owners remembered beside the files
//! supervisor    one call after the other
//! ```
//!
//! Others that do this (Charliecloud's `--force=seccomp`) answer 0 to all of it and know nothing afterwards: apt, which
//! makes sure that it has become `_apt`, must then be told not to, by an option put into the image. Here what was set is
//! what is read, by the kernel's own rules, and nothing in the image changes.
//!
//! `capset` is left to the kernel, which in a single-ID namespace has all of root's capabilities to give and take: to
//! feign it would only let a program believe that it had dropped what it still has.
//!
//! **The supervisor can reach nothing but the container.** It is a process of ours beside the command (not in its pid
//! namespace: nobody inside sees it), that has entered the container's user and mount namespaces, holds no capability
//! that the container has not, but those to look into its processes (CAP_SYS_PTRACE) and to see files from their root
//! (CAP_SYS_CHROOT), and whose only door to the host is a descriptor of /proc, used for the folder of a waiting thread
//! alone (`caller` says how it makes sure that it is that). Paths are resolved from the thread's own root and folder,
//! in the container's mount namespace: whatever a path, a link or a change of either meanwhile leads to, it is a file
//! that the container could have opened itself. No answer permits anything: "make the call yourself" is given where the
//! kernel checks the call as ever, and what is written is an attribute of a file in the container's root.
//!
//! What it cannot do: a signal whose handler does not restart calls (no SA_RESTART), and which comes before the supervisor
//! has taken the call, makes that call fail with EINTR, as the kernel has it for all that is handed over. And privileges
//! are not given up: a process that has become another user still has root's access to the container's files (it is, to
//! the kernel, the one user there is).

mod caller;
mod credentials;
mod files;
mod look;
mod processes;
mod supervisor;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
    LinuxSyscallBuilder, Spec,
};

use super::seccomp::Architecture;
use crate::error::{Error, Result};
use crate::fail;

pub use supervisor::{Supervisor, serve};

/// Annotation: the calls that `linux.seccomp` gives to a listener are answered by root emulation; [`IDS`] or [`OWNERS`].
pub const ANNOTATION: &str = "usnea.root-emulation";
/// Value of [`ANNOTATION`]: owners are remembered and not shown.
pub const IDS: &str = "ids";
/// Value of [`ANNOTATION`]: owners are remembered and shown.
pub const OWNERS: &str = "owners";

/// What is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// The IDs of processes; owners that are given to files are remembered.
    Ids,
    /// And shown: every look at a file asks the supervisor.
    Owners,
}

/// The calls that set the IDs of a process, or tell them. Those that end in 32 are of 32-bit architectures, whose others
/// have IDs of 16 bits.
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

/// The calls that change the owner or the mode of a file.
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

/// The calls that look at a file. On 32-bit x86 `stat` and its like are structs that no program of this century asks for.
const LOOKS: [&str; 9] =
    ["stat", "lstat", "fstat", "newfstatat", "statx", "stat64", "lstat64", "fstat64", "fstatat64"];

/// Puts it into a config that has no filter yet.
pub fn emulate(spec: &mut Spec, emulation: Emulation) -> Result<()> {
    let value = match emulation {
        Emulation::Ids => IDS,
        Emulation::Owners => OWNERS,
    };
    let mut annotations = spec.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION.to_owned(), value.to_owned());
    spec.set_annotations(Some(annotations));
    match spec.linux_mut() {
        Some(linux) if linux.seccomp().is_none() => linux.set_seccomp(Some(filter(emulation)?)),
        _ => fail!("a config without its linux part, or with a filter"),
    };
    Ok(())
}

/// What a config says of it; `None`: nothing. Errors: a value that is not ours.
pub fn asked(spec: &Spec) -> Result<Option<Emulation>> {
    let value = spec.annotations().as_ref().and_then(|all| all.get(ANNOTATION));
    Ok(match value.map(String::as_str) {
        None => None,
        Some(IDS) => Some(Emulation::Ids),
        Some(OWNERS) => Some(Emulation::Owners),
        Some(other) => fail!("config.json: annotation {ANNOTATION}: '{other}' is not known"),
    })
}

fn filter(emulation: Emulation) -> Result<LinuxSeccomp> {
    let mut names = [&CREDENTIALS[..], &CHANGES].concat();
    if emulation == Emulation::Owners {
        names.extend(LOOKS);
    }
    let mut syscalls = vec![handed_over(&names, Vec::new())?];
    for (name, mode) in [("mknod", 1), ("mknodat", 2)] {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            syscalls.push(handed_over(&[name], vec![is_kind(mode, kind)?])?);
        }
    }
    let arch = |architecture: &Architecture| match architecture {
        Architecture::X86_64 => Arch::ScmpArchX86_64,
        Architecture::X32 => Arch::ScmpArchX32,
        Architecture::X86 => Arch::ScmpArchX86,
        Architecture::Aarch64 => Arch::ScmpArchAarch64,
        Architecture::Arm => Arch::ScmpArchArm,
    };
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        // A signal must not make an answered call happen again.
        .flags(vec![LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv])
        .architectures(Architecture::of_this_machine().iter().map(arch).collect::<Vec<_>>())
        .syscalls(syscalls)
        .build()
        .map_err(Error::new)
}

fn handed_over(names: &[&str], args: Vec<LinuxSeccompArg>) -> Result<LinuxSyscall> {
    let mut syscall = LinuxSyscallBuilder::default()
        .names(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .action(LinuxSeccompAction::ScmpActNotify)
        .build()
        .map_err(Error::new)?;
    syscall.set_args((!args.is_empty()).then_some(args));
    Ok(syscall)
}

/// The mode that is the argument `index` says this kind of file.
fn is_kind(index: usize, kind: u32) -> Result<LinuxSeccompArg> {
    LinuxSeccompArgBuilder::default()
        .index(index)
        .value(u64::from(libc::S_IFMT))
        .value_two(u64::from(kind))
        .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
        .build()
        .map_err(Error::new)
}
