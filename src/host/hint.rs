//! The one table of hints: the way out of what is wrong with a machine, as commands to type wherever there are any.
//! `sudo` stands before what an administrator must do.

use std::fmt::{self, Display};

use super::distribution::{self, Package};

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `user.max_user_namespaces` is 0.
    MaxUserNamespaces,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's kernels).
    UnprivilegedUsernsClone,
    /// AppArmor takes the powers from new user namespaces (Ubuntu 23.10 and later).
    AppArmor,
    /// A system-call filter lies on this process.
    SyscallFilter,
    /// This process is in a chroot.
    Chroot,
    /// The caller's own IDs do not exist in the user namespace that it is in.
    UnmappedCaller,
    /// The kernel was built without user namespaces.
    NoUserNamespaces,
    /// A package is missing.
    Install(Package),
    /// A helper lies there without its power.
    PowerlessHelpers(Package),
    /// no_new_privs, or a nosuid mount, takes the power from the helpers.
    HelpersWithoutEffect,
    /// The user (by name) has no subordinate IDs, or too few.
    SubordinateIds(String),
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
                "start usnea outside what forbids setuid programs: NoNewPrivileges=no in a systemd unit, \
                 no --no-new-privs or 'nosuid' around it",
            ),
            Self::SubordinateIds(user) => {
                write!(f, "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
            }
        }
    }
}

impl From<Hint> for String {
    fn from(hint: Hint) -> Self {
        hint.to_string()
    }
}
