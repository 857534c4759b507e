//! `usnea run` in the foreground: assembles a workspace, makes its folder, launches, waits, cleans up.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::client::check_terminal;
use super::create::notify_request;
use super::descriptors::{PreservedDescriptors, passed_sockets};
use super::find_or_pull::{ContainerLife, PullSettings};
use super::image_root::ImageRoot;
use super::network;
use super::overlays::{OverlayUse, Overlays};
use super::request::ContainerRequest;
use super::root_source::RootSource;
use super::secrets::RequestedSecret;
use super::shared_namespaces::OtherContainers;
use super::usnea::Usnea;
use super::workspace::{Identity, Workspace};
use super::{disposable_name, folder, ports, ranges, remove, scratch, volumes};
use crate::engine::{
    self, BundleIdentity, CallerStreams, Launched, MemoryLayers, NetworkRequests, Plan, Stdin,
};
use crate::error::{Context, Error, Result, Setting};
use crate::host::filesystem;
use crate::ids::{ContainerIds, HostIds, IdMaps};
use crate::object_id::ContainerId;
use crate::readiness::NotifyMode;
use crate::security::seccomp;
use crate::spec::{ContainerName, TopLayer};
use crate::sys::{signal::Signals, title};

/// Runs the command; returns its exit status. Calls `running` once, when the command has run for 50 ms; it returns the
/// source of requests about the command's networks.
pub(super) fn run(
    usnea: &Usnea,
    request: &ContainerRequest,
    pull: &PullSettings<'_>,
    notify: NotifyMode,
    streams: CallerStreams<'_>,
    running: impl FnOnce(&Workspace, &Launched) -> Option<Box<dyn NetworkRequests>>,
) -> Result<u8> {
    let sockets = passed_sockets(usnea.sockets(), preserved(request))?;
    check_terminal(&request.options, streams)?;
    let store = usnea.make_store()?;
    let base = usnea.base()?;
    // Before an image is pulled.
    let overlays = Overlays::open(&request.options.overlay, OverlayUse::Started)?;
    let (root, signals) = root_and_signals(usnea, request, pull)?;
    let root = root.below(overlays);
    let id = ContainerId::random()?;
    let name = request.options.name.as_ref();
    title::name_container(name.map_or_else(|| id.short(), |name| name.as_str()));
    // The ID range is claimed until this process ends.
    let (maps, _range) = ranges::claimed(usnea, request, &root, &id)?;
    let scratch = scratch::folder(store)?;
    scratch.as_deref().map_or(Ok(()), scratch::make)?;
    let place = scratch.as_deref().unwrap_or(store);
    let workspace = Workspace::assemble(usnea, request, disposable(place, &id, maps), root)?;
    let _volumes = volumes::acquire(usnea, &workspace.volumes, &workspace.anonymous)?;
    let mut plan = plan(request, &workspace, store, notify)?;
    plan.options.sockets = sockets;
    ports::check_ports_free(store, &workspace.network)?;
    network::warn_if_offline(&plan.options.network, store);
    workspace.remember_driver(store);

    let _name = name.map(|name| disposable_name::reserve(store, name.as_str())).transpose()?;
    let running = |launched: &Launched| running(&workspace, launched);
    if plan.options.layers.is_some() || workspace.layers.is_empty() {
        let ended = engine::run(&plan, streams, &signals, running);
        remove::sweep(usnea);
        return Ok(ended?.status());
    }
    let folder = folder::Folder::make(&workspace.folder, &workspace.layers)?;
    let ended = engine::run(&plan, streams, &signals, running);
    let removed = folder.remove(base);
    folder::sweep(place, base);
    // After the command: it costs no start.
    remove::sweep(usnea);
    let status = ended?.status();
    if let Err(error) = removed {
        log::warn!("{error}");
    }
    Ok(status)
}

/// Returns the root of the container, and the signals of its command, blocked. Errors: no image; the pull failed.
pub(super) fn root_and_signals(
    usnea: &Usnea,
    request: &ContainerRequest,
    pull: &PullSettings<'_>,
) -> Result<(ImageRoot, Signals)> {
    let block = || Signals::block(&engine::forwarded()).context(|| "cannot block signals");
    let root = || request.source.root(usnea, pull, ContainerLife::Disposable);
    Ok(match request.source {
        // Signals are blocked after a pull, so that Ctrl-C ends it at once. The next pull continues with the layers
        // that are complete.
        RootSource::Image(_) => (root()?, block()?),
        _ => {
            let signals = block()?;
            (root()?, signals)
        }
    })
}

