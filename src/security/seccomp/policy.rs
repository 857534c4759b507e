//! Policy of a filter: decisions for calls, in words.

use super::Architecture;

/// Action on a call, in the kernel's order (seccomp(2)): the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Kill the process.
    KillProcess,
    /// Kill the thread.
    KillThread,
    /// Send SIGSYS.
    Trap,
    /// Fail with this errno, without making the call; 0: pretend success.
    Errno(u16),
    /// Let the process with the listener decide.
    Notify,
    /// Let a tracer decide, and pass this number to the tracer.
    Trace(u16),
    /// Make the call, and log it.
    Log,
    /// Make the call.
    Allow,
}

impl Action {
    /// Return value of a filter for the action (linux/seccomp.h).
    pub fn value(self) -> u32 {
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Trace(number) => libc::SECCOMP_RET_TRACE | u32::from(number),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

/// Unsigned comparison of an argument: all 64 bits, on 32-bit architectures the lower halves of argument and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `argument != value`
    NotEqual,
    /// `argument < value`
    Less,
    /// `argument <= value`
    LessOrEqual,
    /// `argument == value`
    Equal,
    /// `argument >= value`
    GreaterOrEqual,
    /// `argument > value`
    Greater,
    /// `argument & mask == value`
    Masked(u64),
}

/// Condition on a single argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    /// Index of the argument: 0 to 5.
    pub argument: u8,
    /// Comparison operator.
    pub operator: Operator,
    /// Value to compare with.
    pub value: u64,
}

/// Rule for some calls. If several rules match a call, the strictest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of calls.
    pub calls: Vec<String>,
    /// Action on the calls.
    pub action: Action,
    /// Conditions that must all hold for the rule to match.
    pub tests: Vec<Test>,
}

/// Policy of a whole filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Action on a call that no rule matches.
    pub default: Action,
    /// Permitted architectures of programs; a thread of any other architecture is killed.
    pub architectures: Vec<Architecture>,
    /// Rules, in any order.
    pub rules: Vec<Rule>,
    /// Action on calls with a higher number than any call of the rules: ones that are younger than the rules. `None`: the
    /// default.
    pub younger: Option<Action>,
}

impl Policy {
    /// True if a listener must decide any call.
    pub fn notifies(&self) -> bool {
        self.default == Action::Notify
            || self.rules.iter().any(|rule| rule.action == Action::Notify)
    }
}

/// Calls that a supervisor of usnea's answers.
#[derive(Clone, Copy)]
pub struct SupervisedCalls {
    /// Name of the policy.
    pub name: &'static str,
    /// Makes the policy, which hands the calls over.
    pub policy: fn() -> Policy,
}
