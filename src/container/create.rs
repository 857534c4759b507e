//! `usnea create`, and the first part of `usnea run`: makes all decisions and fills a folder in `tmp/`. A rename moves
//! that folder to its place: a container exists completely or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use oci_spec::runtime::Spec;

use super::descriptors::check_sockets;
use super::find_or_pull::{ContainerLife, PullSettings};
use super::folder::{self, Folder};
use super::names::Names;
use super::network;
use super::overlays::{OverlayUse, Overlays};
use super::pods;
use super::ports;
use super::ranges;
use super::remove::{RemoveOptions, is_left_over, remove};
use super::request::ContainerRequest;
use super::secrets;
use super::shared_namespaces::OtherContainers;
use super::usnea::Usnea;
use super::volumes;
use super::workspace::{Identity, Workspace};
use super::{Container, find_id_in, find_in};
use crate::engine::{self, BundleIdentity, Plan, Stdin};
use crate::error::{Context, Error, Result, Setting};
use crate::files;
use crate::hint;
use crate::image::store::Store;
use crate::monitor::events;
use crate::monitor::journal;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::protocol;
use crate::monitor::record::{
    self, CONFIG, CONTAINER, HealthLog, Healthcheck, Input, LogSettings, OnFailure, Record,
    StartupCheck, Stream,
};
use crate::object_id::ContainerId;
use crate::phrase;
use crate::readiness::{self, NotifyMode, NotifyRequest};
use crate::spec::{self, TopLayer};
use crate::sys::signal;

/// Settings of a container that are not in its spec: restart policy, health check, log, labels.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Image, as typed.
    pub image: String,
    /// Restart policy: `--restart`.
    pub restart: RestartPolicy,
    /// True if no policy was requested: then the pod's policy applies.
    pub has_default_restart: bool,
    /// ID of the container's pod: `--pod`.
    pub pod: Option<String>,
    /// Signal that stops the container: `--stop-signal`.
    pub stop_signal: Option<i32>,
    /// Seconds until a stopping container is killed: `--stop-timeout`.
    pub stop_timeout: Option<u64>,
    /// Health check: `--health-*`.
    pub health: Option<Healthcheck>,
    /// Action on an unhealthy container: `--health-on-failure`.
    pub health_on_failure: Option<OnFailure>,
    /// Check that runs first, in place of the regular one.
    pub startup: Option<StartupCheck>,
    /// Bounds of the recorded check results.
    pub health_log: HealthLog,
    /// Labels: `--label`, `--label-file`.
    pub labels: BTreeMap<String, String>,
    /// File for the container's ID: `--cidfile`.
    pub cidfile: Option<PathBuf>,
    /// File for the ID of the container's process: `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// File for the ID of the monitor's process: `--conmon-pidfile`.
    pub monitor_pidfile: Option<PathBuf>,
    /// Seconds until a running container is killed: `--timeout`; 0: no limit.
    pub timeout: u64,
    /// Containers to start before this container, by name or ID: `--requires`.
    pub requires: Vec<String>,
    /// Streams that a later `start --attach` shows: `--attach`.
    pub attach: Vec<Stream>,
    /// True if the image is removed at the container's end: `--rmi`.
    pub remove_image: bool,
    /// Log driver and its options: `--log-driver`, `--log-opt`.
    pub log: LogSettings,
    /// Sender of READY to the service manager: `--sdnotify`.
    pub notify: NotifyMode,
    /// Keys that detach: `--detach-keys`.
    pub detach_keys: Option<String>,
    /// True if a container of the same name is replaced: `--replace`.
    pub replace: bool,
    /// Standard input of the container.
    pub input: Input,
    /// Command line of `create` or `run`, for the inspect document.
    pub create_command: Vec<String>,
}

/// Default time in seconds until a stopping container is killed (docker's).
const STOP_TIMEOUT: u64 = 10;

/// New container.
pub struct CreatedContainer {
    /// Container itself.
    pub container: Container,
    /// Lock on the container's folder.
    pub(super) lock: File,
    /// Plan of the first launch.
    pub(super) plan: Plan,
    /// Descriptors with locks: on the image, against its removal, and on the overlays.
    pub(super) held: Vec<OwnedFd>,
}

/// Step after the creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCreate {
    /// Start at once.
    Start,
    /// Start later, or never.
    Leave,
}

impl AfterCreate {
    fn use_of_overlays(self) -> OverlayUse {
        match self {
            Self::Start => OverlayUse::Started,
            Self::Leave => OverlayUse::Created,
        }
    }
}

