//! Address of the holder of images: one for each base, and for each unit whose processes are killed together.

use std::path::Path;

use crate::engine::holder_address::HolderAddress;
use crate::error::Result;
use crate::host;
use crate::userns::Base;

/// Subfolder of the runtime folder.
const FOLDER: &str = "images";

/// Returns the socket in the runtime folder `runtime` of the holder with the maps of `base`. Errors: the folder cannot
/// be made.
pub fn of_base(runtime: &Path, base: &Base) -> Result<HolderAddress> {
    let unit = host::cgroup::own_folder().map(|folder| unit_of(&folder.to_string_lossy()));
    let key = format!("{:?} {:?} {:?}", base.maps, base.setgroups(), unit);
    HolderAddress::of(&runtime.join(FOLDER), &key)
}

/// Removes the sockets in the runtime folder `runtime` of holders that were killed.
pub fn sweep_image_sockets(runtime: &Path) {
    HolderAddress::sweep(&runtime.join(FOLDER));
}

/// Returns the part of a cgroup's path whose processes are killed together: up to the unit of systemd, or the step of a
/// Slurm job. A holder in one of them must not serve another one.
fn unit_of(cgroup: &str) -> String {
    let is_unit = |part: &&str| {
        part.ends_with(".service") || part.ends_with(".scope") || part.starts_with("step_")
    };
    let parts: Vec<&str> = cgroup.split('/').collect();
    let end = parts.iter().rposition(is_unit).map_or(0, |at| at + 1);
    parts.get(..end).unwrap_or_default().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_one_step_and_processes_of_one_unit_are_together() {
        for (cgroup, unit) in [
            ("/sys/fs/cgroup", ""),
            (
                "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/user/task_3",
                "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0",
            ),
            (
                "/c/user.slice/user-1000.slice/session-3.scope",
                "/c/user.slice/user-1000.slice/session-3.scope",
            ),
            (
                "/c/user@1000.service/app.slice/web.service/below",
                "/c/user@1000.service/app.slice/web.service",
            ),
        ] {
            assert_eq!(unit_of(cgroup), unit);
        }
    }
}
