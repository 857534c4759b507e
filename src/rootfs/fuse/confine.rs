//! Confinement of the server, before it reads any layer: other people make the layers.
//!
//! ```text
//!  descriptors    its layers or its image, its device, its log    mount::become_server
//!  mounts         a root of its own: the layers without mounts below them, lower ones read-only,
//!                 /proc (which names descriptors), /dev/fuse      own_mounts, enter_empty_root
//!  landlock       opening and naming files in the layers alone, lower ones read-only; no program,
//!                 network or other process        restrict (kernel 5.19; older kernels: not at all, with a debug line)
//!  seccomp        files, memory and threads; no other call exists        restrict, filter
//! ```
//!
//! The server of an image has an open file in place of layers: no mount of its own, no /proc, and no call that names a
//! file but the one that opens /dev/fuse. An image among the layers of an overlay is an open file, too: its path is
//! neither visible nor allowed.
//!
//! Where the caller may not mount (an ordinary user, by fusermount3) the root stays the caller's, and only landlock and
//! seccomp confine the server. Neither restricts calls that name a file without opening it: stat(2), chmod(2) and
//! the like, on files of the user.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::filter::{self, FileCalls};
use super::tree::{LowerSource, OverlayLayers};
use crate::error::{Context, Result};
use crate::sys::inroot::{self, MountPointKind, Symlinks};
use crate::sys::mount::{self, Attributes, MountReach, Propagation};
use crate::sys::{namespace, process};

/// Files that a server opens by itself, beside /dev/fuse.
#[derive(Clone, Copy)]
pub enum ServerReach<'a> {
    /// Files in these layers.
    Layers(&'a OverlayLayers),
    /// None: the server reads files that are open already.
    OpenFiles,
}

/// Layers in mounts of the server's own.
pub struct OwnMounts {
    /// Layers to read through the new mounts.
    pub layers: OverlayLayers,
    /// Detached mounts of the layers, to be attached in the new root.
    pub mounts: Vec<OwnedFd>,
}

/// Puts each layer that is a folder into a mount of its own, without other mounts below it, as the kernel's overlay does
/// (`clone_private_mount`). Lower mounts are read-only. A layer keeps its submounts where the caller may not uncover
/// the files below them (mount_namespaces(7), locked mounts).
///
/// The caller must be in the mount namespace in which the layers were opened.
pub fn own_mounts(layers: OverlayLayers) -> OwnMounts {
    let mut mounts = Vec::new();
    let mut keep = |mount: OwnedFd| {
        let folder = mount.try_clone().ok();
        mounts.push(mount);
        folder
    };
    let lowers = layers.lowers.into_iter();
    let lowers = lowers.map(|lower| match lower {
        LowerSource::Folder(fd) => {
            LowerSource::Folder(private_lower(&fd).and_then(&mut keep).unwrap_or(fd))
        }
        image @ LowerSource::Image(_) => image,
    });
    let lowers = lowers.collect();
    let upper = layers.upper.map(|(upper, work)| match private_upper(&upper, &work) {
        Some((mount, own)) => {
            mounts.push(mount);
            own
        }
        None => (upper, work),
    });
    OwnMounts { layers: OverlayLayers { lowers, upper }, mounts }
}

fn private_lower(folder: &OwnedFd) -> Option<OwnedFd> {
    let copy = |reach| mount::copy(folder, Path::new(""), reach);
    let (mount, reach) = match copy(MountReach::Alone) {
        Ok(mount) => (mount, MountReach::Alone),
        Err(_) => (copy(MountReach::Recursive).ok()?, MountReach::Recursive),
    };
    // A kernel before 5.12 cannot: there only the server's own code keeps the layer unwritten.
    let _ = mount::set_attributes(&mount, Attributes::READ_ONLY, reach);
    Some(mount)
}

