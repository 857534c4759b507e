//! `--personality`: the execution domain of the command (personality(2)).

use oci_spec::runtime::{LinuxPersonality, LinuxPersonalityBuilder, LinuxPersonalityDomain};

use crate::error::{Error, Result};

/// Execution domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PersonalityFlag {
    /// Default of the kernel.
    #[value(name = "LINUX")]
    Linux,
    /// uname(2) reports a 32-bit machine.
    #[value(name = "LINUX32")]
    Linux32,
}

impl PersonalityFlag {
    /// As the OCI config has it.
    pub(super) fn oci(self) -> Result<LinuxPersonality> {
        let domain = match self {
            Self::Linux => LinuxPersonalityDomain::PerLinux,
            Self::Linux32 => LinuxPersonalityDomain::PerLinux32,
        };
        LinuxPersonalityBuilder::default().domain(domain).build().map_err(Error::new)
    }
}
