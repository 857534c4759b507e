//! Mounts of a plan: entries of config.json, as data for the child and for `--explain`.
//!
//! A mount is made detached, in the user namespace that has the privileges for it (`is_made_in_base`), and attached in
//! the container.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime;
use rustix::fs::{FileType, OFlags, fstat};

use crate::engine::root::image_mount;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::host::idmap;
use crate::ids::{FileIds, HostIds, IdLevel, IdMap, IdMaps, Map};
use crate::layer::LowerLayer;
use crate::layer::squashfs::ImageFile;
use crate::spec::{
    COPY_UP, FUSE, IDENTITY, IDMAP, IMAGE_LOWER, OFFSET, SQUASHFS, SUBPATH, Stacking,
    StorageDriver, VOLATILE, lower_layers,
};
use crate::sys::inroot::{self, MountPointKind, Symlinks};
use crate::sys::mount::{Attributes, MountReach, Propagation, split_lowers};

/// Source of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// New file system, made inside the container's namespaces.
    New {
        /// Type of the file system, such as `proc`.
        fs: String,
        /// Source, as /proc/self/mounts shows it.
        source: String,
        /// Options of the file system.
        options: Vec<(String, Option<String>)>,
    },
    /// Stacked layers, mounted in base: their files may have IDs that the container lacks.
    Overlay {
        /// Driver that stacks the layers, and the format of their owners and whiteouts.
        stacking: Stacking,
        /// Read-only layers, the topmost first.
        lowers: Vec<LowerLayer>,
        /// Writable layer and work folder.
        upper: Option<(PathBuf, PathBuf)>,
        /// Options without a value.
        flags: Vec<String>,
    },
    /// File or folder of the host, opened in base: the user may have permissions that the container's root lacks.
    Bind(PathBuf, MountReach),
    /// Squashfs image, mounted in base by a FUSE server of usnea.
    Image(ImageFile),
    /// `/dev/shm` of the container of this process, whose IPC namespace is joined.
    SharedMemory(i32),
}

/// Folder of POSIX shared memory, which belongs to the IPC namespace.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Mount of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMount {
    /// Source of the mount.
    pub source: MountSource,
    /// Mount point inside the container.
    pub target: PathBuf,
    /// Kind of the mount point that is made where the target is missing.
    pub kind: MountPointKind,
    /// Policy for symbolic links of the image on the way to the target.
    pub symlinks: Symlinks,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes to clear on the mount and all mounts below it (`rrw` and similar options).
    pub cleared: Attributes,
    /// Propagation; `None`: unchanged.
    pub propagation: Option<(Propagation, MountReach)>,
    /// True if the root's files at the target are copied into a new volume (`copyup`) or a new tmpfs (`tmpcopyup`).
    pub copy_up: bool,
    /// Path below the source of a bind mount that is shown. Its symbolic links stay inside the source.
    pub subpath: Option<PathBuf>,
    /// Owners of the mount's files.
    pub owners: MountOwners,
    /// User namespace in which a new file system is made.
    pub maker: Maker,
}

/// Cgroups that a container sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupView {
    /// Cgroups below the root of its cgroup namespace.
    Own,
    /// All cgroups of the host.
    Hosts,
}

/// User namespace in which a new file system is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maker {
    /// The container's own.
    #[default]
    Container,
    /// Base: the file system shows a joined namespace, over which the container has no capabilities.
    Base,
}

impl PlannedMount {
    /// Turns a bind mount of `/proc/PID/root/dev/shm` into the shared memory of that process's container.
    pub fn sharing_memory(self) -> Self {
        let pid = match &self.source {
            MountSource::Bind(path, _) if self.target == Path::new(SHARED_MEMORY) => {
                let pid = path.to_str().and_then(|text| {
                    let pid = text.strip_prefix("/proc/")?;
                    pid.strip_suffix(SHARED_MEMORY)?.strip_suffix("/root")
                });
                pid.and_then(|pid| pid.parse().ok())
            }
            _ => None,
        };
        match pid {
            Some(pid) => {
                let kind = MountPointKind::Directory;
                Self { source: MountSource::SharedMemory(pid), kind, ..self }
            }
            None => self,
        }
    }

