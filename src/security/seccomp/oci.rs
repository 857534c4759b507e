//! Filter from config.json's `linux.seccomp`. A config that cannot be applied exactly is an error: a protection that is
//! silently weaker is worse than none (CVE-2025-65105).

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::{Action, Architecture, Operator, Policy, Rule, Test, compile};
use crate::error::{Context, Result};
use crate::fail;
use crate::sys::seccomp::{Instruction, Listening};

/// All architectures with known numbers.
const ALL: [Architecture; 5] = [
    Architecture::X86_64,
    Architecture::X86,
    Architecture::X32,
    Architecture::Aarch64,
    Architecture::Arm,
];

/// Compiled filter, ready for the kernel.
pub struct Filter {
    /// Policy that the filter implements.
    pub policy: Policy,
    /// Program of the filter.
    pub program: Vec<Instruction>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Need for a listener that decides calls.
    pub listening: Listening,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions, {:?})", self.program.len(), self.policy)
    }
}

impl Filter {
    /// Compiles the filter of a config. Errors: a part of the config that cannot be applied.
    pub fn of_config(config: &LinuxSeccomp) -> Result<Self> {
        Self::read(config).context(|| "config.json: linux.seccomp")
    }

    fn read(config: &LinuxSeccomp) -> Result<Self> {
        if config.listener_path().is_some() {
            fail!("an agent at a listenerPath is not supported");
        }
        let policy = Policy {
            default: action(config.default_action(), config.default_errno_ret())?,
            architectures: architectures(config.architectures().as_deref().unwrap_or_default()),
            rules: Vec::new(),
        };
        let mut rules = Vec::new();
        for syscall in config.syscalls().iter().flatten() {
            rules.extend(read_rules(syscall, policy.default)?);
        }
        let policy = Policy { rules, ..policy };
        let listening = if policy.notifies() { Listening::Yes } else { Listening::No };
        let flags = config.flags().as_deref().unwrap_or_default();
        Ok(Self {
            program: compile(&policy)?,
            flags: flags.iter().map(|flag| number(*flag, listening)).sum(),
            policy,
            listening,
        })
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
fn architectures(listed: &[Arch]) -> Vec<Architecture> {
    let ours = Architecture::of_this_machine();
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

fn read_rules(syscall: &LinuxSyscall, default: Action) -> Result<Vec<Rule>> {
    let action = action(syscall.action(), syscall.errno_ret())?;
    let calls = syscall.names();
    // An unknown name is a call of a newer kernel, or no call. If the default is stricter, the filter stays safe.
    let unknown = |name: &&String| ALL.iter().all(|one| one.number(name).is_none());
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