/// Copies the mount of the writable layer and its work folder: one mount for both, as files cannot be moved between
/// two.
fn private_upper(upper: &OwnedFd, work: &OwnedFd) -> Option<(OwnedFd, (OwnedFd, OwnedFd))> {
    let paths = [upper, work].map(|fd| rustix::fs::readlink(crate::layer::path_of(fd), Vec::new()));
    let [upper_path, work_path] = paths.map(|path| path.ok().map(into_path));
    let (upper_path, work_path) = (upper_path?, work_path?);
    let both = upper_path.components().zip(work_path.components());
    let common: PathBuf = both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let mount = mount::copy(rustix::fs::CWD, &common, MountReach::Alone).ok()?;
    let again =
        |path: &Path, fd: &OwnedFd| same_below(&mount, path.strip_prefix(&common).ok()?, fd);
    let own = (again(&upper_path, upper)?, again(&work_path, work)?);
    Some((mount, own))
}

fn into_path(target: std::ffi::CString) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(target.into_bytes()).into()
}

/// Opens the folder at `path` in `mount`, if it is the same folder as `fd`.
fn same_below(mount: &OwnedFd, path: &Path, fd: &OwnedFd) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = rustix::fs::openat2(mount, path, flags, Mode::empty(), resolve).ok()?;
    let (one, other) = (rustix::fs::fstat(&found).ok()?, rustix::fs::fstat(fd).ok()?);
    ((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)).then_some(found)
}

/// Enters a new mount namespace whose root holds only `mounts`, `/dev/fuse`, and `/proc` for a server of layers.
/// Descriptors of layers are named through `/proc`, and each thread opens its own `/dev/fuse`.
pub fn enter_empty_root(mounts: &[OwnedFd], reach: ServerReach<'_>) -> Result<()> {
    enter_private_mounts()?;
    match reach {
        ServerReach::Layers(_) => change_root(mounts, &[PROC, FUSE]),
        ServerReach::OpenFiles => change_root(mounts, &[FUSE]),
    }
}

/// Makes a mount namespace for servers of open files, whose root holds only `/dev/fuse`, and enters another one, which
/// also has the files that the start of a server needs: `/proc` and `/dev/null`. Mounts in the latter are not seen by
/// other namespaces. Returns the one for servers. A server that enters it need not leave the caller's file systems.
pub fn enter_root_of_servers() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).context(|| "/proc")?;
    enter_private_mounts()?;
    let own = [PROC, NULL].map(|shown| (shown, copied(&shown)));
    // Without the device, the mount of an image fails with an error of its own.
    let devices: &[ShownPath] = if Path::new(FUSE.path).exists() { &[FUSE] } else { &[] };
    change_root(&[], devices)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let of_servers = rustix::fs::openat(&proc, "self/ns/mnt", flags, Mode::empty());
    let of_servers = of_servers.context(|| "the mount namespace of servers")?;
    namespace::unshare_mounts().context(|| "a mount namespace")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    for (shown, copy) in own {
        attach_below(&root, &copy?, shown.path, shown.kind)?;
    }
    Ok(of_servers)
}

/// File or folder of the caller that a new root shows.
#[derive(Clone, Copy)]
struct ShownPath {
    path: &'static str,
    kind: MountPointKind,
    reach: MountReach,
}

const PROC: ShownPath =
    ShownPath { path: "/proc", kind: MountPointKind::Directory, reach: MountReach::Recursive };
const FUSE: ShownPath =
    ShownPath { path: "/dev/fuse", kind: MountPointKind::File, reach: MountReach::Alone };
const NULL: ShownPath = ShownPath { path: "/dev/null", ..FUSE };

/// Enters a copy of the mount namespace. Mounts from here on do not propagate, in either direction.
fn enter_private_mounts() -> Result<()> {
    namespace::unshare_mounts().context(|| "a mount namespace")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    mount::set_propagation(&root, Propagation::Private, MountReach::Recursive)
        .context(|| "private mounts")
}

