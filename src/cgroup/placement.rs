//! Place of a container's cgroup: decided before any is created.
//!
//! ```text
//! our own cgroup is delegated to us         a group in it. If its processes are usnea's alone, it delegates
//!   (a unit with Delegate=yes, a container)   controllers once these have moved into its group "usnea"
//! else, in a session or a scope of ours     a scope of the systemd user manager, which we enter, and a group in it
//! else                                      none: a requested limit is an error
//! ```
//!
//! usnea never leaves a service without delegation: systemd would not end the started processes with the service. Nor
//! does usnea leave a cgroup that another manager watches, such as a batch job's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::limits::CgroupLimits;
use super::systemd::SystemdManager;
use crate::error::{Error, Phrase, Result, Setting};
use crate::fail;
use crate::hint;
use crate::host::cgroup::{self, CgroupVersion, DelegatedCgroup};
use crate::host::hint::Hint;

/// Name of the group for monitors and their like, beside the containers' own groups.
pub(super) const WATCHERS: &str = "usnea";

/// Cgroup to create for a container.
#[derive(Clone, Debug)]
pub struct CgroupRequest {
    /// Name of the cgroup, a single path part.
    pub name: String,
    /// Limits of the cgroup.
    pub limits: CgroupLimits,
    /// Place of the cgroup.
    pub(super) placement: CgroupPlacement,
}

#[derive(Clone, Debug)]
pub(super) enum CgroupPlacement {
    /// A subfolder of this folder.
    Folder(PathBuf),
    /// A scope to request from the manager, with its slice.
    Scope(SystemdManager, Option<String>),
}

impl CgroupRequest {
    /// Returns the future folder, as far as known.
    pub fn folder(&self) -> PathBuf {
        match &self.placement {
            CgroupPlacement::Folder(folder) => folder.join(&self.name),
            CgroupPlacement::Scope(..) => {
                Path::new("/sys/fs/cgroup/...").join(super::scope(&self.name)).join(&self.name)
            }
        }
    }

    /// Returns the scope to request, and its slice.
    pub fn scope(&self) -> Option<(String, Option<&str>)> {
        match &self.placement {
            CgroupPlacement::Folder(_) => None,
            CgroupPlacement::Scope(_, slice) => Some((super::scope(&self.name), slice.as_deref())),
        }
    }
}

/// Source of a cgroup's parent, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentSource {
    /// Setting of usnea.
    Setting,
    /// config.json of another program.
    Config,
}

impl ParentSource {
    /// Phrase that names the parent as its source does.
    fn phrase(self, parent: &Path) -> Phrase {
        match self {
            Self::Setting => Setting::CgroupParent.with(parent.display()),
            Self::Config => format!("the parent {}", parent.display()).into(),
        }
    }
}

/// Finds the place for the cgroup `path` of config.json. Its last part is the name; before that may be a slice of
/// systemd's, or a cgroup. `None`: no place, and no limits. Errors: limits without a place for a cgroup; a named parent
/// that is not ours.
pub fn find(
    path: &Path,
    limits: CgroupLimits,
    source: ParentSource,
) -> Result<Option<CgroupRequest>> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.map(str::to_owned) else {
        fail!("config.json: linux.cgroupsPath {} has no name", path.display());
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let found = match parent {
        Some(parent) => Some(below_parent(parent, source)?),
        None => without_parent(),
    };
    let Some((place, controllers)) = found else {
        return if limits.are_none() { Ok(None) } else { Err(no_placement_error(&limits)) };
    };
    refuse_missing(&limits, &controllers, &place)?;
    Ok(Some(CgroupRequest { name, limits, placement: place }))
}

type FoundPlacement = (CgroupPlacement, Vec<String>);

fn without_parent() -> Option<FoundPlacement> {
    let own = cgroup::own_folder()
        .map(without_watchers)
        .and_then(DelegatedCgroup::of)
        .filter(|own| own.writable);
    let manager = SystemdManager::of_user();
    match (own, manager) {
        (Some(own), None) => Some(in_folder(own)),
        (Some(own), Some(manager)) if is_delegated(&own.folder, &manager) => Some(in_folder(own)),
        (_, Some(manager)) => {
            let is_ours = cgroup::own_folder().is_some_and(|folder| may_be_left(&folder));
            is_ours.then(|| in_scope(manager, None))
        }
        _ => None,
    }
}