    /// Images that are mounted for this mount: those that the kernel's overlay stacks. The server of usnea's own overlay
    /// reads images by itself, and the copy driver mounts its own, at the first start alone.
    pub fn images(&self) -> impl Iterator<Item = &ImageFile> {
        let (image, lowers) = match &self.source {
            MountSource::Image(image) => (Some(image), &[][..]),
            MountSource::Overlay { stacking, lowers, .. }
                if stacking.driver == StorageDriver::Overlay =>
            {
                (None, lowers.as_slice())
            }
            _ => (None, &[][..]),
        };
        image.into_iter().chain(lowers.iter().filter_map(LowerLayer::image))
    }

    /// True if a server of usnea's own unpacks files of this mount as they are read.
    pub fn has_images(&self) -> bool {
        let lowers = match &self.source {
            MountSource::Image(_) => return true,
            MountSource::Overlay { stacking, lowers, .. }
                if stacking.driver != StorageDriver::Copy =>
            {
                lowers.as_slice()
            }
            _ => &[],
        };
        lowers.iter().any(|lower| lower.image().is_some())
    }

    /// True if the mount is a new file system of type `kind`.
    pub fn is_new(&self, kind: &str) -> bool {
        matches!(&self.source, MountSource::New { fs, .. } if *fs == kind)
    }
}

/// Owners of a bind mount's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MountOwners {
    /// Owners stay as on disk.
    #[default]
    AsTheyAre,
    /// All files are changed to belong to the user of the command (podman's option `U`).
    TheUsers,
    /// Files are shown with other owners, by an ID-mapped mount (`idmap`). Maps to the host's IDs; `None`: the
    /// container's maps.
    Mapped(Option<IdMaps<FileIds, HostIds>>),
}

impl PlannedMount {
    /// Reads a mount of config.json.
    pub fn from_oci(mount: &runtime::Mount) -> Result<Self> {
        let target = mount.destination().clone();
        Self::parse(mount).context(|| format!("mount {}", target.display()))
    }

    fn parse(mount: &runtime::Mount) -> Result<Self> {
        let mut words = MountWords::read(mount.options().as_deref().unwrap_or_default());
        let source_text = mount.source().as_deref().unwrap_or(Path::new("none"));
        let fs = mount.typ().as_deref().unwrap_or("bind");
        let is_bind = fs == "bind" || words.bind.is_some();
        let mut copy_up =
            fs == "tmpfs" && !is_bind && takes(&mut words.others, TMPFS_COPY_UP, None);
        let mut subpath = None;
        let source = match (fs, StorageDriver::of_mount_type(fs)) {
            _ if is_bind => {
                subpath = take_value(&mut words.others, SUBPATH.trim_end_matches('='));
                copy_up = takes(&mut words.others, COPY_UP, None);
                if takes(&mut words.others, IDMAP, None) || mount.uid_mappings().is_some() {
                    let maps = mount.uid_mappings().as_deref().zip(mount.gid_mappings().as_deref());
                    words.owners = MountOwners::Mapped(
                        maps.map(|(uids, gids)| IdMaps { uids: map_of(uids), gids: map_of(gids) }),
                    );
                }
                if let Some((name, _)) = words.others.first() {
                    fail!("a bind mount has no option '{name}'");
                }
                MountSource::Bind(source_text.to_owned(), words.bind.unwrap_or(MountReach::Alone))
            }
            // In config.json this type stands for either version of cgroups: usnea supports only version 2.
            ("cgroup", _) => MountSource::New {
                fs: "cgroup2".into(),
                source: "cgroup2".into(),
                options: words.others,
            },
            (_, Some(driver)) => overlay(driver, words.others)?,
            (SQUASHFS, _) if !is_device(source_text) => image(source_text, &mut words)?,
            _ => MountSource::New {
                fs: fs.into(),
                source: source_text.to_string_lossy().into_owned(),
                options: words.others,
            },
        };
        let kind = match &source {
            MountSource::Bind(path, _) if !copy_up => kind_of(path, subpath.as_deref()),
            _ => MountPointKind::Directory,
        };
        // A mount of the user may follow symbolic links of the image. The container's own /proc, /dev and /sys must be
        // mounted exactly at those paths (CVE-2025-52881 and similar ones).
        let ours = matches!(&source, MountSource::New { fs, .. } if fs != "tmpfs")
            || mount.destination() == Path::new("/dev");
        Ok(Self {
            source,
            // A relative path is relative to "/" (OCI runtime spec, "Mounts").
            target: Path::new("/").join(mount.destination()),
            kind,
            symlinks: if ours { Symlinks::Refuse } else { Symlinks::Follow },
            attributes: words.attributes,
            cleared: words.cleared,
            propagation: words.propagation,
            copy_up,
            subpath,
            owners: words.owners,
            maker: Maker::Container,
        })
    }

