//! Control groups of this machine, and the part of the tree that belongs to the caller (cgroups(7)).

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Mount point of the trees on every distribution.
const MOUNT: &str = "/sys/fs/cgroup";

/// Controllers that limits of containers need.
pub const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Layout of the cgroup mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// A single tree, version 2.
    V2,
    /// Controllers in version 1, an empty tree of version 2 beside them.
    Hybrid,
    /// Version 1 alone.
    V1,
    /// No cgroup file system is mounted.
    None,
}

/// Returns the layout here: at most three calls of statfs(2).
pub fn version() -> CgroupVersion {
    let kind = |path: &str| super::filesystem::kind(Path::new(path)).name;
    match kind(MOUNT) {
        "cgroup2" => CgroupVersion::V2,
        "tmpfs"
            if Path::new("/sys/fs/cgroup/unified").exists()
                && kind("/sys/fs/cgroup/unified") == "cgroup2" =>
        {
            CgroupVersion::Hybrid
        }
        // A tmpfs with a folder for each controller; any one of them identifies version 1.
        "tmpfs"
            if Path::new("/sys/fs/cgroup/memory").exists()
                || Path::new("/sys/fs/cgroup/systemd").exists() =>
        {
            CgroupVersion::V1
        }
        _ => CgroupVersion::None,
    }
}

/// Cgroup of version 2, and the caller's rights to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedCgroup {
    /// Folder of the cgroup.
    pub folder: PathBuf,
    /// True if the caller may make groups in it, move processes and enable controllers below: all three are needed.
    pub writable: bool,
    /// Controllers that the cgroup may pass to its children.
    pub controllers: Vec<String>,
}

impl DelegatedCgroup {
    /// Returns the caller's rights to the cgroup at `folder`; `None` for a missing one.
    pub fn of(folder: PathBuf) -> Option<Self> {
        let controllers = std::fs::read_to_string(folder.join("cgroup.controllers")).ok()?;
        let writable = ["", "cgroup.procs", "cgroup.subtree_control"].iter().all(|name| {
            rustix::fs::access(folder.join(name), rustix::fs::Access::WRITE_OK).is_ok()
        });
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        Some(Self { folder, writable, controllers })
    }

    /// Returns the members of [`CONTROLLERS`] that the cgroup lacks.
    pub fn missing(&self) -> Vec<&'static str> {
        let here = |name: &&str| self.controllers.iter().any(|controller| controller == name);
        CONTROLLERS.into_iter().filter(|name| !here(name)).collect()
    }
}

/// Returns the cgroup of version 2 that this process is in.
pub fn own() -> Option<DelegatedCgroup> {
    DelegatedCgroup::of(own_folder()?)
}

/// Returns the folder of this process's cgroup.
pub fn own_folder() -> Option<PathBuf> {
    folder_in("/proc/self/cgroup")
}

/// Returns the folder of a process's cgroup.
pub fn folder_of(pid: i32) -> Option<PathBuf> {
    folder_in(&format!("/proc/{pid}/cgroup"))
}

fn folder_in(file: &str) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(file).ok()?;
    Some(mount()?.join(own_path(&groups)?))
}

/// Returns the mount point of version 2.
pub fn mount() -> Option<&'static Path> {
    match version() {
        CgroupVersion::V2 => Some(Path::new(MOUNT)),
        CgroupVersion::Hybrid => Some(Path::new("/sys/fs/cgroup/unified")),
        CgroupVersion::V1 | CgroupVersion::None => None,
    }
}

/// Returns the cgroup of the calling user's systemd manager: a scope of that manager has at most its rights.
pub fn of_user_manager() -> Option<DelegatedCgroup> {
    let uid = rustix::process::getuid().as_raw();
    let folder = format!("{MOUNT}/user.slice/user-{uid}.slice/user@{uid}.service");
    DelegatedCgroup::of(folder.into())
}

/// Returns the name of the manager of the containers' cgroups (docker's and podman's word), and the cgroup that is delegated
/// to us: `cgroupfs` in our own cgroup, `systemd` by the user's manager, else `none`.
pub fn manager() -> (&'static str, Option<DelegatedCgroup>) {
    if let Some(own) = own().filter(|own| own.writable) {
        return ("cgroupfs", Some(own));
    }
    match of_user_manager() {
        Some(delegation) => ("systemd", Some(delegation)),
        None => ("none", None),
    }
}

/// Returns the socket where the calling user's systemd manager answers. Connects as a trial: systemd logs that in its
/// journal.
pub fn user_manager() -> Option<PathBuf> {
    user_manager_socket().filter(|socket| connect_to_manager(socket).is_ok())
}

/// Returns the socket on which the calling user's systemd manager listens. This socket needs no bus, and goes with the
/// manager. Ignores a runtime folder that another user may write to.
pub fn user_manager_socket() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.is_absolute());
    let folders = folder.into_iter().chain([PathBuf::from(format!("/run/user/{uid}"))]);
    let mut sockets =
        folders.filter(|folder| is_ours_alone(folder)).map(|folder| folder.join("systemd/private"));
    sockets.find(|socket| {
        socket.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
            && rustix::fs::access(socket, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// Connects to the systemd manager that listens at `socket`. Errors: EACCES for another user's process. That process
/// could move the caller's processes anywhere its user likes.
pub fn connect_to_manager(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    match peer.uid == rustix::process::geteuid() {
        true => Ok(stream),
        false => Err(rustix::io::Errno::ACCESS.into()),
    }
}

/// True if a folder is the calling user's, no link, and writable by no other user.
fn is_ours_alone(folder: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    folder.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_dir() && metadata.uid() == uid && metadata.mode() & 0o022 == 0
    })
}

/// Returns the path of version 2 in `/proc/PID/cgroup`, relative to the mount. `None` for a path with `..`: it is
/// outside this process's cgroup namespace.
fn own_path(groups: &str) -> Option<&str> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.split('/').any(|part| part == "..")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cgroup_is_the_line_of_version_2() {
        assert_eq!(
            own_path("9:name=systemd:/\n4:memory:/x\n0::/user.slice/a.scope\n"),
            Some("user.slice/a.scope")
        );
        assert_eq!(own_path("0::/\n"), Some(""));
        assert_eq!(own_path("0::/../../b\n"), None);
        assert_eq!(own_path("4:memory:/x\n"), None);
    }

    #[test]
    fn only_a_folder_that_others_cannot_write_to_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("run");
        std::fs::create_dir(&folder).unwrap();
        for (mode, is_ours) in
            [(0o700, true), (0o755, true), (0o770, false), (0o707, false), (0o1777, false)]
        {
            std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(is_ours_alone(&folder), is_ours, "{mode:o}");
        }
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(!is_ours_alone(&link));
        let of_root = Path::new("/usr");
        assert_eq!(is_ours_alone(of_root), rustix::process::geteuid().is_root());
    }

    #[test]
    fn missing_controllers_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DelegatedCgroup::of(folder.path().into()), None);
        for (file, content) in
            [("cgroup.controllers", "memory pids hugetlb\n"), ("cgroup.procs", "")]
        {
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        let delegation = DelegatedCgroup::of(folder.path().into()).unwrap();
        assert_eq!(delegation.missing(), ["cpu", "cpuset", "io"]);
        assert!(!delegation.writable, "cgroup.subtree_control is missing");
    }
}