/// Creates the container.
pub fn create(
    usnea: &Usnea,
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    pull: &PullSettings<'_>,
    next: AfterCreate,
) -> Result<CreatedContainer> {
    check_sockets(None)?;
    let store = usnea.make_store()?;
    crate::config::open_private(&store.join("containers"))?;
    refuse_used_cidfile(lifecycle)?;
    // Before an image is pulled.
    journal::check_socket(lifecycle.log.driver)?;
    let required = |text: &String| find_id_in(store, text).context(|| Setting::Requires.with(text));
    let requires = lifecycle.requires.iter().map(required).collect::<Result<Vec<_>>>()?;
    let pod = lifecycle.pod.as_deref().map(|pod| pods::hold(store, pod)).transpose()?;
    let overlays = Overlays::open(&request.options.overlay, next.use_of_overlays())?;
    let root = request.source.root(usnea, pull, ContainerLife::Kept)?.below(overlays);
    let id = ContainerId::random()?;
    let place = store.join("containers").join(&id);
    // The claim on the ID range is held until the container is in its place: from then on the container's existence
    // keeps the range.
    let (maps, _range) = ranges::claimed(usnea, request, &root, &id)?;
    let identity =
        Identity { id: &id, folder: place.clone(), top_layer: TopLayer::Persistent, maps };
    let workspace = Workspace::assemble(usnea, request, identity, root)?;
    // A spec that cannot be launched is refused now.
    let mut options = launch_options(store, &id, lifecycle.input, lifecycle.notify)?;
    if next == AfterCreate::Start {
        // The name is known when the container is in its place.
        options.network = workspace.connected(store, None)?;
    }
    let others = match next {
        // Required containers are started after this one is made.
        AfterCreate::Start if requires.is_empty() && pod.is_none() => OtherContainers::MustRun,
        AfterCreate::Start | AfterCreate::Leave => OtherContainers::MayRun,
    };
    let mut plan = workspace.plan(store, options, others)?;
    workspace.remember_driver(store);
    replaced(usnea, request, lifecycle)?;
    if next == AfterCreate::Start {
        // A replaced container may have used the ports.
        ports::check_ports_free(store, &workspace.network)?;
        network::warn_if_offline(&plan.options.network, store);
    }
    let record = Record { requires, ..record(request, lifecycle, &workspace)? };
    journal::check(&record)?;
    // The volumes are locked until the container can be found: from then on its record protects them.
    let held = volumes::acquire(usnea, &workspace.volumes, &workspace.anonymous)?;
    let container = Container { store: store.to_owned(), folder: place, record };
    let put = put(usnea, container, &workspace, request);
    drop((held, pod));
    let (container, lock) =
        put.inspect_err(|_| volumes::remove_anonymous(usnea, &workspace.anonymous))?;
    plan.options.network.identity.name = Some(container.record.name.clone());
    if let Some(path) = &lifecycle.cidfile {
        write_cidfile(path, &container.record.id).inspect_err(|_| discard(usnea, &container))?;
    }
    Ok(CreatedContainer { container, lock, plan, held: workspace.root.hold()? })
}

fn refuse_used_cidfile(lifecycle: &Lifecycle) -> Result<()> {
    let used = lifecycle.cidfile.as_ref().filter(|path| path.exists());
    let Some(path) = used else { return Ok(()) };
    Err(Error::conflict(format!("{} is there already", path.display()))
        .hint("remove the file if that container is no longer in use"))
    .context(|| Setting::Cidfile)
}

/// Returns the engine's options for a stored container, except its network.
pub(super) fn launch_options(
    store: &Path,
    id: &ContainerId,
    input: Input,
    notify: NotifyMode,
) -> Result<engine::LaunchOptions> {
    let stdin = if input == Input::Closed { Stdin::Null } else { Stdin::Ours };
    let notify = notify_request(store, id, notify)?;
    let folder = store.join("containers").join(id);
    let container = BundleIdentity::of_container(id, folder);
    Ok(engine::LaunchOptions { stdin, notify, container, ..engine::LaunchOptions::default() })
}

/// Returns the request to notify the service manager that this process was started by, if any.
pub(super) fn notify_request(
    store: &Path,
    id: &ContainerId,
    mode: NotifyMode,
) -> Result<Option<NotifyRequest>> {
    let folder = || Ok(protocol::folder(store)?.join(readiness::folder_name(id.short())));
    NotifyRequest::of(mode, folder)
}

