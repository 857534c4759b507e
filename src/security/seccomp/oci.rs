//! Filter from config.json's `linux.seccomp`. A config that cannot be applied exactly is an error: a protection that is
//! silently weaker is worse than none (CVE-2025-65105).

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall, State,
};

use super::{Action, Architecture, Operator, Policy, Rule, Test};
use crate::error::{Context, Result};
use crate::fail;
use crate::sys::seccomp::Listening;

/// All architectures with known numbers.
const ALL: [Architecture; 5] = [
    Architecture::X86_64,
    Architecture::X86,
    Architecture::X32,
    Architecture::Aarch64,
    Architecture::Arm,
];

/// True if any architecture has a call of this name.
pub(super) fn is_known(name: &str) -> bool {
    ALL.iter().any(|one| one.number(name).is_some())
}

/// Policy of a config, and its settings for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFilter {
    /// Decisions for calls.
    pub policy: Policy,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Process that decides the calls of SCMP_ACT_NOTIFY.
    pub agent: Option<Agent>,
}

/// Process that decides calls: it listens on a socket, and gets the filter's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Path of the Unix socket.
    pub path: PathBuf,
    /// Text for the agent, passed on as it is.
    pub metadata: Option<String>,
    /// State of the container, as far as its config tells it.
    pub state: State,
}

impl ConfigFilter {
    /// Reads the filter of a config for a machine with this native architecture. Errors: a part of the config that
    /// cannot be applied.
    pub fn read(config: &LinuxSeccomp, native: Architecture) -> Result<Self> {
        Self::read_parts(config, native).context(|| "config.json: linux.seccomp")
    }

    fn read_parts(config: &LinuxSeccomp, native: Architecture) -> Result<Self> {
        let default = action(config.default_action(), config.default_errno_ret())?;
        let mut rules = Vec::new();
        for syscall in config.syscalls().iter().flatten() {
            rules.extend(read_rules(syscall, default)?);
        }
        let listed = config.architectures().as_deref().unwrap_or_default();
        let architectures = architectures(listed, native);
        let policy = Policy { default, architectures, rules, younger: younger(default) };
        let flags = config.flags().as_deref().unwrap_or_default();
        let agent = match config.listener_path() {
            Some(path) if path.is_absolute() => {
                let metadata = config.listener_metadata().clone();
                Some(Agent { path: path.clone(), metadata, state: State::default() })
            }
            Some(path) => fail!(Invalid: "listenerPath {}: not an absolute path", path.display()),
            None if config.listener_metadata().as_deref().is_some_and(|text| !text.is_empty()) => {
                fail!(Invalid: "listenerMetadata without listenerPath")
            }
            None => None,
        };
        if agent.is_some() && !policy.notifies() {
            fail!(Invalid: "listenerPath, and no rule with SCMP_ACT_NOTIFY");
        }
        let listening = if policy.notifies() { Listening::Yes } else { Listening::No };
        Ok(Self { flags: flags.iter().map(|flag| number(*flag, listening)).sum(), policy, agent })
    }
}

/// Returns the action on calls that are younger than a profile (runc's rule). A C library that hears ENOSYS takes an
/// older call; one that hears EPERM gives up.
fn younger(default: Action) -> Option<Action> {
    const MISSING: Action = Action::Errno(libc::ENOSYS as u16);
    match default {
        // A tracer answers by itself.
        Action::Allow | Action::Log | Action::Trace(_) | MISSING => None,
        _ => Some(MISSING),
    }
}

