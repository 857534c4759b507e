//! Workspace: a container that is being assembled. `run` removes it when the command ends. `create` moves it into the
//! store with a record: then it is a container.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::driver::{self, DriverChoice};
use super::image_root::ImageRoot;
use super::network::{self, ContainerIdentity, HeldNetworks};
use super::request::ContainerRequest;
use super::secrets::{self, RequestedSecret};
use super::shared_namespaces::{self, OtherContainers};
use super::usnea::Usnea;
use super::{ranges, volumes};
use crate::capability::CapabilityChange;
use crate::engine::{self, Plan};
use crate::error::{Context, Error, Result, Setting};
use crate::hint;
use crate::host::cgroup;
use crate::ids::{ContainerIds, HostIds, IdMaps};
use crate::image::in_place;
use crate::image::policy::SignaturePolicy;
use crate::layer::LowerLayer;
use crate::net::{Network, NetworkRequest};
use crate::object_id::ContainerId;
use crate::phrase;
use crate::seccomp_source::SeccompSource;
use crate::security::landlock::LandlockRules;
use crate::security::{self, GuardedPaths, emulation::Emulation};
use crate::spec::{
    self, CgroupHierarchy, CgroupMode, ContainerOptions, ImageDefaults, NamespaceSharing,
    RootEmulation, SecurityOption, SpecInputs, SpecRoot, TimeNamespace, TopLayer, VolumeName,
};
use crate::userns::Base;

/// Identity of a workspace.
pub(super) struct Identity<'a> {
    /// ID of the container.
    pub(super) id: &'a ContainerId,
    /// Folder of its layers.
    pub(super) folder: PathBuf,
    /// Lifetime of the files that the container writes.
    pub(super) top_layer: TopLayer,
    /// ID maps of the container.
    pub(super) maps: IdMaps<ContainerIds, HostIds>,
}

/// Root, layers, ID maps, spec and network of a container that does not exist yet. Of these only the image's root
/// exists on disk.
pub(super) struct Workspace {
    /// ID of the container.
    pub(super) id: ContainerId,
    /// Root of the image, locked against removal.
    pub(super) root: ImageRoot,
    /// OCI runtime spec.
    pub(super) spec: Spec,
    /// Folder of the container.
    pub(super) folder: PathBuf,
    /// Folders in `folder` that the layers need.
    pub(super) layers: Vec<PathBuf>,
    /// Named volumes that the container mounts.
    pub(super) volumes: Vec<VolumeName>,
    /// Anonymous volumes among `volumes`.
    pub(super) anonymous: Vec<VolumeName>,
    /// Secrets, with their contents.
    pub(super) secrets: Vec<RequestedSecret>,
    /// Request for the network.
    pub(super) network: NetworkRequest,
    /// Definitions of its networks, locked against removal.
    networks: HeldNetworks,
    driver: DriverChoice,
    base: Base,
}

impl Workspace {
    /// Returns the network actions for a launch as the container `name`. Errors: no helper; invalid options.
    pub(super) fn connected(&self, store: &Path, name: Option<&str>) -> Result<Network> {
        let identity = ContainerIdentity { id: &self.id, name };
        let definitions = self.networks.definitions.clone();
        network::connected(&self.network, definitions, &self.spec, store, identity)
    }

    /// Makes all decisions between a request and a launch. Errors: settings that contradict each other, or that this
    /// machine cannot apply.
    pub(super) fn assemble(
        usnea: &Usnea,
        request: &ContainerRequest,
        identity: Identity<'_>,
        root: ImageRoot,
    ) -> Result<Self> {
        let base = usnea.base()?;
        let mut options = request.options.clone();
        shared_namespaces::settle(usnea.store()?, &mut options)?;
        options.userns = ranges::of_image_user(request, base, &root).or(options.userns);
        let mut image = root.defaults.clone();
        let anonymous = match identity.top_layer {
            // Anonymous volumes are folders beside the disposable layer, and are removed with it.
            TopLayer::Disposable => Vec::new(),
            TopLayer::Persistent => {
                spec::name_volumes(&mut options, &mut image, volumes::random_name)?
            }
        };
        network::set_default(&mut options, usnea)?;
        let mut network = network::wanted(&options, &image)?;
        let networks = network::hold_networks(usnea.store()?, &mut network)?;
        let store = usnea.store()?;
        let driver = stacking(&options, base, &identity.maps, &root, store)?;
        let seccomp = seccomp_source(&options, usnea)?;
        network.hosts_base =
            network::hosts_base(&options, &root.searched(), driver.stacking.whiteouts)?;
        let inputs =
            SpecParts { options: &options, image, command: &request.command, store, seccomp };
        let spec = build_spec(inputs, &identity, &root, &driver)?;
        approve_files(&root, &spec)?;
        let secrets = secrets::requested(store, &options.secret)?;
        secrets::check_mounts(&spec, &secrets)?;
        let mut layers = spec::layer_folders(&spec);
        layers.extend(spec::anonymous_folders(&spec, &identity.folder));
        layers.extend(spec::sources_to_make(&options));
        Ok(Self {
            id: identity.id.to_owned(),
            root,
            spec,
            folder: identity.folder,
            layers,
            volumes: spec::volume_names(&options),
            anonymous,
            secrets,
            network,
            networks,
            driver,
            base: base.clone(),
        })
    }

