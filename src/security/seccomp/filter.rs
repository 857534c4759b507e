//! Filter of a container: a profile, joined with root emulation's calls into a single program.
//!
//! Of several filters the kernel takes the strictest answer, and SECCOMP_RET_ERRNO is stricter than
//! SECCOMP_RET_USER_NOTIF: a call that the profile denies never reaches the supervisor. The program decides likewise,
//! and a single one costs each call less time.

use oci_spec::runtime::LinuxSeccomp;

use super::builtin::{builtin, never_allows};
use super::compiled;
use super::oci::{Agent, ConfigFilter};
use super::profile::ProfileTarget;
use super::{Action, Architecture, Policy, Rule, SupervisedCalls, compile};
use crate::error::Result;
use crate::sys::seccomp::{Instruction, Listening};

/// Flag of seccomp(2): a signal does not make an answered call happen again.
const KEEPS_SIGNALS_OUT: u32 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;

/// Profile of a filter.
#[derive(Debug)]
pub enum FilterProfile {
    /// No profile.
    None,
    /// The default profile.
    Builtin,
    /// Policy of config.json's `linux.seccomp`.
    Config(Policy),
}

/// Compiled filter, ready for the kernel.
pub struct Filter {
    /// Profile that the program implements.
    pub profile: FilterProfile,
    /// Calls that the program hands to a supervisor.
    pub supervision: Option<SupervisedCalls>,
    /// Program of the filter.
    pub program: Vec<Instruction>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Need for a listener that decides calls.
    pub listening: Listening,
    /// Process that decides the calls of the config's SCMP_ACT_NOTIFY.
    pub agent: Option<Agent>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions, {:?})", self.program.len(), self.profile)
    }
}

impl Filter {
    /// Compiles the filter of a config, joined with `supervision`. Errors: a part of the config that cannot be applied.
    pub fn of_config(config: &LinuxSeccomp, supervision: Option<SupervisedCalls>) -> Result<Self> {
        let ConfigFilter { policy, flags, agent } =
            ConfigFilter::read(config, Architecture::native())?;
        let notifies = policy.notifies() || supervision.is_some();
        let joined = supervision.map(|one| (one.policy)());
        let policies: Vec<Policy> = [policy].into_iter().chain(joined).collect();
        let program = compile(&policies)?;
        let profile =
            policies.into_iter().next().map_or(FilterProfile::None, FilterProfile::Config);
        let flags = if supervision.is_some() { flags | KEEPS_SIGNALS_OUT } else { flags };
        let listening = if notifies { Listening::Yes } else { Listening::No };
        Ok(Self { profile, supervision, program, flags, listening, agent })
    }

    /// Compiles the default profile, joined with `supervision`.
    pub fn of_builtin(
        target: &ProfileTarget<'_>,
        supervision: Option<SupervisedCalls>,
    ) -> Result<Self> {
        let Some(program) = compiled::find(target, supervision.as_ref()) else {
            let filter = Self::of_config(&builtin(target)?, supervision)?;
            return Ok(Self { profile: FilterProfile::Builtin, ..filter });
        };
        Ok(Self { profile: FilterProfile::Builtin, ..Self::of_program(program, supervision) })
    }

    /// Compiles the filter of a supervisor alone.
    pub fn of_supervision(supervision: SupervisedCalls) -> Result<Self> {
        let program = compile(&[(supervision.policy)()])?;
        Ok(Self::of_program(program, Some(supervision)))
    }

    fn of_program(program: Vec<Instruction>, supervision: Option<SupervisedCalls>) -> Self {
        let (flags, listening) = match supervision {
            Some(_) => (KEEPS_SIGNALS_OUT, Listening::Yes),
            None => (0, Listening::No),
        };
        Self { profile: FilterProfile::None, supervision, program, flags, listening, agent: None }
    }

    /// Returns the rules in words: those of a config, and those of the supervisor.
    pub fn rules(&self) -> Vec<Rule> {
        let joined = self.supervision.map(|one| (one.policy)().rules).unwrap_or_default();
        match &self.profile {
            FilterProfile::Config(policy) => policy.rules.iter().cloned().chain(joined).collect(),
            FilterProfile::None | FilterProfile::Builtin => joined,
        }
    }

    /// True if the filter fails all of these calls, whatever their arguments.
    pub fn denies(&self, calls: &[&str]) -> bool {
        match &self.profile {
            FilterProfile::None => false,
            FilterProfile::Builtin => calls.iter().all(|call| never_allows(call)),
            FilterProfile::Config(policy) => {
                let has_rule = |call: &&str| {
                    policy.rules.iter().any(|rule| rule.calls.iter().any(|one| one == call))
                };
                policy.default <= Action::Errno(u16::MAX) && !calls.iter().any(has_rule)
            }
        }
    }
}
