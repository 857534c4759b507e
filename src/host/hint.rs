//! Table of all hints: remedies for problems of a machine, as commands to type where possible. `sudo` stands before
//! commands for an administrator.

use std::fmt::{self, Display};

use super::distribution::{self, DistributionFamily, Package};
use super::kernel::KernelVersion;

/// Remedy for a problem of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `user.max_user_namespaces` is 0.
    MaxUserNamespaces,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's kernels).
    UnprivilegedUsernsClone,
    /// AppArmor takes the powers from new user namespaces (Ubuntu 23.10 and later).
    AppArmor,
    /// A system-call filter is active on this process.
    SyscallFilter,
    /// A system-call filter answers a call with an error.
    RefusedCall,
    /// A system-call filter kills the process.
    KilledByFilter,
    /// The host name cannot be set.
    Hostname,
    /// Sockets of some families cannot be made.
    AddressFamilies,
    /// Parts of /proc are missing.
    ProcSubset,
    /// A process may have too little memory: the option of ulimit, and the limit in KiB.
    MemoryOfProcesses(&'static str, u64),
    /// This process is in a chroot.
    Chroot,
    /// The caller's own IDs do not exist in its user namespace.
    UnmappedCaller,
    /// The kernel was built without user namespaces.
    NoUserNamespaces,
    /// A package is missing.
    Install(Package),
    /// A helper is installed without its power (setuid bit or capability).
    PowerlessHelpers(Package),
    /// no_new_privs, or a nosuid mount, takes the power from the helpers.
    HelpersWithoutEffect,
    /// The user (by name) has no subordinate IDs, or too few.
    SubordinateIds {
        /// Name of the user.
        user: String,
        /// First host ID that no user has.
        first: u32,
    },
    /// The user namespace around usnea has too few IDs.
    NestedIds,
    /// Parts of /proc are covered, as in a container.
    MaskedProc,
    /// The store's file system is unsuitable.
    StoreElsewhere,
    /// A newer kernel supports more.
    Kernel(KernelVersion),
    /// The kernel was built, or started, without an option.
    KernelOption(&'static str),
    /// A module of the kernel is not loaded.
    LoadModule(&'static str),
    /// /dev/fuse is missing or closed.
    Fuse,
    /// Control groups are of version 1.
    CgroupVersion2,
    /// No systemd user manager could delegate a cgroup.
    NoUserManager,
    /// systemd delegates too few controllers.
    Delegate,
    /// `net.ipv4.ping_group_range` does not include the user.
    Ping,
    /// Ports below 1024 are root's; the lowest port that is needed.
    LowPorts(u16),
    /// XDG_RUNTIME_DIR is missing or not private.
    RuntimeFolder,
    /// A number of sysctl(8) is too low: its folder, its name, a better value.
    Sysctl(&'static str, String, u64),
    /// The hard limits of this session are too low.
    Ulimits,
}

impl Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let install = |package: &Package| distribution::family().install(*package);
        match self {
            Self::MaxUserNamespaces => f.write_str(
                "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/90-userns.conf && sudo sysctl --system",
            ),
            Self::UnprivilegedUsernsClone => f.write_str(
                "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-userns.conf && sudo sysctl --system",
            ),
            Self::AppArmor => f.write_str(
                "AppArmor restricts user namespaces: let usnea alone have them with \
                 'sudo install -m 644 packaging/apparmor/usnea /etc/apparmor.d/usnea && \
                 sudo apparmor_parser -r /etc/apparmor.d/usnea' (it names the path of the program), or every program \
                 with 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'",
            ),
            Self::SyscallFilter => f.write_str(
                "a system-call filter on this process forbids it: inside a container start that one with \
                 '--security-opt seccomp=unconfined', in a systemd unit set RestrictNamespaces=no",
            ),
            Self::RefusedCall => f.write_str(
                "a system-call filter on this process refuses it: inside a container start that one with \
                 '--security-opt seccomp=unconfined'; in a systemd unit it is RestrictSUIDSGID=yes (which DynamicUser=yes \
                 implies) or SystemCallFilter=, which needs @system-service, @mount and @sandbox",
            ),
            Self::KilledByFilter => f.write_str(
                "a system-call filter may have killed it (SIGSYS): in a systemd unit SystemCallFilter= needs \
                 @system-service, @mount and @sandbox",
            ),
            Self::Hostname => f.write_str(
                "'--uts host' does without; in a systemd unit it is ProtectHostname=yes that forbids it",
            ),
            Self::AddressFamilies => f.write_str(
                "in a systemd unit RestrictAddressFamilies= needs AF_UNIX, AF_NETLINK, AF_INET and AF_INET6; \
                 '--network host' does without",
            ),
            Self::ProcSubset => f.write_str(
                "usnea needs the whole of /proc: in a systemd unit ProcSubset=all",
            ),
            Self::MemoryOfProcesses(option, kibibytes) => write!(
                f,
                "each process may have no more than {kibibytes} KiB of address space here, and usnea's servers inherit \
                 that: 'ulimit {option} 1000000', or unlimited, gives them more"
            ),
            Self::Chroot => f.write_str(
                "this process is in a chroot, where the kernel refuses user namespaces: start usnea outside it",
            ),
            Self::UnmappedCaller => f.write_str(
                "your user or group ID does not exist in the user namespace that you are in: give it a map that has \
                 them (unshare --map-current-user)",
            ),
            Self::NoUserNamespaces => {
                f.write_str("the kernel was built without user namespaces (CONFIG_USER_NS): use another kernel")
            }
            Self::Install(package) => f.write_str(&install(package)),
            Self::PowerlessHelpers(package) => write!(
                f,
                "sudo chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap (or reinstall them: {})",
                install(package)
            ),
            Self::HelpersWithoutEffect => f.write_str(
                "start usnea outside what forbids setuid programs: NoNewPrivileges=no in a systemd unit (and no option \
                 that implies the opposite, nor a CapabilityBoundingSet= without CAP_SETUID and CAP_SETGID), \
                 no --no-new-privs or 'nosuid' around it",
            ),
            Self::SubordinateIds { user, first } => {
                write!(f, "echo {user}:{first}:65536 | sudo tee -a /etc/subuid /etc/subgid")
            }
            Self::NestedIds => f.write_str(
                "give the container around this one more IDs: --uidmap and --gidmap (or /etc/subuid and /etc/subgid \
                 outside) with 131072 or more, and a range of them in its own /etc/subuid and /etc/subgid",
            ),
            Self::MaskedProc => f.write_str(
                "parts of /proc are covered, so the kernel refuses a new one ('--pid host' does without): start the \
                 container around this one with '--security-opt unmask=ALL' (docker: '--security-opt \
                 systempaths=unconfined'); in a systemd unit: ProtectKernelTunables=no, ProtectKernelLogs=no and \
                 ProtectProc=default",
            ),
            Self::StoreElsewhere => f.write_str(
                "export USNEA_ROOT=DIR, with DIR a folder of yours on a local disk (/scratch/$USER, /var/tmp/...)",
            ),
            Self::Kernel(version) => write!(f, "use a kernel of version {version} or later"),
            Self::KernelOption(option) => write!(f, "use a kernel with {option}"),
            Self::LoadModule(module) => {
                write!(f, "echo {module} | sudo tee /etc/modules-load.d/{module}.conf && sudo modprobe {module}")
            }
            Self::Fuse => f.write_str("sudo modprobe fuse && sudo chmod 666 /dev/fuse"),
            Self::CgroupVersion2 => f.write_str(match distribution::family() {
                _ if !super::systemd_runs() => {
                    "start the kernel with cgroup_no_v1=all, and have its init mount cgroup2 on /sys/fs/cgroup"
                }
                DistributionFamily::Fedora => {
                    "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && sudo reboot"
                }
                _ => {
                    "add systemd.unified_cgroup_hierarchy=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, \
                     then 'sudo update-grub && sudo reboot'"
                }
            }),
            Self::NoUserManager if !super::systemd_runs() => f.write_str(
                "sudo mkdir /sys/fs/cgroup/$USER && (cd /sys/fs/cgroup/$USER && \
                 sudo chown $USER . cgroup.procs cgroup.subtree_control cgroup.threads) && \
                 echo $$ | sudo tee /sys/fs/cgroup/$USER/cgroup.procs",
            ),
            Self::Delegate if !super::systemd_runs() => f.write_str(
                "echo '+cpu +cpuset +io +memory +pids' | sudo tee /sys/fs/cgroup/cgroup.subtree_control, \
                 and the same in each folder between there and yours",
            ),
            // A login unknown to systemd: logging in once more changes nothing.
            Self::NoUserManager if super::is_foreign_login() => f.write_str(
                "sudo loginctl enable-linger $USER (this login is not known to systemd: its PAM service lacks pam_systemd)",
            ),
            Self::NoUserManager => f.write_str(
                "log in through ssh or a console (not su or sudo), so that systemd starts your user manager; \
                 or 'sudo loginctl enable-linger $USER'",
            ),
            Self::Delegate => f.write_str(
                "sudo mkdir -p /etc/systemd/system/user@.service.d && \
                 printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | \
                 sudo tee /etc/systemd/system/user@.service.d/delegate.conf && \
                 sudo systemctl daemon-reload && sudo systemctl restart user@$UID (it ends your sessions; or reboot)",
            ),
            Self::Ping => f.write_str(
                "echo 'net.ipv4.ping_group_range=0 2147483647' | sudo tee /etc/sysctl.d/90-ping.conf && \
                 sudo sysctl --system",
            ),
            Self::LowPorts(port) => write!(
                f,
                "for lower ports: sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}"
            ),
            Self::RuntimeFolder if super::is_foreign_login() => f.write_str(
                "sudo loginctl enable-linger $USER && export XDG_RUNTIME_DIR=/run/user/$(id -u) (this login is not known \
                 to systemd: its PAM service lacks pam_systemd); or a local folder of yours of mode 700",
            ),
            Self::RuntimeFolder => f.write_str(
                "log in through ssh or a console (not su or sudo), so that systemd makes /run/user/$UID; \
                 without systemd: export XDG_RUNTIME_DIR=DIR, with DIR a local folder of yours of mode 700",
            ),
            Self::Sysctl(folder, name, value) => write!(
                f,
                "echo {folder}.{name}={value} | sudo tee /etc/sysctl.d/90-usnea-{name}.conf && sudo sysctl --system"
            ),
            Self::Ulimits => f.write_str(
                "raise nofile and nproc in /etc/security/limits.conf (an administrator), then log in anew",
            ),
        }
    }
}

impl From<Hint> for String {
    fn from(hint: Hint) -> Self {
        hint.to_string()
    }
}