/// Makes and fills the container's folder, and moves it to its place.
fn put(
    usnea: &Usnea,
    mut container: Container,
    workspace: &Workspace,
    request: &ContainerRequest,
) -> Result<(Container, File)> {
    let born = Folder::make(&folder::path(&container.store, &container.record.id), &[])?;
    let filled = fill(&container.store, &born, workspace).and_then(|()| {
        name_and_place(&container.store, &born, &container.folder, request, &mut container.record)
    });
    if let Err(error) = filled {
        if let Err(error) = usnea.base().and_then(|base| born.remove(base)) {
            log::debug!("{error}");
        }
        return Err(error);
    }
    Ok((container, born.into_lock()))
}

fn fill(store: &Path, born: &Folder, workspace: &Workspace) -> Result<()> {
    let layers = workspace.layers.iter().filter_map(|layer| layer.file_name());
    folder::fill(&layers.map(|name| born.path().join(name)).collect::<Vec<_>>())?;
    let config = serde_json::to_vec(&workspace.spec).map_err(Error::new)?;
    files::replace_quickly(&born.path().join(CONFIG), &config)?;
    secrets::keep(born.path(), &workspace.secrets)?;
    match &workspace.root.stored {
        Some(image) => {
            let link = born.path().join(crate::image::store::USED);
            let target = Store::open_read_only(store).link_to_manifest(&image.manifest);
            std::os::unix::fs::symlink(target, link)
                .map_err(|error| files::cannot_write(error, born.path()))
        }
        None => Ok(()),
    }
}

/// Names the container, writes its record, and moves its folder to its place.
fn name_and_place(
    store: &Path,
    born: &Folder,
    place: &Path,
    request: &ContainerRequest,
    record: &mut Record,
) -> Result<()> {
    let names = Names::lock(store)?;
    match request.options.name.as_ref() {
        Some(name) => names.assign(name.as_str(), &record.id)?,
        None => record.name = names.assign_random(&record.id)?,
    }
    record::write(born.path(), CONTAINER, record)
        .and_then(|()| born.keep(place))
        .inspect_err(|_| names.release(&record.name, &record.id))
        .inspect(|()| events::of_container(store, record, "create", &[]))
}

fn write_cidfile(path: &Path, id: &ContainerId) -> Result<()> {
    std::fs::write(path, &**id)
        .context(|| phrase!(Setting::Cidfile, format!(": cannot write {}", path.display())))
}

fn discard(usnea: &Usnea, container: &Container) {
    let removal = RemoveOptions { force: true, volumes: true, ..RemoveOptions::default() };
    if let Err(error) = remove(usnea, &container.record.id, removal) {
        log::debug!("{error}");
    }
}

/// Removes an existing container with the requested name: with `--replace`, or a leftover of `--rm`.
fn replaced(usnea: &Usnea, request: &ContainerRequest, lifecycle: &Lifecycle) -> Result<()> {
    let store = usnea.store()?;
    let Some(name) = request.options.name.as_ref() else { return Ok(()) };
    if super::names::find(store, name.as_str()).is_none() {
        return Ok(());
    }
    let Ok(other) = find_in(store, name.as_str()) else { return Ok(()) };
    if lifecycle.replace || is_left_over(&other) {
        let removal = RemoveOptions { force: lifecycle.replace, ..RemoveOptions::default() };
        return remove(usnea, &other.record.id, removal);
    }
    Ok(())
}

