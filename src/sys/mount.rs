//! Mounts by descriptor (fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2)). A mount is made
//! detached, inspected if necessary, and then attached to a descriptor. No target is ever named by a path.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

/// Attributes of a mount (MOUNT_ATTR_*) to set; all others stay unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Empty set.
    pub const NONE: Self = Self(0);
    /// `ro`
    pub const READ_ONLY: Self = Self(0x1);
    /// `nosuid`
    pub const NO_SUID: Self = Self(0x2);
    /// `nodev`
    pub const NO_DEV: Self = Self(0x4);
    /// `noexec`
    pub const NO_EXEC: Self = Self(0x8);
    /// `noatime`
    pub const NO_ATIME: Self = Self(0x10);
    /// `strictatime`
    pub const STRICT_ATIME: Self = Self(0x20);
    /// All bits of the access times' mode, of which none is `relatime`.
    pub const ATIME: Self = Self(0x70);
    /// `nodiratime`
    pub const NO_DIR_ATIME: Self = Self(0x80);
    /// `nosymfollow` (kernel 5.14)
    pub const NO_SYMLINKS: Self = Self(0x0020_0000);

    /// Union of both sets.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Difference of both sets.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Attributes as options of mount(8), with commas between.
    pub fn options(self) -> String {
        [
            (Self::READ_ONLY, "ro"),
            (Self::NO_SUID, "nosuid"),
            (Self::NO_DEV, "nodev"),
            (Self::NO_EXEC, "noexec"),
            (Self::NO_ATIME, "noatime"),
            (Self::STRICT_ATIME, "strictatime"),
            (Self::NO_DIR_ATIME, "nodiratime"),
            (Self::NO_SYMLINKS, "nosymfollow"),
        ]
        .iter()
        .filter(|(attribute, _)| self.contains(*attribute))
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(",")
    }
}

/// Propagation of later mounts between both sides (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways (into a container: among its own copies; the host's side stays the master).
    Shared,
    /// Neither way, and no bind mount takes it as its source.
    Unbindable,
}

/// Reach of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountReach {
    /// This mount and all below.
    Recursive,
    /// This mount alone.
    Alone,
}

/// Makes a detached mount of a new file system; an option without a value is a flag. Errors: fsconfig(2), fsmount(2).
pub fn make(
    kind: &str,
    source: &str,
    options: &[(String, Option<String>)],
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", source)?;
    for (name, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), name, value)?,
            None => fsconfig_set_flag(context.as_fd(), name)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Layers and options of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay<'a> {
    /// Read-only layers, the topmost first.
    pub lowers: Vec<&'a Path>,
    /// Writable layer and work folder.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Options without a value, such as `userxattr`.
    pub flags: Vec<&'a str>,
}

/// Makes a detached kernel overlay. Layers are passed separately on kernels that support this (`lowerdir+`, kernel
/// 6.7): without the limit of a page for all of them, and without escaping.
pub fn overlay(overlay: &Overlay<'_>, attributes: Attributes) -> io::Result<OwnedFd> {
    match overlay_by_layers(overlay, attributes) {
        // An unknown option, which kernels before 6.5 report only at the end; or a name of more than 255 bytes, which
        // fsconfig(2) does not accept. mount(2) accepts a page.
        Err(Errno::INVAL) => overlay_by_mount(overlay, attributes),
        made => Ok(made?),
    }
}

