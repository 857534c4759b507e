//! Mounts of the config, in mount order: the root's overlay, the system's mounts, the user's.
//!
//! The user's mounts are sorted by depth, so that inner mounts follow outer ones, whatever the order of the flags. A
//! system mount that a user's mount would cover is left out (docker).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder, Spec};

use super::bind::{BindOptions, BindOwners};
use super::command::runs_systemd;
use super::destination::Destination;
use super::device::DeviceFlag;
use super::file_system::FileSystemMount;
use super::glob::GlobMount;
use super::inputs::{CgroupHierarchy, SpecInputs, SpecRoot, TopLayer};
use super::mount::MountFlag;
use super::namespace::{IpcMode, JoinTarget, NamespaceSharing, NetworkMode};
use super::options::ContainerOptions;
use super::overlay::{UPPER, WORK};
use super::security_option::SecurityOption;
use super::storage_driver::{Stacking, StorageDriver, VOLATILE, image_options};
use super::tmpfs::{COPY_UP as TMPFS_COPY_UP, TmpfsMount};
use super::volume::{VolumeContent, VolumeFlag, VolumeKind, VolumeSource};
use super::volumes::{asked_volumes, image_tmpfs, image_volumes};
use crate::error::{Context, Error, Phrase, Result, Setting};
use crate::fail;
use crate::hint;
use crate::ids::{ContainerIds, HostIds, Id, IdMaps, Map};
use crate::layer::LowerLayer;
use crate::phrase;
use crate::sys::mount::joined_lowers;

/// Group that owns terminals, in every distribution.
const TTY: u32 = 5;

/// Folder of a volume's files, inside the volume's folder.
pub const DATA: &str = "_data";
/// Marker folder beside [`DATA`], present until the volume gets its first content.
pub const NEW: &str = "new";
/// Option of a bind mount: a volume marked [`NEW`] first gets a copy of the root's files at the mount point.
pub const COPY_UP: &str = "copyup";
/// Option of a bind mount, with its `=`: the path below the source that is mounted. Its symbolic links stay inside.
pub const SUBPATH: &str = "subpath=";
/// Prefix of the folder of an anonymous volume, in the container's folder.
pub(super) const ANONYMOUS: &str = "anonymous-";

/// Mount from an option, with its mount point.
struct FlagMount {
    destination: Destination,
    mount: Mount,
}

/// Lists all mounts. Errors: a source that does not exist, a duplicate destination, an unmapped owner.
pub(super) fn mounts(inputs: &SpecInputs<'_>) -> Result<Vec<Mount>> {
    let asked = asked(inputs)?;
    let covered = |mount: &Mount| {
        asked.iter().any(|asked| mount.destination().starts_with(asked.destination.path()))
    };
    let mut mounts = Vec::with_capacity(16);
    if let SpecRoot::Layered(lowers) = inputs.root {
        let flags: &[_] = match inputs.top_layer {
            TopLayer::Disposable if inputs.overlay.is_none() => &[VOLATILE],
            TopLayer::Disposable | TopLayer::Persistent => &[],
        };
        let folder = inputs.overlay.unwrap_or(inputs.folder);
        mounts.push(overlay(Path::new("/"), lowers, folder, inputs.stacking, flags)?);
    }
    mounts.extend(system(inputs)?.into_iter().filter(|mount| !covered(mount)));
    mounts.extend(asked.into_iter().map(|asked| asked.mount));
    Ok(mounts)
}

fn mount(
    destination: impl Into<PathBuf>,
    kind: &str,
    source: impl Into<PathBuf>,
    options: &[&str],
) -> Result<Mount> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .map_err(Error::new)
}

