//! Events that end background processes: the last logout, where the user does not linger, and the end of a unit.

use crate::hint;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::systemctl::UnitManager;
use super::{account, cgroup, program};

/// Longest wait for systemctl. No working systemctl takes longer; without its answer there is no warning.
const PATIENCE: Duration = Duration::from_secs(15);

/// Event that ends a process left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifetimeEnd {
    /// End of the user's last session.
    Logout,
    /// End of the first process of this systemd unit.
    Unit(String),
}

impl LifetimeEnd {
    /// Returns the event that ends a process in the cgroup `folder` (`None`: in this process's). `None`: no known event
    /// ends it.
    pub fn of(folder: Option<&Path>) -> Option<Self> {
        if !super::systemd_runs() {
            return None;
        }
        let folder = folder.map(PathBuf::from).or_else(cgroup::own_folder)?;
        let (manager, unit) = units(&folder, rustix::process::getuid().as_raw());
        match unit {
            Some(unit) if kills_leftovers(manager, &unit) => Some(Self::Unit(unit)),
            _ if manager == UnitManager::User && !lingers() => Some(Self::Logout),
            _ => None,
        }
    }

    /// Returns the warning for a user who leaves a container running.
    pub fn warning(&self, name: &str) -> String {
        match self {
            Self::Logout => format!(
                "container {name} ends with your last session, since lingering is off for {0}: 'loginctl enable-linger' \
                 lets it run on",
                account::own_name()
            ),
            Self::Unit(unit) => format!(
                "container {name} ends with the first process of {unit}, which is about to end: {}",
                hint::STAY_IN_UNIT
            ),
        }
    }
}

/// True if the user's processes may outlive the last session (loginctl(1)).
pub fn lingers() -> bool {
    rustix::process::getuid().is_root()
        || Path::new("/var/lib/systemd/linger").join(account::own_name()).exists()
}

/// Returns the manager of a cgroup, and the innermost service around the cgroup.
fn units(folder: &Path, uid: u32) -> (UnitManager, Option<String>) {
    let manager = format!("user@{uid}.service");
    let parts = || folder.iter().filter_map(|part| part.to_str());
    let is_service = |part: &&str| part.ends_with(".service") && !part.starts_with("user@");
    let is_users = parts().any(|part| part == manager);
    let manager = if is_users { UnitManager::User } else { UnitManager::System };
    (manager, parts().rfind(is_service).map(str::to_owned))
}

/// True if the unit's other processes are killed when its first one ends.
fn kills_leftovers(manager: UnitManager, unit: &str) -> bool {
    let Some(systemctl) = program::find("systemctl", Path::is_file) else { return false };
    let mut command = Command::new(systemctl);
    command.args(manager.option()).args(["show", "--property"]);
    command.args(["Type,RemainAfterExit,KillMode,GuessMainPID", "--", unit]);
    program::ask(&mut command, PATIENCE)
        .is_ok_and(|answer| answer.status.success() && is_short(&answer.output))
}

/// Parses the output of `systemctl show`. True if the unit's other processes are killed when its first one ends.
fn is_short(properties: &str) -> bool {
    let is = |line: &str| properties.lines().any(|one| one == line);
    let kills = is("KillMode=control-group") || is("KillMode=mixed");
    kills && !is("Type=forking") && !is("RemainAfterExit=yes") && properties.contains("Type=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_cgroup_is_the_innermost_service() {
        let units = |path: &str| units(&Path::new("/sys/fs/cgroup").join(path), 7);
        let user = "user.slice/user-7.slice/user@7.service/app.slice";
        assert_eq!(units(&format!("{user}/usnea-1-2.scope/usnea-1")), (UnitManager::User, None));
        assert_eq!(
            units(&format!("{user}/a.service/usnea-1")),
            (UnitManager::User, Some("a.service".into()))
        );
        assert_eq!(units("user.slice/user-7.slice/session-1.scope"), (UnitManager::System, None));
        assert_eq!(
            units("system.slice/b.service/x"),
            (UnitManager::System, Some("b.service".into()))
        );
    }

    #[test]
    fn a_unit_kills_what_its_command_leaves_unless_it_remains() {
        for (properties, is_short) in [
            ("Type=simple\nKillMode=control-group\nRemainAfterExit=no", true),
            ("Type=oneshot\nKillMode=mixed\nRemainAfterExit=no", true),
            ("Type=oneshot\nKillMode=control-group\nRemainAfterExit=yes", false),
            ("Type=forking\nKillMode=control-group\nRemainAfterExit=no", false),
            ("Type=simple\nKillMode=process\nRemainAfterExit=no", false),
            ("", false),
        ] {
            assert_eq!(super::is_short(properties), is_short, "{properties}");
        }
    }
}