    /// Plans the launch. Errors: a spec that cannot be launched.
    pub(super) fn plan(
        &self,
        store: &Path,
        mut options: engine::LaunchOptions,
        others: OtherContainers,
    ) -> Result<Plan> {
        options.secrets = secrets::launched(&self.secrets);
        let mut plan =
            shared_namespaces::plan(store, &self.spec, self.base.clone(), options, others)?;
        plan.hold_images(&self.root.layers);
        Ok(plan)
    }

    /// Records in the store that the kernel's overlayfs is usable, if a trial has just shown that.
    pub(super) fn remember_driver(&self, store: &Path) {
        self.driver.remember(store);
    }
}

/// Applies the signature policy to the files that are mounted in place beside the image: overlays and volumes. Errors: the
/// policy rejects a file, or requires a signature that it lacks.
fn approve_files(root: &ImageRoot, spec: &Spec) -> Result<()> {
    let overlays = root.overlays.lowers.iter().filter_map(LowerLayer::image);
    let overlays = overlays.map(|file| (&*file.path, file.offset));
    let volumes = spec.mounts().iter().flatten().filter_map(spec::image_in_place);
    let files: Vec<_> = overlays.chain(volumes).collect();
    if files.is_empty() {
        return Ok(());
    }
    let policy = SignaturePolicy::load()?;
    files.into_iter().try_for_each(|(path, offset)| in_place::approve(&policy, path, offset))
}

/// Chooses the storage driver. Errors: options that need layers, for a root without any.
fn stacking(
    options: &ContainerOptions,
    base: &Base,
    maps: &IdMaps<ContainerIds, HostIds>,
    root: &ImageRoot,
    store: &Path,
) -> Result<DriverChoice> {
    if options.rw_root && !root.overlays.flags.is_empty() {
        return Err(Error::invalid(phrase!(
            Setting::RwRoot,
            " and ",
            Setting::Overlay,
            " exclude each other",
        )));
    }
    match (options.rw_root, options.storage_driver) {
        (true, Some(_)) => Err(Error::invalid(phrase!(
            Setting::StorageDriver,
            ": ",
            Setting::RwRoot,
            " has no layers to be stacked",
        ))),
        (true, None) if root.image_file().is_some() => {
            Err(Error::invalid("a single-file image is only read")
                .within(Setting::RwRoot)
                .hint(hint::EXPORT_ROOT))
        }
        (true, None) if root.layers.len() > 1 => {
            Err(Error::invalid("an image has layers, which other containers share")
                .within(Setting::RwRoot)
                .hint(hint::EXPORT_ROOT))
        }
        (true, None) => Ok(DriverChoice::default()),
        (false, _) => driver::choose(options, base, maps, root, store),
    }
}

/// Parts of a spec that do not depend on the workspace's identity.
struct SpecParts<'a> {
    options: &'a ContainerOptions,
    image: ImageDefaults,
    command: &'a [String],
    store: &'a Path,
    seccomp: SeccompSource,
}