/// Builds an overlay of the layers `lowers` below a writable one in `folder`.
fn overlay(
    destination: &Path,
    lowers: &[LowerLayer],
    folder: &Path,
    stacking: Stacking,
    flags: &[&str],
) -> Result<Mount> {
    let paths: Vec<&Path> = lowers.iter().map(LowerLayer::path).collect();
    for path in paths.iter().chain([&folder]) {
        text(path)?;
    }
    // The kernel takes `\` as an escape here too, and a `:` literally (ovl_mount_dir; tried on 6.18).
    let option = |name, part| {
        format!("{name}={}", folder.join(part).to_string_lossy().replace('\\', "\\\\"))
    };
    let lowerdir = format!("lowerdir={}", joined_lowers(&paths));
    let (upperdir, workdir) = (option("upperdir", UPPER), option("workdir", WORK));
    let images = image_options(lowers);
    let mut options = vec![lowerdir.as_str(), &upperdir, &workdir];
    options.extend(images.iter().map(String::as_str));
    let more: Vec<String> = stacking.options().collect();
    options.extend(more.iter().map(String::as_str));
    let is_copied = stacking.driver == StorageDriver::Copy;
    options.extend(flags.iter().filter(|flag| !is_copied || **flag != VOLATILE));
    mount(destination, stacking.driver.mount_type(), "overlay", &options)
}

/// Folders to create beside those of layers: anonymous volumes in the container's `folder`.
pub fn anonymous_folders(spec: &Spec, folder: &Path) -> Vec<PathBuf> {
    let sources = spec.mounts().iter().flatten().filter_map(|mount| mount.source().as_ref());
    let volumes = sources.filter_map(|source| source.parent().filter(|_| source.ends_with(DATA)));
    let own = volumes.filter(|volume| volume.parent() == Some(folder));
    own.flat_map(|volume| [volume.join(DATA), volume.join(NEW)]).collect()
}

/// Mounts that every container has.
fn system(inputs: &SpecInputs<'_>) -> Result<Vec<Mount>> {
    let options = inputs.options;
    let mut mounts = vec![
        match options.pid_sharing() {
            NamespaceSharing::Private | NamespaceSharing::Joined(_) => {
                let flags = ["nosuid", "noexec", "nodev"];
                mount("/proc", "proc", "proc", &[&flags[..], &proc_options(inputs)?].concat())?
            }
            NamespaceSharing::Host => {
                if !proc_options(inputs)?.is_empty() {
                    return Err(Error::invalid(phrase!(
                        Setting::SecurityOpt,
                        " proc-opts and ",
                        Setting::Pid,
                        " host exclude each other: /proc is the host's",
                    )));
                }
                mount("/proc", "bind", "/proc", &["rbind", "nosuid", "noexec", "nodev"])?
            }
        },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        terminals(inputs)?,
    ];
    mounts.extend(ipc(inputs)?);
    mounts.push(sys(options)?);
    if inputs.cgroups == CgroupHierarchy::Unified {
        mounts.extend(cgroups(inputs)?);
    }
    mounts.extend(names(options)?);
    Ok(mounts)
}

/// Returns the mount options of /proc from `--security-opt proc-opts`. Errors: a group that is not mapped.
fn proc_options<'a>(inputs: &'a SpecInputs<'_>) -> Result<Vec<&'a str>> {
    let asked = inputs.options.security_opt.iter().filter_map(|option| match option {
        SecurityOption::ProcOptions(options) => Some(options),
        _ => None,
    });
    let all: Vec<&str> = asked.flatten().map(String::as_str).collect();
    for group in all.iter().filter_map(|option| option.strip_prefix("gid=")) {
        let id: u32 = group.parse().map_err(Error::new)?;
        if inputs.maps.gids.outside_of(Id::new(id)).is_none() {
            let error = format!("the group ID {id} is not mapped in the container");
            return Err(Error::invalid(error))
                .context(|| Setting::SecurityOpt.with(format!("proc-opts=gid={id}")));
        }
    }
    Ok(all)
}