fn overlay_by_layers(overlay: &Overlay<'_>, attributes: Attributes) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for flag in &overlay.flags {
        fsconfig_set_flag(context.as_fd(), *flag)?;
    }
    for lower in &overlay.lowers {
        fsconfig_set_string(context.as_fd(), "lowerdir+", *lower)?;
    }
    if let Some((upper, work)) = overlay.upper {
        fsconfig_set_string(context.as_fd(), "upperdir", upper)?;
        fsconfig_set_string(context.as_fd(), "workdir", work)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Largest data of mount(2) in bytes: a page, less its terminator.
const MOST_DATA: usize = 4095;

/// [`overlay`] by mount(2). Layers are passed by name, or by descriptor if the names are longer than a page. A
/// descriptor is a number relative to /proc/self/fd, so that 500 fit. The overlay is mounted over the topmost layer for
/// a moment, visible in this mount namespace alone.
fn overlay_by_mount(overlay: &Overlay<'_>, attributes: Attributes) -> io::Result<OwnedFd> {
    let Some(top) = overlay.lowers.first() else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let folder = |path: &&Path| {
        rustix::fs::open(*path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let with = |lowers: &[&Path]| {
        let mut data = format!("lowerdir={}", joined_lowers(lowers));
        if let Some((upper, work)) = overlay.upper {
            data += &format!(",upperdir={},workdir={}", escaped(upper), escaped(work));
        }
        overlay.flags.iter().for_each(|flag| data += &format!(",{flag}"));
        data
    };
    let mount = |data: String| {
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", *top, "overlay", MountFlags::empty(), data.as_c_str())
    };
    let data = with(&overlay.lowers);
    if data.len() <= MOST_DATA {
        mount(data)?;
    } else {
        let held = overlay.lowers.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
        let names = held.iter().map(|fd| PathBuf::from(fd.as_raw_fd().to_string()));
        let names: Vec<PathBuf> = names.collect();
        let back = folder(&Path::new("."))?;
        rustix::process::chdir("/proc/self/fd")?;
        let mounted = mount(with(&names.iter().map(PathBuf::as_path).collect::<Vec<_>>()));
        rustix::process::fchdir(back)?;
        mounted?;
    }
    let tree = copy(rustix::fs::CWD, top, MountReach::Alone);
    rustix::mount::unmount(*top, UnmountFlags::DETACH)?;
    let tree = tree?;
    if attributes != Attributes::NONE {
        set_attributes(&tree, attributes, MountReach::Alone)?;
    }
    Ok(tree)
}

/// Escapes a path for options of overlayfs before 6.7, where `,` separates options too.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
}

/// Joins lower layers for the `lowerdir` option: `:` between, and `\` before `:` and `\` in a name.
pub fn joined_lowers(lowers: &[&Path]) -> String {
    let escaped = |path: &&Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    lowers.iter().map(escaped).collect::<Vec<_>>().join(":")
}

/// Splits the result of [`joined_lowers`].
pub fn split_lowers(text: &str) -> Vec<PathBuf> {
    let (mut lowers, mut lower) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => lower.extend(characters.next()),
            ':' => lowers.push(std::mem::take(&mut lower).into()),
            _ => lower.push(character),
        }
    }
    lowers.push(lower.into());
    lowers
}

/// Makes a detached copy of the mount at `path` below `at`, as for a bind mount. An empty path means `at` itself.
pub fn copy(at: impl AsFd, path: &Path, reach: MountReach) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == MountReach::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(at, path, flags)?)
}

/// Attaches a detached mount at `target`.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", target, c"", flags)?)
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes of an attached mount (mount_setattr(2), kernel 5.12). Older kernels: remounts the mount, and each
/// mount below, by name.
pub fn set_attributes(
    mount: impl AsFd,
    attributes: Attributes,
    reach: MountReach,
) -> io::Result<()> {
    // The mode of access times is replaced as a whole.
    let clear = if attributes.0 & Attributes::ATIME.0 == 0 { 0 } else { Attributes::ATIME.0 };
    let arguments = MountAttr { set: attributes.0, clear, propagation: 0, userns_fd: 0 };
    match mount_setattr(&mount, &arguments, reach) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            places(&mount, reach)?.iter().try_for_each(|place| remount(place, attributes))
        }
        answer => answer,
    }
}