fn below_parent(parent: &Path, source: ParentSource) -> Result<FoundPlacement> {
    let is_slice = parent.extension().is_some_and(|kind| kind == "slice");
    if let (true, Some(slice)) = (is_slice && parent.components().count() == 1, parent.to_str()) {
        let manager = SystemdManager::of_user().ok_or_else(|| {
            Error::invalid("no systemd user manager answers")
                .within(source.phrase(parent))
                .hint(Hint::NoUserManager.to_string())
        })?;
        return Ok(in_scope(manager, Some(slice.to_owned())));
    }
    let refusal =
        || Error::invalid("the cgroup does not belong to you").within(source.phrase(parent));
    let mount = cgroup::mount().ok_or_else(|| refusal().hint(Hint::CgroupVersion2.to_string()))?;
    let relative =
        parent.strip_prefix(mount).or_else(|_| parent.strip_prefix("/")).unwrap_or(parent);
    let is_plain = |part| matches!(part, std::path::Component::Normal(_));
    if !relative.components().all(is_plain) {
        return Err(refusal());
    }
    let own = DelegatedCgroup::of(mount.join(relative)).filter(|own| own.writable);
    own.map(in_folder).ok_or_else(|| refusal().hint(Hint::Delegate.to_string()))
}

/// Returns the parent of the watchers' group for a process inside that group.
fn without_watchers(folder: PathBuf) -> PathBuf {
    match (folder.ends_with(WATCHERS), folder.parent()) {
        (true, Some(parent)) => parent.to_owned(),
        _ => folder,
    }
}

fn in_folder(own: DelegatedCgroup) -> FoundPlacement {
    let controllers = match may_delegate_controllers(&own.folder) {
        true => own.controllers,
        false => read_words(&own.folder.join("cgroup.subtree_control")),
    };
    (CgroupPlacement::Folder(own.folder), controllers)
}

fn in_scope(manager: SystemdManager, slice: Option<String>) -> FoundPlacement {
    let controllers = cgroup::of_user_manager().map(|manager| manager.controllers);
    (CgroupPlacement::Scope(manager, slice), controllers.unwrap_or_default())
}

/// True if the unit of a cgroup has Delegate=yes. The cgroup is ours to write to.
fn is_delegated(folder: &Path, manager: &SystemdManager) -> bool {
    let unit_of = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        (name.ends_with(".service") || name.ends_with(".scope")).then(|| name.to_owned())
    };
    let mut folders = folder.ancestors();
    let Some((unit_folder, unit)) = folders.find_map(|folder| Some((folder, unit_of(folder)?)))
    else {
        return false;
    };
    if is_marked(unit_folder) {
        return true;
    }
    // The user's own manager knows its units. A cgroup of another manager that belongs to us was delegated to us.
    match is_of_user_manager(folder) {
        true => manager.has_delegated(&unit),
        false => is_owned(folder),
    }
}

/// True if marked as delegated, by systemd 251 and later (user.delegate, <https://systemd.io/CGROUP_DELEGATION>).
fn is_marked(folder: &Path) -> bool {
    let mut value = [0; 8];
    let read = rustix::fs::getxattr(folder, "user.delegate", &mut value[..]);
    read.is_ok_and(|length| value.get(..length) == Some(b"1"))
}

/// True if the cgroup is below that of the user's systemd.
pub(super) fn is_of_user_manager(folder: &Path) -> bool {
    let service = format!("user@{}.service", rustix::process::getuid().as_raw());
    folder.iter().any(|part| part == service.as_str())
}

/// True if the cgroup was delegated to this user. For root, ownership proves no delegation.
fn is_owned(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let uid = rustix::process::geteuid().as_raw();
    uid != 0 && folder.metadata().is_ok_and(|metadata| metadata.uid() == uid)
}