    /// Returns a bind mount of a device node, or of another single file of the host, at its own path.
    pub fn bind_file(path: &str) -> Self {
        Self {
            source: MountSource::Bind(path.into(), MountReach::Alone),
            target: path.into(),
            kind: MountPointKind::File,
            symlinks: Symlinks::Refuse,
            attributes: Attributes::NONE,
            cleared: Attributes::NONE,
            propagation: None,
            copy_up: false,
            subpath: None,
            owners: MountOwners::AsTheyAre,
            maker: Maker::Container,
        }
    }

    /// Resolves a relative source of a bind mount or an image in the folder of the bundle. Binds the host's cgroups for a container
    /// that shares the host's cgroup namespace: only the owner of that namespace may mount them anew.
    pub fn in_bundle(mut self, bundle: &Path, cgroups: CgroupView) -> Self {
        match &mut self.source {
            MountSource::Bind(path, _) if path.is_relative() => {
                *path = bundle.join(&path);
                let is_folder = self.copy_up || path.is_dir();
                self.kind =
                    if is_folder { MountPointKind::Directory } else { MountPointKind::File };
            }
            MountSource::Image(image) => image.path = bundle.join(&image.path),
            MountSource::New { fs, .. } if fs == "cgroup2" && cgroups == CgroupView::Hosts => {
                self.source = MountSource::Bind("/sys/fs/cgroup".into(), MountReach::Recursive);
            }
            _ => {}
        }
        self
    }

    /// Adds the SELinux label for the files of a new file system.
    pub fn labelled(mut self, label: &str) -> Self {
        if let MountSource::New { fs, options, .. } = &mut self.source
            && !["proc", "sysfs", "cgroup2", "mqueue"].contains(&fs.as_str())
        {
            options.push(("context".into(), Some(label.into())));
        }
        self
    }

    /// True if the mount is made in base, before the container's own namespaces.
    pub fn is_made_in_base(&self) -> bool {
        self.maker == Maker::Base || !matches!(self.source, MountSource::New { .. })
    }
}

/// Refuses a mount that needs an ID map from a caller who cannot make one.
pub fn check_idmap(mount: &PlannedMount) -> Result<()> {
    if !matches!(mount.owners, MountOwners::Mapped(_)) || idmap::is_allowed() {
        return Ok(());
    }
    let text = format!(
        "{}: 'idmap' is refused by the kernel for file systems of the host, whoever has no root there",
        mount.target.display()
    );
    Err(Error::new(text).hint(hint::CHOWN_OR_KEEP_ID))
}

/// Reads an ID map of config.json.
pub fn map_of<Inner: IdLevel>(lines: &[runtime::LinuxIdMapping]) -> Map<Inner, HostIds> {
    let line = |line: &runtime::LinuxIdMapping| {
        IdMap::new(line.container_id(), line.host_id(), line.size())
    };
    Map::new(lines.iter().map(line).collect())
}

/// Option of a tmpfs that starts with a copy of the root's files at the target (runc, podman).
const TMPFS_COPY_UP: &str = "tmpcopyup";