fn sys(options: &ContainerOptions) -> Result<Mount> {
    let flags = ["nosuid", "noexec", "nodev", if options.privileged { "rw" } else { "ro" }];
    match options.network().sharing() {
        NamespaceSharing::Private | NamespaceSharing::Joined(_) => {
            mount("/sys", "sysfs", "sysfs", &flags)
        }
        // Only the owner of the network namespace may mount a sysfs (sysfs_init_fs_context): here, the host.
        NamespaceSharing::Host => {
            let below: &[&str] = if options.privileged { &[] } else { &["rro"] };
            mount("/sys", "bind", "/sys", &[&["rbind", "rprivate"], &flags[..], below].concat())
        }
    }
}

/// Binds the host's name files on the host's network, unless an option replaces them.
fn names(options: &ContainerOptions) -> Result<Vec<Mount>> {
    let flags = ["bind", "rprivate", "nosuid", "nodev", "noexec", "ro"];
    if options.network() != NetworkMode::Host {
        return Ok(Vec::new());
    }
    let files =
        [("/etc/resolv.conf", options.has_own_resolver()), ("/etc/hosts", options.has_own_hosts())];
    let is_left = |file: &str| match file {
        "/etc/hosts" => options.no_hosts,
        _ => options.keeps_resolver(),
    };
    let of_host =
        files.iter().filter(|(file, is_own)| !is_own && !is_left(file) && Path::new(file).exists());
    of_host.map(|(file, _)| mount(file, "bind", file, &flags)).collect()
}

/// Read-only: CVE-2023-25809. A privileged container manages cgroups below its own, and so does systemd.
fn cgroups(inputs: &SpecInputs<'_>) -> Result<Option<Mount>> {
    let options = inputs.options;
    let manages = options.privileged || runs_systemd(inputs);
    let is_own = manages && options.cgroup_sharing() == NamespaceSharing::Private;
    let flags = [if is_own { "rw" } else { "ro" }, "nosuid", "noexec", "nodev"];
    match (options.cgroup_sharing(), options.network()) {
        (NamespaceSharing::Private | NamespaceSharing::Joined(_), _) => {
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &flags).map(Some)
        }
        // The host's /sys, bound as a whole, includes the cgroups.
        (NamespaceSharing::Host, NetworkMode::Host) => Ok(None),
        // Only the owner of the cgroup namespace may mount cgroups (cgroup_init_fs_context).
        (NamespaceSharing::Host, _) => {
            let flags = [&["rbind", "rprivate"], &flags[..], &["rro"]].concat();
            mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", &flags).map(Some)
        }
    }
}

fn terminals(inputs: &SpecInputs<'_>) -> Result<Mount> {
    let mut options = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // devpts refuses a group that is not mapped (EINVAL).
    if inputs.maps.gids.has(Id::new(TTY)) {
        options.push("gid=5");
    }
    mount("/dev/pts", "devpts", "devpts", &options)
}

/// Mounts for shared memory and message queues: the namespace's own, the joined container's, or the host's where they
/// exist.
fn ipc(inputs: &SpecInputs<'_>) -> Result<Vec<Mount>> {
    let flags = ["nosuid", "noexec", "nodev"];
    let mode = inputs.options.ipc_mode();
    if mode == IpcMode::Host {
        return ["/dev/shm", "/dev/mqueue"]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .map(|path| mount(path, "bind", path, &[&["bind", "rprivate"], &flags[..]].concat()))
            .collect();
    }
    if let IpcMode::Joined(target @ (JoinTarget::Container(_) | JoinTarget::Pod(_))) = &mode {
        let shm = [&["bind", "rprivate"], &flags[..]].concat();
        return Ok(vec![
            mount("/dev/shm", "bind", target.path(), &shm)?,
            mount("/dev/mqueue", "mqueue", "mqueue", &flags)?,
        ]);
    }
    if mode == IpcMode::None {
        return Ok(vec![mount("/dev/mqueue", "mqueue", "mqueue", &flags)?]);
    }
    Ok(vec![
        shared_memory(inputs.options.shm_size.map(|size| size.bytes()))?,
        mount("/dev/mqueue", "mqueue", "mqueue", &flags)?,
    ])
}

