//! Sets of namespaces: their flags and names.

/// Set of namespaces, as clone(2) flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(pub(super) u64);

impl Namespaces {
    /// user_namespaces(7)
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// mount_namespaces(7)
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// pid_namespaces(7)
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// uts_namespaces(7)
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// ipc_namespaces(7)
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// network_namespaces(7)
    pub const NET: Self = Self(libc::CLONE_NEWNET as u64);
    /// cgroup_namespaces(7)
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// time_namespaces(7)
    pub const TIME: Self = Self(0x80);

    /// All kinds, with their names in `/proc/PID/ns` and their options of unshare(1).
    pub const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::USER, "user", "--user"),
        (Self::MOUNT, "mnt", "--mount"),
        (Self::PID, "pid", "--pid"),
        (Self::UTS, "uts", "--uts"),
        (Self::IPC, "ipc", "--ipc"),
        (Self::NET, "net", "--net"),
        (Self::CGROUP, "cgroup", "--cgroup"),
        (Self::TIME, "time", "--time"),
    ];

    /// Union of both sets.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Set without the members of the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Intersection of both sets.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True if this set contains all of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Set as clone(2) flags.
    pub const fn flags(self) -> u64 {
        self.0
    }
}