/// Removes an option; true if it was present.
fn takes(options: &mut Vec<(String, Option<String>)>, name: &str, value: Option<&str>) -> bool {
    let before = options.len();
    options.retain(|option| (option.0.as_str(), option.1.as_deref()) != (name, value));
    options.len() < before
}

/// Removes an option with a value, and returns the value.
fn take_value(options: &mut Vec<(String, Option<String>)>, name: &str) -> Option<PathBuf> {
    let at = options.iter().position(|(option, value)| option == name && value.is_some())?;
    options.remove(at).1.map(PathBuf::from)
}

/// Returns the kind of the mount point for a file or folder of the host. A missing one is a folder: it is made before
/// the mount, or the mount fails.
fn kind_of(source: &Path, subpath: Option<&Path>) -> MountPointKind {
    let is_file = match subpath {
        None => source.metadata().map(|metadata| !metadata.is_dir()),
        Some(subpath) => File::open(source)
            .and_then(|volume| inroot::open(volume, subpath, OFlags::PATH, Symlinks::Follow))
            .and_then(|inside| Ok(!FileType::from_raw_mode(fstat(inside)?.st_mode).is_dir())),
    };
    match is_file {
        Ok(true) => MountPointKind::File,
        Err(error) if error.kind() != ErrorKind::NotFound && subpath.is_none() => {
            MountPointKind::File
        }
        _ => MountPointKind::Directory,
    }
}

/// Parses the options of an overlay. usnea's own overlay accepts no flag but `volatile`.
fn overlay(
    driver: StorageDriver,
    mut options: Vec<(String, Option<String>)>,
) -> Result<MountSource> {
    let is_ours = driver == StorageDriver::Fuse;
    let stacking = Stacking::take(driver, &mut options);
    let (mut lowers, mut upper, mut work, mut flags) = (Vec::new(), None, None, Vec::new());
    let mut images = Vec::new();
    for (name, value) in options {
        match (name.as_str(), value) {
            ("lowerdir", Some(value)) => lowers = split_lowers(&value),
            (IMAGE_LOWER, Some(value)) => images.push(value),
            ("upperdir", Some(value)) => upper = Some(PathBuf::from(value)),
            ("workdir", Some(value)) => work = Some(PathBuf::from(value)),
            (_, None) => flags.push(name),
            (_, Some(value)) => flags.push(format!("{name}={value}")),
        }
    }
    if lowers.is_empty() {
        fail!("an overlay without lowerdir");
    }
    if is_ours && flags.iter().any(|flag| flag != VOLATILE) {
        fail!("usnea's overlay has no flag but {VOLATILE}: {}", flags.join(","));
    }
    let Some(lowers) = lower_layers(lowers, images.iter().map(String::as_str)) else {
        fail!("{IMAGE_LOWER}: expected INDEX:OFFSET[:DEVICE:INODE:SIZE:SECONDS.NANOSECONDS]");
    };
    Ok(MountSource::Overlay { stacking, lowers, upper: upper.zip(work), flags })
}

/// True if a squashfs is on a block device, which the kernel mounts.
fn is_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device())
}

/// True if a FUSE server of usnea serves a mount of config.json.
pub fn has_server(mount: &runtime::Mount) -> bool {
    match (mount.typ().as_deref(), mount.source()) {
        (Some(FUSE), _) => true,
        (Some("overlay"), _) => {
            let mut options = mount.options().iter().flatten();
            options.any(|option| option.starts_with(IMAGE_LOWER))
        }
        (Some(SQUASHFS), Some(source)) => !is_device(source),
        _ => false,
    }
}