/// Builds the record of a new container. Errors: health options without a command; a relative path that cannot be made
/// absolute.
pub(super) fn record(
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    workspace: &Workspace,
) -> Result<Record> {
    let image = workspace.root.stored.as_ref();
    let entrypoint = match &request.options.entrypoint {
        Some(asked) => asked.words().len(),
        None => workspace.root.defaults.entrypoint.len(),
    };
    let spec = &workspace.spec;
    let process = spec.process().as_ref();
    let mut labels = workspace.root.labels.clone();
    labels.extend(lifecycle.labels.clone());
    Ok(Record {
        id: workspace.id.clone(),
        name: request.options.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        image: image_name(lifecycle, workspace),
        image_id: image.map(|image| image.id.clone()),
        command: process.and_then(|process| process.args().clone()).unwrap_or_default(),
        entrypoint,
        user: request.options.user.as_ref().map(ToString::to_string),
        own_user: Some(spec::own_user(&request.options, &workspace.root.defaults)?),
        group_add: request.options.group_add.iter().map(ToString::to_string).collect(),
        privileged: request.options.privileged,
        cap_add: request.options.cap_add.iter().map(ToString::to_string).collect(),
        cap_drop: request.options.cap_drop.iter().map(ToString::to_string).collect(),
        labels,
        created: Timestamp::now(),
        terminal: request.options.tty,
        input: lifecycle.input,
        attach: lifecycle.attach.clone(),
        timeout: lifecycle.timeout,
        requires: Vec::new(),
        pod: lifecycle.pod.clone(),
        overlays: workspace.root.overlays.flags.clone(),
        volumes_from: request.options.volumes_from.iter().map(ToString::to_string).collect(),
        remove_image: lifecycle.remove_image,
        auto_remove: request.options.rm,
        restart: lifecycle.restart,
        stop_signal: stop_signal(lifecycle, spec),
        stop_timeout: lifecycle.stop_timeout.unwrap_or(STOP_TIMEOUT),
        health: health(lifecycle, workspace.root.health.clone())?,
        health_on_failure: lifecycle.health_on_failure.unwrap_or_default(),
        startup: lifecycle.startup.clone(),
        health_log: lifecycle.health_log.clone(),
        log: lifecycle.log.clone(),
        network: workspace.network.clone(),
        pidfile: absolute(lifecycle.pidfile.as_deref()).context(|| Setting::Pidfile)?,
        monitor_pidfile: absolute(lifecycle.monitor_pidfile.as_deref())
            .context(|| Setting::ConmonPidfile)?,
        cidfile: absolute(lifecycle.cidfile.as_deref())
            .context(|| Setting::Cidfile)?
            .map(|path| printable(&path)),
        notify: lifecycle.notify,
        detach_keys: lifecycle.detach_keys.clone(),
        secrets: workspace.secrets.iter().map(|secret| secret.recorded.clone()).collect(),
        create_command: lifecycle.create_command.clone(),
    })
}

/// Returns the name of the image, as typed. The path of a file is absolute: a later start has another working directory.
fn image_name(lifecycle: &Lifecycle, workspace: &Workspace) -> String {
    match workspace.root.image_file() {
        Some(file) => file.path.display().to_string(),
        None => lifecycle.image.clone(),
    }
}

fn stop_signal(lifecycle: &Lifecycle, spec: &Spec) -> i32 {
    let of_image = spec.annotations().as_ref().and_then(|all| all.get(spec::STOP_SIGNAL));
    match (lifecycle.stop_signal, of_image) {
        (Some(signal), _) => signal,
        // An image with an unknown stop signal can still be run.
        (None, Some(text)) => signal::number(text).unwrap_or(libc::SIGTERM),
        (None, None) => libc::SIGTERM,
    }
}

/// Returns a path that JSON can hold. The recorded path is only shown: the file is written before.
fn printable(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

fn absolute(path: Option<&Path>) -> std::io::Result<Option<PathBuf>> {
    path.map(std::path::absolute).transpose()
}

/// Merges the health check of the flags with that of the image; flags take precedence. Errors: health flags without a
/// command to run.
fn health(lifecycle: &Lifecycle, of_image: Option<Healthcheck>) -> Result<Option<Healthcheck>> {
    let check = match (lifecycle.health.clone(), of_image) {
        (Some(asked), Some(of_image)) if asked.test.is_empty() => {
            let or = |asked: u64, image: u64| if asked == 0 { image } else { asked };
            Some(Healthcheck {
                interval: or(asked.interval, of_image.interval),
                timeout: or(asked.timeout, of_image.timeout),
                start_period: or(asked.start_period, of_image.start_period),
                start_interval: or(asked.start_interval, of_image.start_interval),
                retries: if asked.retries == 0 { of_image.retries } else { asked.retries },
                test: of_image.test,
            })
        }
        (asked, of_image) => asked.or(of_image),
    };
    let is_off = check.as_ref().is_none_or(|check| !check.is_on());
    if is_off && lifecycle.notify == NotifyMode::Healthy {
        return Err(
            Error::invalid("there is nothing to check the health with").hint(hint::HEALTH_COMMAND)
        )
        .context(|| Setting::SdNotify);
    }
    let says_none = check.as_ref().is_some_and(|check| check.test == ["NONE"]);
    let says_how = lifecycle.health_on_failure.is_some_and(|action| action != OnFailure::None)
        || lifecycle.health.as_ref().is_some_and(|check| check.test.is_empty())
        || lifecycle.startup.is_some()
        || lifecycle.health_log != HealthLog::default();
    if is_off && says_how && (!says_none || lifecycle.startup.is_some()) {
        return Err(
            Error::invalid("there is nothing to check the health with").hint(hint::HEALTH_COMMAND)
        )
        .context(|| Setting::Health);
    }
    Ok(check)
}