fn build_spec(
    parts: SpecParts<'_>,
    identity: &Identity<'_>,
    root: &ImageRoot,
    driver: &DriverChoice,
) -> Result<Spec> {
    let SpecParts { options, image, command, store, seccomp } = parts;
    let Identity { id, folder, top_layer, maps } = identity;
    let top = root.layers.first().ok_or_else(|| Error::new("an image without a layer"))?;
    let mut spec = spec::build(&SpecInputs {
        options,
        top_layer: *top_layer,
        id: id.short(),
        uuid: id.get(..32).unwrap_or(id),
        root: if options.rw_root {
            SpecRoot::Itself(top.path())
        } else {
            SpecRoot::Layered(&root.layers)
        },
        folder,
        overlay: root.overlays.written.as_deref(),
        volumes: &volumes::folder(store),
        stacking: driver.stacking,
        maps,
        image,
        command,
        joined_hostname: shared_namespaces::joined_hostname(store, options)?,
        time_namespace: match Path::new("/proc/self/ns/time").symlink_metadata() {
            Ok(_) => TimeNamespace::Available,
            Err(_) => TimeNamespace::Missing,
        },
        cgroups: match cgroup::version() {
            cgroup::CgroupVersion::V2 => CgroupHierarchy::Unified,
            _ => CgroupHierarchy::Other,
        },
    })?;
    warn_of_systemd(&spec, options);
    super::cdi_devices::add(options, &mut spec)?;
    let mut added = options.cap_add.clone();
    added.extend(options.privileged.then_some(CapabilityChange::All));
    security::confine(&mut spec, &added, &options.cap_drop, guarded_paths(options))?;
    if let Some(rules) = landlock(options)? {
        rules.request(&mut spec)?;
    }
    if let Some(emulation) = emulation(options.root_emulation, maps) {
        security::emulation::emulate(&mut spec, emulation);
    }
    security::seccomp::set_filter(&mut spec, &seccomp)?;
    Ok(spec)
}

/// Warns if systemd is to boot without a cgroup of its own, where it makes those of its services.
fn warn_of_systemd(spec: &Spec, options: &ContainerOptions) {
    let is_on = spec.annotations().as_ref().is_some_and(|all| all.contains_key(spec::SYSTEMD));
    let missing = match cgroup::version() {
        _ if !is_on => return,
        _ if options.cgroups == CgroupMode::Disabled => "the container has no cgroup",
        _ if options.cgroup_sharing() == NamespaceSharing::Host => {
            "the container sees the host's cgroups"
        }
        cgroup::CgroupVersion::V2 if options.cgroup_parent.is_some() => return,
        cgroup::CgroupVersion::V2 => match cgroup::manager().1 {
            Some(_) => return,
            None => "no cgroup is delegated to you here",
        },
        _ => "this machine has no cgroups of version 2 alone",
    };
    log::warn!("{}: systemd may fail to boot: {missing} ({})", Setting::Systemd, hint::SEE_CGROUPS);
}

/// Returns the origin of the filter: the last flag's, or that of the settings; docker has none with `--privileged`.
fn seccomp_source(options: &ContainerOptions, usnea: &Usnea) -> Result<SeccompSource> {
    let asked = options.security_opt.iter().rev().find_map(|option| match option {
        SecurityOption::Seccomp(source) => Some(source.clone()),
        _ => None,
    });
    match (asked, options.privileged) {
        (Some(source), _) => Ok(source),
        (None, true) => Ok(SeccompSource::Unconfined),
        (None, false) => Ok(usnea.settings()?.seccomp.clone()),
    }
}

/// Returns the masked and read-only paths of /proc and /sys: docker's, changed by `--security-opt` and `--privileged`.
fn guarded_paths(options: &ContainerOptions) -> GuardedPaths {
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

/// Returns the rules of the last `--security-opt landlock`. Errors: a file without valid rules.
fn landlock(options: &ContainerOptions) -> Result<Option<LandlockRules>> {
    let asked = options.security_opt.iter().rev().find_map(|option| match option {
        SecurityOption::Landlock => Some(Ok(LandlockRules::of_root())),
        SecurityOption::LandlockFile(file) => Some(LandlockRules::read(file)),
        _ => None,
    });
    asked.transpose().context(|| Setting::SecurityOpt.with("landlock"))
}

fn emulation(asked: RootEmulation, maps: &IdMaps<ContainerIds, HostIds>) -> Option<Emulation> {
    match asked {
        RootEmulation::Auto => RootEmulation::is_needed(maps).then_some(Emulation::Ids),
        RootEmulation::Seccomp => Some(Emulation::Ids),
        RootEmulation::Owners => Some(Emulation::Owners),
        RootEmulation::Off => None,
    }
}