/// Returns the steps of [`run`] as commands of a shell. Changes nothing.
pub fn explain(usnea: &Usnea, request: &ContainerRequest) -> Result<String> {
    passed_sockets(usnea.sockets(), preserved(request))?;
    let mut workspace = would_be(usnea, request)?;
    workspace.secrets.iter_mut().for_each(RequestedSecret::hide);
    let plan = plan(request, &workspace, usnea.store()?, NotifyMode::Ignore)?;
    Ok(engine::explain(&plan, &workspace.folder, &workspace.layers))
}

/// Returns the config.json that [`run`] would run, for any runtime: with the rules of the default filter. Changes nothing.
pub fn spec(usnea: &Usnea, request: &ContainerRequest) -> Result<Spec> {
    if !request.options.secret.is_empty() {
        return Err(Error::invalid(
            "config.json has no secrets: whoever reads the file would see them",
        ))
        .context(|| Setting::Secret);
    }
    let mut spec = would_be(usnea, request)?.spec;
    seccomp::resolve_annotation(&mut spec)?;
    Ok(spec)
}

/// Assembles the workspace that [`run`] would assemble. Changes nothing.
fn would_be(usnea: &Usnea, request: &ContainerRequest) -> Result<Workspace> {
    let store = usnea.store()?;
    let overlays = Overlays::open(&request.options.overlay, OverlayUse::Described)?;
    let root: ImageRoot = request.source.would_be_root(usnea)?.below(overlays);
    let maps = ranges::maps(request, usnea.base()?, &root, store)?;
    let place = scratch::folder(store)?.unwrap_or_else(|| store.to_owned());
    Workspace::assemble(usnea, request, disposable(&place, &ContainerId::random()?, maps), root)
}

pub(super) fn preserved(request: &ContainerRequest) -> PreservedDescriptors<'_> {
    let options = &request.options;
    PreservedDescriptors { count: options.preserve_fds, named: &options.preserve_fd }
}

/// Returns the identity of a disposable container. `place`: the store, or the scratch folder ([`scratch`]).
pub(super) fn disposable<'a>(
    place: &Path,
    id: &'a ContainerId,
    maps: IdMaps<ContainerIds, HostIds>,
) -> Identity<'a> {
    Identity { id, folder: folder::path(place, id.short()), top_layer: TopLayer::Disposable, maps }
}

fn plan(
    request: &ContainerRequest,
    workspace: &Workspace,
    store: &Path,
    notify: NotifyMode,
) -> Result<Plan> {
    let options = launch_options(request, workspace, store, notify)?;
    workspace.plan(store, options, OtherContainers::MustRun)
}

/// Returns the options of the launch of a disposable container.
pub(super) fn launch_options(
    request: &ContainerRequest,
    workspace: &Workspace,
    store: &Path,
    notify: NotifyMode,
) -> Result<engine::LaunchOptions> {
    // A disposable layer is kept in memory: then even a kill leaves no files behind. It also serves a home directory on
    // NFS, which cannot hold an upper layer.
    let in_memory = !workspace.layers.is_empty()
        && workspace.folder.starts_with(store)
        && filesystem::memory_keeps_attributes();
    let layers = in_memory.then(|| MemoryLayers {
        on: workspace.folder.parent().unwrap_or(&workspace.folder).to_owned(),
        folders: workspace.layers.clone(),
    });
    let name = request.options.name.as_ref().map(ContainerName::as_str);
    Ok(engine::LaunchOptions {
        layers,
        stdin: if request.options.interactive { Stdin::Ours } else { Stdin::Null },
        preserve_fds: request.options.preserve_fds,
        preserve_fd: request.options.preserve_fd.clone(),
        notify: notify_request(store, &workspace.id, notify)?,
        network: workspace.connected(store, name)?,
        container: BundleIdentity::of_container(&workspace.id, workspace.folder.clone()),
        ..engine::LaunchOptions::default()
    })
}
