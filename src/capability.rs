//! Capabilities by name and by number (capabilities(7)), and values of `--cap-add` and `--cap-drop`. Vocabulary only:
//! `security` decides which of them a container gets.

use std::fmt;
use std::str::FromStr;

pub use oci_spec::runtime::Capability;

use Capability::*;

/// All capabilities, each at the index of its number in linux/capability.h.
pub const IN_KERNEL_ORDER: [Capability; 41] = [
    Chown,
    DacOverride,
    DacReadSearch,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
    Setpcap,
    LinuxImmutable,
    NetBindService,
    NetBroadcast,
    NetAdmin,
    NetRaw,
    IpcLock,
    IpcOwner,
    SysModule,
    SysRawio,
    SysChroot,
    SysPtrace,
    SysPacct,
    SysAdmin,
    SysBoot,
    SysNice,
    SysResource,
    SysTime,
    SysTtyConfig,
    Mknod,
    Lease,
    AuditWrite,
    AuditControl,
    Setfcap,
    MacOverride,
    MacAdmin,
    Syslog,
    WakeAlarm,
    BlockSuspend,
    AuditRead,
    Perfmon,
    Bpf,
    CheckpointRestore,
];

/// Value of `--cap-add` or `--cap-drop`: a name with or without `CAP_`, in any case, or `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilityChange {
    /// All capabilities.
    All,
    /// Single capability.
    One(Capability),
}

impl fmt::Display for CapabilityChange {
    /// Writes `ALL`, or the name with `CAP_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::One(capability) => {
                write!(f, "CAP_{}", capability.to_string().trim_start_matches("CAP_"))
            }
        }
    }
}

impl FromStr for CapabilityChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            return Ok(Self::All);
        }
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Capability::from_str(name)
            .map(Self::One)
            .map_err(|_| format!("'{text}' is not a capability (see capabilities(7)) and not ALL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_or_without_prefix_in_any_case() {
        for text in ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"] {
            assert_eq!(text.parse(), Ok(CapabilityChange::One(NetAdmin)), "{text}");
        }
        for text in ["ALL", "all", "CAP_ALL"] {
            assert_eq!(text.parse(), Ok(CapabilityChange::All), "{text}");
        }
        for wrong in ["", "CAP_", "CAP_CAP_CHOWN", "NetAdmin", "NET ADMIN", "CHOWN,KILL"] {
            assert!(wrong.parse::<CapabilityChange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_and_names_are_the_kernels() {
        for (number, capability) in IN_KERNEL_ORDER.into_iter().enumerate() {
            let name = format!("CAP_{capability}");
            let known: caps::Capability = name.parse().expect("caps knows it");
            assert_eq!(usize::from(known.index()), number, "{name}");
            assert_eq!(name.parse(), Ok(CapabilityChange::One(capability)));
        }
    }
}