/// Parses the options of an image's mount, and adds the attributes of each such mount.
fn image(path: &Path, words: &mut MountWords) -> Result<MountSource> {
    let mut image = ImageFile::new(path, 0);
    words.attributes = words.attributes.with(image_mount::ATTRIBUTES);
    if words.cleared != Attributes::NONE {
        fail!("an image is mounted with {}", image_mount::ATTRIBUTES.options());
    }
    for (name, value) in &words.others {
        match (format!("{name}=").as_str(), value) {
            (OFFSET, Some(value)) => {
                let offset = value.parse().map_err(Error::new);
                image.offset = offset.context(|| format!("{OFFSET}{value}"))?;
            }
            (IDENTITY, Some(value)) => image.identity = Some(value.parse()?),
            _ => fail!("an image has no option '{name}'"),
        }
    }
    Ok(MountSource::Image(image))
}

/// Effect of an option on a mount attribute.
#[derive(Clone, Copy)]
enum AttributeSetting {
    Set,
    Clear,
}

/// Options for attributes of a mount (mount_setattr(2)); each has a recursive form with `r` before it.
const ATTRIBUTES: [(&str, Attributes, AttributeSetting); 18] = [
    ("ro", Attributes::READ_ONLY, AttributeSetting::Set),
    ("rw", Attributes::READ_ONLY, AttributeSetting::Clear),
    ("nosuid", Attributes::NO_SUID, AttributeSetting::Set),
    ("suid", Attributes::NO_SUID, AttributeSetting::Clear),
    ("nodev", Attributes::NO_DEV, AttributeSetting::Set),
    ("dev", Attributes::NO_DEV, AttributeSetting::Clear),
    ("noexec", Attributes::NO_EXEC, AttributeSetting::Set),
    ("exec", Attributes::NO_EXEC, AttributeSetting::Clear),
    ("noatime", Attributes::NO_ATIME, AttributeSetting::Set),
    ("atime", Attributes::NO_ATIME, AttributeSetting::Clear),
    ("strictatime", Attributes::STRICT_ATIME, AttributeSetting::Set),
    ("nostrictatime", Attributes::STRICT_ATIME, AttributeSetting::Clear),
    ("relatime", Attributes::ATIME, AttributeSetting::Clear),
    ("norelatime", Attributes::NONE, AttributeSetting::Clear),
    ("nodiratime", Attributes::NO_DIR_ATIME, AttributeSetting::Set),
    ("diratime", Attributes::NO_DIR_ATIME, AttributeSetting::Clear),
    ("nosymfollow", Attributes::NO_SYMLINKS, AttributeSetting::Set),
    ("symfollow", Attributes::NO_SYMLINKS, AttributeSetting::Clear),
];

/// Options of mount(8) that name a default, or that have no effect on a new mount.
const WITHOUT_EFFECT: [&str; 11] = [
    "defaults",
    "async",
    "loud",
    "silent",
    "acl",
    "noacl",
    "iversion",
    "noiversion",
    "nolazytime",
    "nomand",
    "notmpcopyup",
];

/// Options of one mount, sorted by the setting that they change.
#[derive(Default)]
struct MountWords {
    attributes: Attributes,
    cleared: Attributes,
    propagation: Option<(Propagation, MountReach)>,
    bind: Option<MountReach>,
    owners: MountOwners,
    others: Vec<(String, Option<String>)>,
}

impl MountWords {
    fn read(options: &[String]) -> Self {
        let mut words = Self::default();
        for option in options {
            words.read_one(option);
        }
        words
    }

    /// Reads an option for an attribute: of this mount (`ro`), or of all mounts below it too (`rro`). Returns false for
    /// any other option. On a recursive bind mount, attributes are set on all mounts below in both cases, as docker
    /// does.
    fn read_attribute(&mut self, option: &str) -> bool {
        let find = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
        let (found, reach) = match (find(option), option.strip_prefix('r').and_then(find)) {
            (Some(found), _) => (found, MountReach::Alone),
            (None, Some(found)) => (found, MountReach::Recursive),
            (None, None) => return false,
        };
        let (_, attribute, change) = *found;
        match (change, reach) {
            (AttributeSetting::Set, _) => {
                self.attributes = self.attributes.with(attribute);
                self.cleared = self.cleared.without(attribute);
            }
            (AttributeSetting::Clear, MountReach::Alone) => {
                self.attributes = self.attributes.without(attribute);
            }
            (AttributeSetting::Clear, MountReach::Recursive) => {
                self.attributes = self.attributes.without(attribute);
                self.cleared = self.cleared.with(attribute);
            }
        }
        true
    }

