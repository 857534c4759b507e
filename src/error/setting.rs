//! Settings that errors concern, each by one name for the command line and for documents.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

macro_rules! settings {
    ($($setting:ident = $name:literal,)+) => {
        /// Setting of a command: a flag of the command line.
        #[allow(missing_docs, reason = "each variant is its name")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
        pub enum Setting {
            $($setting,)+
        }

        impl Setting {
            /// All settings.
            pub const ALL: &[Self] = &[$(Self::$setting,)+];

            /// Name of the setting.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$setting => $name,)+
                }
            }
        }
    };
}

settings! {
    AddHost = "add-host",
    Annotation = "annotation",
    CapAdd = "cap-add",
    CapDrop = "cap-drop",
    CertDir = "cert-dir",
    CgroupParent = "cgroup-parent",
    Cgroupns = "cgroupns",
    Cgroups = "cgroups",
    Change = "change",
    Cidfile = "cidfile",
    ConmonPidfile = "conmon-pidfile",
    CpuQuota = "cpu-quota",
    CpuShares = "cpu-shares",
    Cpus = "cpus",
    Device = "device",
    DeviceReadBps = "device-read-bps",
    DeviceReadIops = "device-read-iops",
    DeviceWriteBps = "device-write-bps",
    DeviceWriteIops = "device-write-iops",
    Dns = "dns",
    Domainname = "domainname",
    Env = "env",
    EnvFile = "env-file",
    EnvMerge = "env-merge",
    Expose = "expose",
    Filter = "filter",
    Gidmap = "gidmap",
    Gpus = "gpus",
    GroupAdd = "group-add",
    GroupEntry = "group-entry",
    // Stands for all settings of the health check.
    Health = "health-*",
    HostsFile = "hosts-file",
    Hostname = "hostname",
    Ipc = "ipc",
    Join = "join",
    KernelMemory = "kernel-memory",
    LogDriver = "log-driver",
    LogOpt = "log-opt",
    Memory = "memory",
    MemoryReservation = "memory-reservation",
    MemorySwap = "memory-swap",
    MemorySwappiness = "memory-swappiness",
    Mount = "mount",
    Name = "name",
    Network = "network",
    NetworkAlias = "network-alias",
    OomKillDisable = "oom-kill-disable",
    OomScoreAdj = "oom-score-adj",
    Overlay = "overlay",
    PasswdEntry = "passwd-entry",
    Pid = "pid",
    SdNotify = "sdnotify",
    Pidfile = "pidfile",
    Privileged = "privileged",
    Pod = "pod",
    PodIdFile = "pod-id-file",
    PreserveFd = "preserve-fd",
    PreserveFds = "preserve-fds",
    Publish = "publish",
    PublishAll = "publish-all",
    ReadOnly = "read-only",
    ReadOnlyTmpfs = "read-only-tmpfs",
    Requires = "requires",
    Restart = "restart",
    Rm = "rm",
    Rmi = "rmi",
    RwRoot = "rw-root",
    ShmSize = "shm-size",
    Since = "since",
    StorageDriver = "storage-driver",
    Secret = "secret",
    SecurityOpt = "security-opt",
    Sysctl = "sysctl",
    Systemd = "systemd",
    Tmpfs = "tmpfs",
    Tz = "tz",
    Uidmap = "uidmap",
    Ulimit = "ulimit",
    Until = "until",
    User = "user",
    Userns = "userns",
    Uts = "uts",
    Volume = "volume",
    VolumesFrom = "volumes-from",
    Workdir = "workdir",
}

impl Setting {
    /// Short flag that messages use in place of the long one, as users type it.
    fn short_flag(self) -> Option<char> {
        match self {
            Self::Env => Some('e'),
            Self::User => Some('u'),
            Self::Volume => Some('v'),
            Self::Workdir => Some('w'),
            _ => None,
        }
    }
}

/// Flag of the command line.
impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.short_flag() {
            Some(short) => write!(f, "-{short}"),
            None => write!(f, "--{}", self.name()),
        }
    }
}