/// Gives this process's mount namespace, which no other process has, a root with these files and mounts alone.
fn change_root(mounts: &[OwnedFd], shown: &[ShownPath]) -> Result<()> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", folder, Mode::empty())?;
    let options = [("mode".to_owned(), Some("0755".to_owned()))];
    let root = mount::make("tmpfs", "usnea", &options, Attributes::NONE)
        .context(|| "an empty file system")?;
    let copies = shown.iter().map(|shown| Ok((shown, copied(shown)?)));
    let copies = copies.collect::<Result<Vec<_>>>()?;
    mount::attach(&root, &old).context(|| "the root")?;
    for (shown, copy) in &copies {
        attach_below(&root, copy, shown.path, shown.kind)?;
    }
    // Attached mounts all end by one act when the server ends; each detached one costs the kernel a pause.
    for (mount, number) in mounts.iter().zip(0..) {
        let place = format!("/{number}");
        attach_below(&root, mount, &place, MountPointKind::Directory).context(|| "a layer")?;
    }
    rustix::process::fchdir(&root)?;
    mount::pivot_root_here().context(|| "pivot_root")
}

fn copied(shown: &ShownPath) -> Result<OwnedFd> {
    let copy = mount::copy(rustix::fs::CWD, Path::new(shown.path), shown.reach);
    copy.context(|| shown.path)
}

/// Attaches a mount at a path below `root`, which is made where it is missing.
fn attach_below(root: &OwnedFd, mount: &OwnedFd, path: &str, kind: MountPointKind) -> Result<()> {
    let place = inroot::mount_point(root.as_fd(), Path::new(path), kind, Symlinks::Refuse)?;
    Ok(mount::attach(mount, &place)?)
}

/// Takes unneeded rights from this thread, and from threads that it starts. Errors: seccomp(2).
pub fn restrict(reach: ServerReach<'_>) -> Result<()> {
    if let Err(error) = allow_files_in(reach) {
        log::debug!("no landlock: {error}");
    }
    process::set_no_new_privileges().context(|| "no new privileges")?;
    let calls = match reach {
        ServerReach::Layers(_) => FileCalls::All,
        ServerReach::OpenFiles => FileCalls::Reading,
    };
    filter::install(calls).context(|| "a filter of system calls")
}