/// True if a process in this cgroup may move elsewhere: the cgroup is a scope of the user, or a session. The session
/// may be that of a user who became this one by su(1), sudo(8) or runuser(1).
fn may_be_left(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(name) = name.strip_suffix(".scope") else { return false };
    let slice = format!("user-{}.slice", rustix::process::getuid().as_raw());
    let parent = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let is_session = name.starts_with("session-")
        && parent.is_some_and(|parent| parent.starts_with("user-") && parent.ends_with(".slice"));
    is_session || folder.iter().any(|part| part == slice.as_str())
}

/// True if all processes of the cgroup are usnea's: a cgroup with processes cannot delegate controllers.
fn may_delegate_controllers(folder: &Path) -> bool {
    processes(folder).iter().all(|pid| is_usnea(*pid))
}

pub(super) fn processes(folder: &Path) -> Vec<i32> {
    let list = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

/// True if a process runs our program.
pub(super) fn is_usnea(pid: i32) -> bool {
    let file = |whose: &str| {
        rustix::fs::stat(format!("/proc/{whose}/exe")).map(|stat| (stat.st_dev, stat.st_ino)).ok()
    };
    let ours = file("self");
    ours.is_some() && file(&pid.to_string()) == ours
}

pub(super) fn read_words(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn refuse_missing(limits: &CgroupLimits, there: &[String], place: &CgroupPlacement) -> Result<()> {
    let missing: BTreeSet<_> = limits
        .controllers()
        .into_iter()
        .filter(|name| !there.iter().any(|controller| controller == name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().collect::<Vec<_>>().join(" and ");
    let what = files(limits);
    Err(Error::refused(format!("cannot set {what}: no cgroup with {missing} is delegated to you"))
        .hint(match (cgroup::version(), place) {
            (CgroupVersion::V2, CgroupPlacement::Folder(folder))
                if !may_delegate_controllers(folder) =>
            {
                hint::own_scope(folder.display())
            }
            (CgroupVersion::V2, _) => Hint::Delegate.to_string(),
            _ => Hint::CgroupVersion2.to_string(),
        }))
}

fn no_placement_error(limits: &CgroupLimits) -> Error {
    Error::refused(format!("cannot set {}: no cgroup is delegated to you here", files(limits)))
        .hint(delegation_advice())
}

/// Variables with the number of a job: Slurm, PBS, LSF, Grid Engine.
const JOBS: [&str; 4] = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"];

pub(super) fn delegation_advice() -> String {
    if JOBS.iter().any(|name| std::env::var_os(name).is_some()) {
        return hint::LIMITS_OF_JOB.to_owned();
    }
    match (cgroup::version(), SystemdManager::of_user()) {
        (CgroupVersion::V2, None) => Hint::NoUserManager.to_string(),
        (CgroupVersion::V2, Some(_)) => hint::DELEGATE_TO_SERVICE.to_owned(),
        _ => Hint::CgroupVersion2.to_string(),
    }
}

fn files(limits: &CgroupLimits) -> String {
    let asked = limits.settings().iter().filter(|setting| setting.is_asked);
    asked.map(|setting| setting.file.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_scopes_of_the_user_may_be_left_and_no_service() {
        let uid = rustix::process::getuid().as_raw();
        for (path, may) in [
            (format!("user.slice/user-{uid}.slice/session-3.scope"), true),
            (format!("user.slice/user-{uid}.slice/user@{uid}.service/app.slice/a.scope"), true),
            // A unit of the user who became this one.
            ("user.slice/user-4711.slice/session-c1.scope".to_owned(), true),
            ("user.slice/user-4711.slice/user@4711.service/app.slice/a.scope".to_owned(), false),
            (format!("user.slice/user-{uid}.slice/user@{uid}.service/app.slice/a.service"), false),
            ("system.slice/slurmstepd.scope/job_1".to_owned(), false),
            ("system.slice/session-1.scope".to_owned(), false),
            ("system.slice/a.service".to_owned(), false),
        ] {
            assert_eq!(may_be_left(&Path::new("/sys/fs/cgroup").join(&path)), may, "{path}");
        }
    }
}