/// Returns the mount of `/dev/shm` with a size in bytes; `None` and 0: docker's default one.
pub fn shared_memory(bytes: Option<u64>) -> Result<Mount> {
    let size = match bytes.filter(|bytes| *bytes > 0) {
        Some(bytes) => format!("size={bytes}"),
        None => "size=65536k".to_owned(),
    };
    mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size])
}

/// Mounts from the options, the outer before the inner.
fn asked(inputs: &SpecInputs<'_>) -> Result<Vec<FlagMount>> {
    let options = inputs.options;
    let mut all = Vec::new();
    for flag in &options.tmpfs {
        all.push(tmpfs(flag, Setting::Tmpfs.with(&flag.destination), inputs)?);
    }
    for flag in &options.mount {
        all.push(match flag {
            MountFlag::Tmpfs(flag) => {
                let label = format!("type=tmpfs,target={}", flag.destination);
                tmpfs(flag, Setting::Mount.with(label), inputs)?
            }
            MountFlag::Bind { text, source, destination, bind } => {
                let setting = || Setting::Mount.with(text);
                let source = source.found().context(setting)?;
                bind.owners.refuse_what_others_need(&source).context(setting)?;
                bound(destination, &source, bind, inputs.maps).context(setting)?
            }
            MountFlag::FileSystem(flag) => file_system(flag, inputs)?,
            MountFlag::Glob(glob) => {
                all.extend(globbed(glob, inputs)?);
                continue;
            }
            MountFlag::Volume(_) => continue,
        });
    }
    let mut numbers = FolderCounts::default();
    for (setting, volume) in asked_volumes(options) {
        let mount = one_volume(volume, inputs, &mut numbers);
        all.push(mount.context(|| setting.with(&volume.text))?);
    }
    for volume in image_volumes(options, &inputs.image)? {
        all.push(one_volume(&volume, inputs, &mut numbers).context(|| volume.text.clone())?);
    }
    for flag in &image_tmpfs(options, &inputs.image)? {
        all.push(tmpfs(flag, format!("the image's volume {}", flag.destination), inputs)?);
    }
    for flag in &options.device {
        let DeviceFlag::Host(flag) = flag else { continue }; // those of CDI are edits of the whole config
        let nodes = flag.nodes().context(|| Setting::Device.with(&flag.text))?;
        for (source, destination) in nodes {
            let mount = mount(destination.path(), "bind", source, &["bind", "nosuid", "noexec"])?;
            all.push(FlagMount { destination, mount });
        }
    }
    refuse_duplicates(&all)?;
    if options.read_only && options.read_only_tmpfs {
        for folder in ["/run", "/tmp", "/var/tmp"] {
            let folder: Destination = folder.parse().map_err(Error::new)?;
            if all.iter().all(|asked| asked.destination != folder) {
                let label = Setting::ReadOnlyTmpfs.with(&folder);
                all.push(tmpfs(&TmpfsMount::new(folder), label, inputs)?);
            }
        }
    }
    add_systemd_folders(inputs, &mut all)?;
    all.extend(options.tz.as_deref().map(time_zone).transpose()?);
    all.sort_by_key(|asked| asked.destination.depth());
    Ok(all)
}

/// Adds a tmpfs for each folder that systemd keeps its state in, unless something else is mounted there.
fn add_systemd_folders(inputs: &SpecInputs<'_>, all: &mut Vec<FlagMount>) -> Result<()> {
    if !runs_systemd(inputs) {
        return Ok(());
    }
    let folders =
        [("/run", 0o755), ("/run/lock", 0o1777), ("/tmp", 0o1777), ("/var/log/journal", 0o755)];
    for (folder, mode) in folders {
        let folder: Destination = folder.parse().map_err(Error::new)?;
        if all.iter().all(|asked| asked.destination != folder) {
            let mut mount = TmpfsMount::with_programs(folder);
            mount.mode = mode;
            mount.size = inputs.options.shm_size_systemd.map(|size| size.bytes().to_string());
            mount.words.push(TMPFS_COPY_UP);
            all.push(tmpfs(&mount, Setting::Systemd.with("always"), inputs)?);
        }
    }
    Ok(())
}