    fn read_one(&mut self, option: &str) {
        use MountReach::{Alone, Recursive};
        use Propagation::{Private, Shared, Slave, Unbindable};
        if self.read_attribute(option) || WITHOUT_EFFECT.contains(&option) {
            return;
        }
        match option {
            "U" => self.owners = MountOwners::TheUsers,
            "bind" => self.bind = Some(Alone),
            "rbind" => self.bind = Some(Recursive),
            "private" => self.propagation = Some((Private, Alone)),
            "rprivate" => self.propagation = Some((Private, Recursive)),
            "slave" => self.propagation = Some((Slave, Alone)),
            "rslave" => self.propagation = Some((Slave, Recursive)),
            "shared" => self.propagation = Some((Shared, Alone)),
            "rshared" => self.propagation = Some((Shared, Recursive)),
            "unbindable" => self.propagation = Some((Unbindable, Alone)),
            "runbindable" => self.propagation = Some((Unbindable, Recursive)),
            _ => self.others.push(match option.split_once('=') {
                Some((name, value)) => (name.into(), Some(value.into())),
                None => (option.into(), None),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowers_with_colons_and_backslashes_survive_joining() {
        let lowers = ["/a:b", "/c\\d", "/e"].map(Path::new);
        let joined = crate::sys::mount::joined_lowers(&lowers);
        assert_eq!(joined, "/a\\:b:/c\\\\d:/e");
        assert_eq!(split_lowers(&joined), lowers);
    }

    #[test]
    fn the_source_of_a_bind_mount_is_in_the_bundle() {
        let resolved = |text: &str| {
            let mount = serde_json::from_str(text).unwrap();
            let planned = PlannedMount::from_oci(&mount).unwrap();
            planned.in_bundle(Path::new("/b"), CgroupView::Own).source
        };
        for (text, source) in [
            (r#"{"destination": "/a", "source": "a", "options": ["rbind"]}"#, "/b/a"),
            (r#"{"destination": "/a", "source": "a", "type": "bind"}"#, "/b/a"),
            (r#"{"destination": "/a", "source": "/a", "type": "bind"}"#, "/a"),
        ] {
            let source = Path::new(source);
            assert!(matches!(resolved(text), MountSource::Bind(path, _) if path == source));
        }
        let proc = resolved(r#"{"destination": "/p", "type": "proc", "source": "proc"}"#);
        assert!(matches!(proc, MountSource::New { source, .. } if source == "proc"));
    }

    #[test]
    fn options_are_sorted_by_what_they_concern() {
        let options = ["rbind", "ro", "nosuid", "suid", "rslave", "size=1m"].map(String::from);
        let words = MountWords::read(&options);
        assert_eq!(words.attributes, Attributes::READ_ONLY);
        assert_eq!(words.bind, Some(MountReach::Recursive));
        assert_eq!(words.propagation, Some((Propagation::Slave, MountReach::Recursive)));
        assert_eq!(words.others, [("size".to_owned(), Some("1m".to_owned()))]);
    }

    #[test]
    fn an_attribute_has_a_recursive_form() {
        let options = ["rbind", "rro", "rnosuid", "rexec", "rrelatime", "rsuid"].map(String::from);
        let words = MountWords::read(&options);
        assert_eq!(words.attributes, Attributes::READ_ONLY);
        let cleared = Attributes::NO_EXEC.with(Attributes::ATIME).with(Attributes::NO_SUID);
        assert_eq!(words.cleared, cleared);
        assert!(words.others.is_empty());
        let words = MountWords::read(&["rw", "nosymfollow", "noatime"].map(String::from));
        let set = Attributes::NO_SYMLINKS.with(Attributes::NO_ATIME);
        assert_eq!((words.attributes, words.cleared), (set, Attributes::NONE));
    }
}