/// Clears attributes of an attached mount and all below (mount_setattr(2), kernel 5.12). Errors: EPERM for an attribute
/// that a more privileged namespace has set.
pub fn clear_attributes(mount: impl AsFd, attributes: Attributes) -> io::Result<()> {
    let is_atime = attributes.0 & Attributes::ATIME.0 != 0;
    let clear = attributes.0 | if is_atime { Attributes::ATIME.0 } else { 0 };
    let arguments = MountAttr { set: 0, clear, propagation: 0, userns_fd: 0 };
    mount_setattr(&mount, &arguments, MountReach::Recursive)
}

/// Sets the propagation of an attached mount, alone or with all mounts below.
pub fn set_propagation(
    mount: impl AsFd,
    propagation: Propagation,
    reach: MountReach,
) -> io::Result<()> {
    let flag = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    };
    match mount_setattr(
        &mount,
        &MountAttr { set: 0, clear: 0, propagation: flag, userns_fd: 0 },
        reach,
    ) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            use rustix::mount::{MountPropagationFlags, mount_change};
            let flags = MountPropagationFlags::from_bits_retain(flag as u32);
            places(&mount, reach)?.iter().try_for_each(|place| Ok(mount_change(place, flags)?))
        }
        answer => answer,
    }
}

/// Maps the owners of all files of a detached mount through the user namespace `userns` (MOUNT_ATTR_IDMAP). Errors:
/// EPERM if the caller does not own the file system, EINVAL if the file system has no such support (FUSE has from 6.12
/// on).
pub fn idmap(mount: impl AsFd, userns: impl AsFd) -> io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let userns_fd = userns.as_fd().as_raw_fd() as u64;
    let arguments = MountAttr { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, userns_fd };
    mount_setattr(&mount, &arguments, MountReach::Alone)
}

/// Lists the paths of `mount` and (for [`MountReach::Recursive`]) of each mount below, as this process sees them.
fn places(mount: &impl AsFd, reach: MountReach) -> io::Result<Vec<PathBuf>> {
    let own = PathBuf::from(format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd()));
    let top = std::fs::read_link(&own)?;
    let mut places = vec![own];
    if reach == MountReach::Recursive {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let targets = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
        places.extend(targets.filter(|target| target.starts_with(&top) && *target != top));
    }
    Ok(places)
}

/// Unescapes a path: proc(5) writes blanks and backslashes as `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    let mut path = text.to_owned();
    for (code, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        path = path.replace(code, character);
    }
    path.into()
}

fn mount_setattr(mount: &impl AsFd, arguments: &MountAttr, reach: MountReach) -> io::Result<()> {
    let flags =
        libc::AT_EMPTY_PATH | if reach == MountReach::Recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and `arguments` has the layout of struct mount_attr; both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *arguments,
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Remounts with all attributes: present ones must be repeated, also because some may be locked.
fn remount(place: &Path, attributes: Attributes) -> io::Result<()> {
    use rustix::mount::{MountFlags, mount_remount};
    let now = rustix::fs::statvfs(place)?.f_flag.bits();
    let mut flags = MountFlags::BIND;
    for (attribute, flag) in [
        (Attributes::READ_ONLY, MountFlags::RDONLY),
        (Attributes::NO_SUID, MountFlags::NOSUID),
        (Attributes::NO_DEV, MountFlags::NODEV),
        (Attributes::NO_EXEC, MountFlags::NOEXEC),
        (Attributes::NO_ATIME, MountFlags::NOATIME),
    ] {
        // statvfs(3) has the same numbers for these.
        if attributes.contains(attribute) || now & u64::from(flag.bits()) != 0 {
            flags |= flag;
        }
    }
    Ok(mount_remount(place, flags, "")?)
}

/// Detaches the mount whose root is the current folder; open descriptors keep the mount alive.
pub fn detach_here() -> io::Result<()> {
    Ok(rustix::mount::unmount(".", UnmountFlags::DETACH)?)
}

/// Makes the current folder, a mount, the root directory, and unmounts the old root. pivot_root(2): with "." twice, the
/// old root is stacked on the new one, and is unmounted first.
pub fn pivot_root_here() -> io::Result<()> {
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}
