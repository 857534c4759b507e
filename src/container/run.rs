//! `usnea run`, in the foreground: decides everything, makes the folder, launches, waits, cleans up.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::driver::{self, Choice};
use super::image::{Image, Root as ImageRoot, StoredImage};
use super::{folder, name, network, ranges, scratch, stored, volumes};
use crate::capability::CapabilityChange;
use crate::config;
use crate::engine::{self, Launched, MemoryLayers, Plan, Stdin};
use crate::error::{Context, Error, Result};
use crate::host::{cgroup, filesystem};
use crate::ids::IdMaps;
use crate::net::Wanted;
use crate::security::{self, GuardedPaths, emulation::Emulation};
use crate::spec::{
    CgroupHierarchy, Inputs, Options, Root, RootEmulation, SecurityOption, TimeNamespace, TopLayer,
    VolumeName,
};
use crate::sys::{fd, signal::Signals, title};
use crate::userns::Base;

/// Container to run, as typed.
#[derive(Debug)]
pub struct Request {
    /// Folder of the store; `None`: the default one.
    pub store: Option<PathBuf>,
    /// Image: IMAGE.
    pub image: Image,
    /// Command and its arguments: COMMAND [ARG...].
    pub command: Vec<String>,
    /// Flags.
    pub options: Options,
}

/// Decisions before a launch: nothing is made yet but the image's root.
pub(super) struct Workspace {
    pub(super) id: String,
    pub(super) base: Base,
    pub(super) spec: Spec,
    /// Folder of the container, and the folders in it that its layers need.
    pub(super) folder: PathBuf,
    pub(super) layers: Vec<PathBuf>,
    /// Volumes that the container mounts.
    pub(super) volumes: Vec<VolumeName>,
    /// Volumes among them that are the container's own.
    pub(super) anonymous: Vec<VolumeName>,
    pub(super) driver: Choice,
    pub(super) network: Wanted,
}

/// Identity of the container.
pub(super) struct Identity<'a> {
    /// ID of the container.
    pub(super) id: &'a str,
    /// Folder of the container.
    pub(super) folder: PathBuf,
    /// Fate of the files that the container writes.
    pub(super) top_layer: TopLayer,
    /// ID maps of the container, to the host.
    pub(super) maps: IdMaps,
}

/// Runs the command; returns its exit status. `running` is called once when the command has run for 50 ms.
pub(super) fn run(
    request: &Request,
    wanted: &stored::PullSettings<'_>,
    mut running: impl FnMut(&Workspace, Option<&StoredImage>, &Launched),
) -> Result<u8> {
    keep_descriptors(request.options.preserve_fds, &request.options.preserve_fd)?;
    if request.options.tty
        && request.options.interactive
        && !rustix::termios::isatty(rustix::stdio::stdin())
    {
        return Err(Error::new("-it: standard input is not a terminal")
            .hint("leave -t out to feed the command from a file or a pipe"));
    }
    let store = make_store(request)?;
    let base = Base::of_user()?;
    let block = || Signals::block(&engine::forwarded()).context(|| "cannot block signals");
    let (root, signals) = match request.image {
        // Ctrl-C ends a pull at once: the next command continues with the layers that are here.
        Image::Stored(_) => (request.image.root(&base, &store, wanted)?, block()?),
        _ => {
            let signals = block()?;
            (request.image.root(&base, &store, wanted)?, signals)
        }
    };
    let id = random_id()?;
    let name = request.options.name.as_ref();
    title::name_container(name.map_or_else(|| short(&id), |name| name.as_str()));
    // The range is ours until the end, and is released when this process ends.
    let (maps, _range) = ranges::claimed(request, &base, &root, (&store, &id))?;
    let scratch = scratch::folder(&store)?;
    scratch.as_deref().map_or(Ok(()), scratch::make)?;
    let place = scratch.as_deref().unwrap_or(&store);
    let workspace = decide(request, base, thrown_away(place, &id, maps), &root)?;
    let _volumes = volumes::had(&store, &workspace.volumes, &workspace.anonymous)?;
    let plan = plan(request, &workspace, &store)?;
    network::look_at_ports(&workspace.network)?;
    workspace.driver.remember(&store);

    let _name =
        request.options.name.as_ref().map(|name| name::take(&store, name.as_str())).transpose()?;
    let running = |launched: &Launched| running(&workspace, root.stored.as_ref(), launched);
    if plan.options.layers.is_some() || workspace.layers.is_empty() {
        return Ok(engine::run(&plan, &signals, running)?.status());
    }
    let folder = folder::Folder::make(&workspace.folder, &workspace.layers)?;
    let ended = engine::run(&plan, &signals, running);
    let removed = folder.remove(&workspace.base);
    folder::sweep(place, &workspace.base);
    let status = ended?.status();
    if let Err(error) = removed {
        log::warn!("{error}");
    }
    Ok(status)
}