/// Restricts file access to the reach of the server by landlock. Errors: no landlock, or one that cannot yet allow files
/// to be moved between folders (before kernel 5.19).
fn allow_files_in(reach: ServerReach<'_>) -> std::result::Result<(), RulesetError> {
    let newest = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = (AccessFs::from_all(newest) & !AccessFs::Execute) | AccessFs::Refer;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    if let ServerReach::Layers(layers) = reach {
        for lower in &layers.lowers {
            // An image is read through its open file, which needs no rule.
            if let LowerSource::Folder(folder) = lower {
                rules = rules.add_rule(PathBeneath::new(folder.as_fd(), read))?;
            }
        }
        let written = layers.upper.iter().flat_map(|(upper, work)| [upper.as_fd(), work.as_fd()]);
        for folder in written.collect::<Vec<BorrowedFd<'_>>>() {
            rules = rules.add_rule(PathBeneath::new(folder, write))?;
        }
    }
    if let Ok(fuse) = PathFd::new("/dev/fuse") {
        rules = rules.add_rule(PathBeneath::new(fuse, device))?;
    }
    rules.restrict_self().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    fn folder(path: &Path) -> OwnedFd {
        fs::create_dir_all(path).expect("a folder");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).expect("a folder")
    }

    /// Runs `action` in a restricted thread, which ends afterwards.
    fn restricted(place: &Path, action: impl FnOnce() + Send) {
        let layers = OverlayLayers {
            lowers: vec![LowerSource::Folder(folder(&place.join("lower")))],
            upper: Some((folder(&place.join("upper")), folder(&place.join("work")))),
        };
        fs::write(place.join("lower/file"), "lower").expect("a file");
        fs::write(place.join("secret"), "secret").expect("a file");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                restrict(ServerReach::Layers(&layers)).expect("restricted");
                action();
            });
            thread.join().expect("a thread without a panic");
        });
    }

    #[test]
    fn layers_are_all_that_can_be_opened_and_the_lower_one_is_not_written() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        restricted(place.path(), || {
            assert_eq!(fs::read_to_string(path("lower/file")).expect("read"), "lower");
            fs::write(path("work/new"), "new").expect("written");
            fs::rename(path("work/new"), path("upper/new")).expect("moved");
            fs::hard_link(path("upper/new"), path("work/link")).expect("linked");
            let denied = |result: std::io::Result<()>| {
                assert_eq!(result.expect_err("denied").kind(), ErrorKind::PermissionDenied);
            };
            denied(fs::read(path("secret")).map(drop));
            denied(fs::read("/proc/self/status").map(drop));
            denied(fs::write(path("secret"), "changed"));
            denied(fs::write(path("lower/file"), "changed"));
            denied(fs::write(path("lower/new"), "new"));
            denied(fs::remove_file(path("secret")));
            denied(fs::read_dir(place.path()).map(drop));
            assert!(fs::rename(path("upper/new"), path("lower/new")).is_err());
            assert!(fs::hard_link(path("secret"), path("upper/secret")).is_err());
        });
        assert_eq!(fs::read_to_string(path("secret")).expect("read"), "secret");
    }

    #[test]
    fn no_program_socket_or_process_is_to_be_had_but_threads_are() {
        let place = tempfile::tempdir().expect("a folder");
        restricted(place.path(), || {
            let absent = |error: std::io::Error| {
                assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
            };
            absent(crate::sys::process::exec(c"/bin/true", &[c"true"], &[]));
            absent(std::os::unix::net::UnixDatagram::unbound().expect_err("no socket"));
            absent(crate::sys::namespace::unshare_mounts().expect_err("no namespace"));
            absent(
                rustix::mount::unmount("/", rustix::mount::UnmountFlags::DETACH)
                    .expect_err("no")
                    .into(),
            );
            absent(
                rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::CONT,
                )
                .expect_err("no")
                .into(),
            );
            absent(rustix::process::chroot("/").expect_err("no root").into());
            assert_eq!(std::thread::spawn(|| 42).join().expect("a thread"), 42);
            let status = rustix::process::umask(Mode::empty());
            rustix::process::umask(status);
        });
    }

    #[test]
    fn a_server_of_an_open_file_reads_it_and_can_neither_open_nor_name_another() {
        use std::os::unix::fs::FileExt;
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        fs::write(path("image"), "image").expect("a file");
        fs::write(path("secret"), "secret").expect("a file");
        let image = fs::File::open(path("image")).expect("open");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                restrict(ServerReach::OpenFiles).expect("restricted");
                let mut read = [0; 5];
                image.read_exact_at(&mut read, 0).expect("read");
                assert_eq!(&read, b"image");
                let error = |result: std::io::Result<()>| result.expect_err("an error");
                for name in ["image", "secret"] {
                    let denied = error(fs::read(path(name)).map(drop));
                    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
                }
                for absent in [
                    error(fs::rename(path("image"), path("new"))),
                    error(fs::remove_file(path("image"))),
                    error(fs::create_dir(path("folder"))),
                    error(rustix::fs::chmod(path("image"), Mode::empty()).map_err(Into::into)),
                    error(std::os::unix::fs::symlink("a", path("link"))),
                ] {
                    assert_eq!(absent.raw_os_error(), Some(libc::ENOSYS), "{absent}");
                }
            });
            thread.join().expect("a thread without a panic");
        });
        assert_eq!(fs::read_to_string(path("image")).expect("read"), "image");
    }

    #[test]
    fn a_thread_that_a_restricted_one_starts_is_restricted_too() {
        let place = tempfile::tempdir().expect("a folder");
        let secret = place.path().join("secret");
        restricted(place.path(), || {
            let read = std::thread::spawn(move || fs::read(secret)).join().expect("a thread");
            assert_eq!(read.expect_err("denied").kind(), ErrorKind::PermissionDenied);
        });
    }
}
