//! systemctl(1): restarts units of the manager that owns them.

use std::path::Path;
use std::process::Command;

use crate::error::{Context, Error, Result};

/// Instance of systemd that manages a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitManager {
    /// The machine's.
    System,
    /// The calling user's own.
    User,
}

impl UnitManager {
    /// Returns the manager of the services around the cgroup `folder`. Outside of services, and without a cgroup, it is
    /// that of the calling user; root's is the machine's.
    pub fn of(folder: Option<&Path>) -> Self {
        let uid = rustix::process::geteuid();
        Self::of_cgroup(folder.unwrap_or(Path::new("/")), uid.as_raw()).unwrap_or(
            match uid.is_root() {
                true => Self::System,
                false => Self::User,
            },
        )
    }

    /// Returns the manager of a cgroup. `None`: the cgroup is in no service, or in that of another user's manager.
    fn of_cgroup(folder: &Path, uid: u32) -> Option<Self> {
        let own = format!("user@{uid}.service");
        let services = || {
            let parts = folder.iter().filter_map(|part| part.to_str());
            parts.filter(|part| part.ends_with(".service"))
        };
        if services().any(|service| service == own) {
            return Some(Self::User);
        }
        let is_of_others = services().any(|service| service.starts_with("user@"));
        (!is_of_others && services().next().is_some()).then_some(Self::System)
    }

    /// Option of systemctl that selects the manager.
    pub fn option(self) -> Option<&'static str> {
        (self == Self::User).then_some("--user")
    }

    /// Restarts a unit, and waits until systemd counts it as started. Errors: no manager; no permission; the unit does
    /// not start.
    pub fn restart(self, unit: &str) -> Result<()> {
        self.ask(&["restart", unit])?;
        // A unit of type simple may have failed since.
        match self.ask(&["is-failed", "--quiet", unit]) {
            Ok(()) => Err(Error::new(format!("unit {unit} has failed after its restart"))),
            Err(_) => Ok(()),
        }
    }

    /// Runs systemctl to its end: systemd itself bounds the time of a start. Errors: a status other than 0, with the
    /// message.
    fn ask(self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("systemctl");
        // A timer has nobody to ask for a password.
        command.args(self.option()).arg("--no-ask-password").args(words);
        let output = command.output().context(|| "cannot run systemctl")?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().next().unwrap_or("no message");
        Err(Error::new(format!("systemctl {}: {complaint}", words.join(" "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_belongs_to_the_manager_whose_cgroup_it_is_in() {
        let manager =
            |path: &str| UnitManager::of_cgroup(&Path::new("/sys/fs/cgroup").join(path), 7);
        for (path, expected) in [
            ("system.slice/web.service/usnea-01", Some(UnitManager::System)),
            ("system.slice/system-web.slice/web@1.service", Some(UnitManager::System)),
            (
                "user.slice/user-7.slice/user@7.service/app.slice/web.service/usnea-01",
                Some(UnitManager::User),
            ),
            (
                "user.slice/user-7.slice/user@7.service/app.slice/usnea-01-2.scope",
                Some(UnitManager::User),
            ),
            ("user.slice/user-7.slice/session-1.scope", None),
            ("user.slice/user-8.slice/user@8.service/app.slice/web.service", None),
            ("", None),
        ] {
            assert_eq!(manager(path), expected, "{path}");
        }
    }
}