/// Binds a time zone of the host's database, or the host's own (`local`), as /etc/localtime.
fn time_zone(name: &str) -> Result<FlagMount> {
    let is_name =
        !name.starts_with('/') && name.split('/').all(|part| !part.is_empty() && part != "..");
    let file = match name {
        "local" => Path::new("/etc/localtime").to_owned(),
        name => Path::new("/usr/share/zoneinfo").join(name),
    };
    let found = file.canonicalize().ok().filter(|file| is_name && file.is_file());
    let found = found
        .ok_or_else(|| Error::invalid("the host has no such time zone"))
        .context(|| Setting::Tz.with(name))?;
    let destination: Destination = "/etc/localtime".parse().map_err(Error::new)?;
    let flags = ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"];
    Ok(FlagMount { mount: mount(destination.path(), "bind", found, &flags)?, destination })
}

/// Builds the mount of a tmpfs. `label`: the origin of the tmpfs, for errors.
fn tmpfs(
    tmpfs: &TmpfsMount,
    label: impl Into<Phrase>,
    inputs: &SpecInputs<'_>,
) -> Result<FlagMount> {
    check_mapped(tmpfs.uid, tmpfs.gid, inputs).context(|| label)?;
    let options = tmpfs.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Ok(FlagMount {
        destination: tmpfs.destination.clone(),
        mount: mount(tmpfs.destination.path(), "tmpfs", "tmpfs", &options)?,
    })
}

/// Binds each file that matches a pattern.
fn globbed(glob: &GlobMount, inputs: &SpecInputs<'_>) -> Result<Vec<FlagMount>> {
    let setting = || Setting::Mount.with(&glob.text);
    let bind = |(source, destination): (PathBuf, Destination)| {
        glob.bind.owners.refuse_what_others_need(&source)?;
        bound(&destination, &source, &glob.bind, inputs.maps)
    };
    let files = glob.found().context(setting)?.into_iter();
    files.map(|file| bind(file).context(setting)).collect()
}

/// Builds the mount of a ramfs or devpts. Errors: an owner that is not mapped, which the kernel refuses (EINVAL).
fn file_system(flag: &FileSystemMount, inputs: &SpecInputs<'_>) -> Result<FlagMount> {
    let label = || Setting::Mount.with(format!("type={},target={}", flag.kind, flag.destination));
    check_mapped(flag.uid, flag.gid, inputs).context(label)?;
    let options = flag.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mount = mount(flag.destination.path(), flag.kind, flag.kind, &options)?;
    Ok(FlagMount { destination: flag.destination.clone(), mount })
}

/// Errors: an ID that is not mapped in the container.
fn check_mapped(uid: Option<u32>, gid: Option<u32>, inputs: &SpecInputs<'_>) -> Result<()> {
    let unmapped =
        |map: &Map<ContainerIds, HostIds>, id: Option<u32>| id.filter(|id| !map.has(Id::new(*id)));
    let (uids, gids) = (&inputs.maps.uids, &inputs.maps.gids);
    match unmapped(uids, uid).or_else(|| unmapped(gids, gid)) {
        Some(id) => fail!(Invalid: "the ID {id} is not mapped in the container"),
        None => Ok(()),
    }
}