/// Describes the steps of [`run`] as an administrator would type them. Makes nothing.
pub fn explain(request: &Request) -> Result<String> {
    keep_descriptors(request.options.preserve_fds, &request.options.preserve_fd)?;
    let store = config::store_path(request.store.as_deref())?;
    let base = Base::of_user()?;
    let root = request.image.would_be_root(&base, &store)?;
    let maps = ranges::maps(request, &base, &root, &store)?;
    let place = scratch::folder(&store)?.unwrap_or_else(|| store.clone());
    let workspace = decide(request, base, thrown_away(&place, &random_id()?, maps), &root)?;
    let plan = plan(request, &workspace, &store)?;
    Ok(engine::explain(&plan, &workspace.folder, &workspace.layers))
}

/// Returns the config.json that [`run`] would run. Makes nothing.
pub fn spec(request: &Request) -> Result<Spec> {
    let store = config::store_path(request.store.as_deref())?;
    let base = Base::of_user()?;
    let root = request.image.would_be_root(&base, &store)?;
    let maps = ranges::maps(request, &base, &root, &store)?;
    let place = scratch::folder(&store)?.unwrap_or(store);
    Ok(decide(request, base, thrown_away(&place, &random_id()?, maps), &root)?.spec)
}

pub(super) fn keep_descriptors(count: u32, preserved: &[u32]) -> Result<()> {
    fd::keep_only(count, preserved).map_err(|(number, error)| {
        let flag = match u32::try_from(number).is_ok_and(|number| preserved.contains(&number)) {
            true => "--preserve-fd".to_owned(),
            false => format!("--preserve-fds {count}"),
        };
        let error = Err::<(), _>(error).context(|| format!("{flag}: descriptor {number}"));
        error.unwrap_err().hint(
            "--preserve-fds N hands on the descriptors 3 to N+2, --preserve-fd those that it names: all must be open",
        )
    })
}

pub(super) fn make_store(request: &Request) -> Result<PathBuf> {
    let store = config::open_private(&config::store_path(request.store.as_deref())?)?;
    config::open_private(&store.join("tmp"))?;
    Ok(store)
}

/// Returns the identity of a disposable container. `place`: the store, or the scratch folder ([`scratch`]).
fn thrown_away<'a>(place: &Path, id: &'a str, maps: IdMaps) -> Identity<'a> {
    Identity { id, folder: folder::path(place, short(id)), top_layer: TopLayer::Disposable, maps }
}

