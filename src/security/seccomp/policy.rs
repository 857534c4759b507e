//! What is decided for which call, in words.

use super::Architecture;

/// What becomes of a call. The order is the kernel's (seccomp(2)): the first is the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The process is killed.
    KillProcess,
    /// The thread is killed.
    KillThread,
    /// SIGSYS.
    Trap,
    /// It is not made, and fails with this errno; 0: it seems to succeed.
    Errno(u16),
    /// Whoever holds the listener decides.
    Notify,
    /// A tracer decides, who is told this number.
    Trace(u16),
    /// It is made, and logged.
    Log,
    /// It is made.
    Allow,
}

impl Action {
    /// What a filter returns for it (linux/seccomp.h).
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

/// How an argument is compared, unsigned: all its 64 bits, on 32-bit architectures the lower half of it and of the value.
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

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    /// Which argument: 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// What is decided for some calls. Where several rules hold for a call, the strictest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of calls.
    pub calls: Vec<String>,
    /// What becomes of them.
    pub action: Action,
    /// When: all of these must hold.
    pub tests: Vec<Test>,
}

/// A whole policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of a call that no rule is about.
    pub default: Action,
    /// The architectures that programs may be of; the thread of any other is killed.
    pub architectures: Vec<Architecture>,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Whether anything in it is for a listener to decide.
    pub fn notifies(&self) -> bool {
        self.default == Action::Notify
            || self.rules.iter().any(|rule| rule.action == Action::Notify)
    }
}