fn bound(
    destination: &Destination,
    source: &Path,
    bind: &BindOptions,
    maps: &IdMaps<ContainerIds, HostIds>,
) -> Result<FlagMount> {
    text(source)?;
    let options = bind.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut mount = mount(destination.path(), "bind", source, &options)?;
    if let BindOwners::Mapped(idmap) = &bind.owners
        && let Some((uids, gids)) = idmap.mappings(maps)?
    {
        mount.set_uid_mappings(Some(uids)).set_gid_mappings(Some(gids));
    }
    Ok(FlagMount { destination: destination.clone(), mount })
}

/// Number of folders of each kind that the container has so far.
#[derive(Default)]
struct FolderCounts {
    layers: usize,
    anonymous: usize,
}

fn one_volume(
    volume: &VolumeFlag,
    inputs: &SpecInputs<'_>,
    numbers: &mut FolderCounts,
) -> Result<FlagMount> {
    let stacking = Stacking { driver: inputs.stacking.driver, ..Stacking::default() };
    let source = match &volume.source {
        VolumeSource::Host(source) => source.found()?,
        VolumeSource::Named(name) => inputs.volumes.join(name.as_str()).join(DATA),
        VolumeSource::Anonymous => {
            numbers.anonymous += 1;
            inputs.folder.join(format!("{ANONYMOUS}{}", numbers.anonymous - 1)).join(DATA)
        }
    };
    let is_path = matches!(volume.source, VolumeSource::Host(_));
    match &volume.kind {
        VolumeKind::Bind(bind) => {
            if is_path {
                bind.owners.refuse_what_others_need(&source)?;
            }
            let mut asked = bound(&volume.destination, &source, bind, inputs.maps)?;
            let mut options = asked.mount.options().clone().unwrap_or_default();
            let is_filled = !is_path && volume.content == VolumeContent::OfImage;
            options.extend(is_filled.then(|| COPY_UP.to_owned()));
            let subpath = volume.subpath.as_ref();
            options.extend(subpath.map(|subpath| format!("{SUBPATH}{}", subpath.display())));
            asked.mount.set_options(Some(options));
            Ok(asked)
        }
        VolumeKind::Image(image) => {
            let destination = volume.destination.clone();
            Ok(FlagMount { mount: image.mount(text(&source)?, &destination)?, destination })
        }
        VolumeKind::Overlay(flags) => {
            if is_path && !source.is_dir() {
                fail!(Invalid: "{}: a layer can lie over a folder only", source.display());
            }
            let folder = inputs.folder.join(format!("volume-{}", numbers.layers));
            numbers.layers += 1;
            Ok(FlagMount {
                destination: volume.destination.clone(),
                mount: overlay(
                    volume.destination.path(),
                    &[LowerLayer::Folder(source.to_path_buf())],
                    &folder,
                    stacking,
                    &[&[VOLATILE], &flags[..]].concat(),
                )?,
            })
        }
    }
}

fn refuse_duplicates(all: &[FlagMount]) -> Result<()> {
    let mut seen = HashSet::with_capacity(all.len());
    for asked in all {
        refuse_proc(asked.destination.path())?;
        if !seen.insert(asked.destination.path()) {
            fail!(Invalid: "duplicate mount point: {}", asked.destination);
        }
    }
    Ok(())
}

/// Refuses mounts over files of /proc: writes to the kernel would go elsewhere, such as security labels or the
/// capabilities of the next program (CVE-2019-16884). The files that lxcfs and similar servers provide are harmless;
/// the list is runc's.
fn refuse_proc(path: &Path) -> Result<()> {
    const HARMLESS: [&str; 10] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    ];
    if !path.starts_with("/proc") || HARMLESS.iter().any(|harmless| path == Path::new(harmless)) {
        return Ok(());
    }
    let error = Error::invalid(format!(
        "{} cannot be mounted on: it would not be the kernel's",
        path.display()
    ));
    Err(error.hint(hint::HOST_PROCESSES))
}

/// Returns the path as UTF-8, which JSON requires.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::invalid(format!("{}: the path is not UTF-8", path.display())))
}