fn number(flag: LinuxSeccompFilterFlag, listening: Listening) -> u32 {
    let number = match (flag, listening) {
        (LinuxSeccompFilterFlag::SeccompFilterFlagLog, _) => libc::SECCOMP_FILTER_FLAG_LOG,
        (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, _) => {
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
        }
        (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, Listening::Yes) => {
            libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        }
        // No effect without a listener (EINVAL), nor on a process with a single thread.
        (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, Listening::No)
        | (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, _) => 0,
    };
    number as u32
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action> {
    use LinuxSeccompAction::*;
    // The kernel truncates larger values (MAX_ERRNO).
    let given = match errno {
        Some(errno @ 0..=4095) => Some(errno as u16),
        Some(errno) => fail!("errnoRet {errno}: the highest is 4095"),
        None => None,
    };
    let or_eperm = given.unwrap_or(libc::EPERM as u16);
    Ok(match action {
        ScmpActErrno => Action::Errno(or_eperm),
        ScmpActTrace => Action::Trace(or_eperm),
        _ if given.is_some() => fail!("errnoRet means nothing with {action}"),
        ScmpActKill | ScmpActKillThread => Action::KillThread,
        ScmpActKillProcess => Action::KillProcess,
        ScmpActTrap => Action::Trap,
        ScmpActNotify => Action::Notify,
        ScmpActLog => Action::Log,
        ScmpActAllow => Action::Allow,
    })
}

/// Maps the listed architectures. usnea's own is always included (runc); those that this machine cannot run need no
/// filter.
fn architectures(listed: &[Arch], native: Architecture) -> Vec<Architecture> {
    let ours = native.family();
    let read = |arch: &Arch| match arch {
        Arch::ScmpArchX86_64 => Some(Architecture::X86_64),
        Arch::ScmpArchX32 => Some(Architecture::X32),
        Arch::ScmpArchX86 => Some(Architecture::X86),
        Arch::ScmpArchAarch64 => Some(Architecture::Aarch64),
        Arch::ScmpArchArm => Some(Architecture::Arm),
        _ => None,
    };
    let listed: Vec<Architecture> = listed.iter().filter_map(read).collect();
    let is_meant = |(place, one): &(usize, &Architecture)| *place == 0 || listed.contains(one);
    ours.iter().enumerate().filter(is_meant).map(|(_, one)| *one).collect()
}

/// Returns an architecture's name in config.json.
pub(super) fn arch(architecture: Architecture) -> Arch {
    match architecture {
        Architecture::X86_64 => Arch::ScmpArchX86_64,
        Architecture::X32 => Arch::ScmpArchX32,
        Architecture::X86 => Arch::ScmpArchX86,
        Architecture::Aarch64 => Arch::ScmpArchAarch64,
        Architecture::Arm => Arch::ScmpArchArm,
    }
}

fn read_rules(syscall: &LinuxSyscall, default: Action) -> Result<Vec<Rule>> {
    let action = action(syscall.action(), syscall.errno_ret())?;
    let calls = syscall.names();
    // An unknown name is a call of a newer kernel, or no call. If the default is stricter, the filter stays safe.
    let unknown = |name: &&String| !is_known(name);
    // Between two error numbers neither is.
    let are_errors = matches!((action, default), (Action::Errno(_), Action::Errno(_)));
    if action < default
        && !are_errors
        && let Some(name) = calls.iter().find(unknown)
    {
        fail!("no system call is called '{}'", name.escape_debug());
    }
    let args = syscall.args().as_deref().unwrap_or_default();
    let tests = args.iter().map(test).collect::<Result<Vec<_>>>()?;
    let repeats =
        |test: &Test| tests.iter().filter(|one| one.argument == test.argument).count() > 1;
    let rule = |tests: Vec<Test>| Rule { calls: calls.clone(), action, tests };
    // runc's reading of two tests of the same argument: either may hold.
    Ok(match tests.iter().any(repeats) {
        true => tests.into_iter().map(|test| rule(vec![test])).collect(),
        false => vec![rule(tests)],
    })
}

fn test(arg: &LinuxSeccompArg) -> Result<Test> {
    use LinuxSeccompOperator::*;
    let Ok(argument @ 0..=5) = u8::try_from(arg.index()) else {
        fail!("a system call has no argument {}", arg.index());
    };
    let (operator, value) = match arg.op() {
        ScmpCmpNe => (Operator::NotEqual, arg.value()),
        ScmpCmpLt => (Operator::Less, arg.value()),
        ScmpCmpLe => (Operator::LessOrEqual, arg.value()),
        ScmpCmpEq => (Operator::Equal, arg.value()),
        ScmpCmpGe => (Operator::GreaterOrEqual, arg.value()),
        ScmpCmpGt => (Operator::Greater, arg.value()),
        ScmpCmpMaskedEq => (Operator::Masked(arg.value()), arg.value_two().unwrap_or(0)),
    };
    Ok(Test { argument, operator, value })
}