pub(super) fn decide(
    request: &Request,
    base: Base,
    identity: Identity<'_>,
    root: &ImageRoot,
) -> Result<Workspace> {
    let mut options = request.options.clone();
    options.userns = ranges::of_image_user(request, &base, root).or(options.userns);
    let mut image = root.defaults.clone();
    let Identity { id, folder, top_layer, maps } = identity;
    let anonymous = match top_layer {
        // Anonymous volumes are removed with the layer, and lie beside it.
        TopLayer::Disposable => Vec::new(),
        TopLayer::Persistent => {
            crate::spec::name_volumes(&mut options, &mut image, volumes::random_name)?
        }
    };
    let options = &options;
    let network = network::wanted(options, &image)?;
    let store = config::store_path(request.store.as_deref())?;
    let driver = match (options.rw_root, options.storage_driver) {
        (true, Some(_)) => {
            return Err(Error::new("--storage-driver: --rw-root has no layers to be stacked"));
        }
        (true, None) => Choice::default(),
        (false, _) => driver::choose(options, &base, (&maps, root), &store)?,
    };
    if options.rw_root && root.folders.len() > 1 {
        return Err(Error::new("--rw-root: an image has layers, which other containers share")
            .hint("'usnea export IMAGE | tar -x' makes a root directory of it"));
    }
    let top = root.folders.first().ok_or_else(|| Error::new("an image without a folder"))?;
    let mut spec = crate::spec::build(&Inputs {
        options,
        top_layer,
        id: short(id),
        root: if options.rw_root { Root::Itself(top) } else { Root::Layered(&root.folders) },
        folder: &folder,
        volumes: &volumes::folder(&store),
        stacking: driver.stacking,
        maps: &maps,
        image,
        command: &request.command,
        time_namespace: match Path::new("/proc/self/ns/time").symlink_metadata() {
            Ok(_) => TimeNamespace::Available,
            Err(_) => TimeNamespace::Missing,
        },
        cgroups: match cgroup::version() {
            cgroup::Version::V2 => CgroupHierarchy::Unified,
            _ => CgroupHierarchy::Other,
        },
    })?;
    let mut added = options.cap_add.clone();
    added.extend(options.privileged.then_some(CapabilityChange::All));
    security::confine(&mut spec, &added, &options.cap_drop, guarded_paths(options))?;
    if let Some(emulation) = emulation(options.root_emulation, &maps) {
        security::emulation::emulate(&mut spec, emulation)?;
    }
    let mut layers = crate::spec::layer_folders(&spec);
    layers.extend(crate::spec::anonymous_folders(&spec, &folder));
    let volumes = crate::spec::volume_names(options);
    let id = id.to_owned();
    Ok(Workspace { id, base, spec, folder, layers, volumes, anonymous, driver, network })
}

/// Returns the guarded parts of /proc and /sys: docker's, changed by `--security-opt` and `--privileged`.
fn guarded_paths(options: &Options) -> GuardedPaths {
    let mut paths = match options.privileged {
        true => GuardedPaths::none(),
        false => GuardedPaths::default(),
    };
    for option in &options.security_opt {
        match option {
            SecurityOption::UnmaskAll => paths = GuardedPaths::none(),
            SecurityOption::Unmask(all) => all.iter().for_each(|path| paths.unmask(path)),
            SecurityOption::Mask(all) => all.iter().for_each(|path| paths.mask(path)),
            _ => {}
        }
    }
    paths
}

fn emulation(asked: RootEmulation, maps: &IdMaps) -> Option<Emulation> {
    match asked {
        RootEmulation::Auto => RootEmulation::is_needed(maps).then_some(Emulation::Ids),
        RootEmulation::Seccomp => Some(Emulation::Ids),
        RootEmulation::Owners => Some(Emulation::Owners),
        RootEmulation::Off => None,
    }
}

fn plan(request: &Request, workspace: &Workspace, store: &Path) -> Result<Plan> {
    // A disposable layer is not worth a disk: in memory, even a kill leaves nothing behind. A home on NFS, which cannot
    // be an upper layer, does not matter then.
    let in_memory = !workspace.layers.is_empty()
        && workspace.folder.starts_with(store)
        && filesystem::memory_keeps_attributes();
    let layers = in_memory.then(|| MemoryLayers {
        on: workspace.folder.parent().unwrap_or(&workspace.folder).to_owned(),
        folders: workspace.layers.clone(),
    });
    let options = engine::LaunchOptions {
        layers,
        stdin: if request.options.interactive { Stdin::Ours } else { Stdin::Null },
        preserve_fds: request.options.preserve_fds,
        preserve_fd: request.options.preserve_fd.clone(),
        network: network::connected(&workspace.network, &workspace.spec, store)?,
    };
    engine::plan(&workspace.spec, workspace.base.clone(), options)
}

/// Returns a random ID: 64 hexadecimal digits.
pub(super) fn random_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::from)
        .context(|| "cannot get random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the first 12 digits of an ID, as docker shows it.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
