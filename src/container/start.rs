//! `usnea start`: starts the container's monitor, which launches the container. Also the processes that a monitor
//! starts later: to start its container again, or to remove it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::attach::{Attachment, attach};
use super::client::{Client, check_terminal};
use super::create::{
    AfterCreate, CreatedContainer, Lifecycle, create, launch_options, notify_request,
};
use super::descriptors::check_sockets;
use super::find_or_pull::PullSettings;
use super::folder;
use super::images;
use super::launch_retry::LaunchRetry;
use super::network::{self, ContainerIdentity};
use super::overlays;
use super::pods;
use super::ports;
use super::remove::{RemoveOptions, own_volumes, remove, sweep};
use super::request::ContainerRequest;
use super::root_source::RootSource;
use super::secrets;
use super::shared_namespaces::{self, OtherContainers};
use super::stop::{Stopping, ended_within};
use super::usnea::Usnea;
use super::volumes;
use super::{Container, Hold, move_to_tmp};
use crate::engine::{self, ListenSockets, MountSource, Plan, PlannedMount};
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::files::{self, Lock};
use crate::hint;
use crate::host::lifetime::LifetimeEnd;
use crate::image::reference::TypedReference;
use crate::image::store::{ForceRemoval, HeldBlob, ImageRemoval, Store};
use crate::layer::LowerLayer;
use crate::layer::squashfs::ImageFile;
use crate::monitor::record::{self, EXIT, Exit, STATE, STOPPED, State};
use crate::monitor::{self, Handover, Job, events, journal, protocol};
use crate::net::Network;
use crate::object_id::ContainerId;
use crate::phrase;
use crate::rootfs::host;
use crate::spec;
use crate::sys::signal::Signals;
use crate::userns::Base;

/// Starts a container. `client`: socket of a client that is attached from the beginning, and the signals that it has
/// blocked, which the container must not have blocked. Returns false, and does nothing, if the container runs already.
pub fn start(
    usnea: &Usnea,
    container: &Container,
    client: Option<(OwnedFd, &Signals)>,
) -> Result<bool> {
    start_with(usnea, container, client, usnea.sockets())
}

/// Starts a container without sockets of socket activation: one that the caller did not name.
pub(super) fn start_beside(usnea: &Usnea, container: &Container) -> Result<bool> {
    start_with(usnea, container, None, None)
}

fn start_with(
    usnea: &Usnea,
    container: &Container,
    client: Option<(OwnedFd, &Signals)>,
    sockets: Option<&ListenSockets>,
) -> Result<bool> {
    if !container.record.requires.is_empty() && !container.status()?.is_running() {
        start_required(usnea, container)?;
    }
    // A container in the foreground always runs.
    let Some(lock) = container.is_in_store().then(|| locked(container)).transpose()?.flatten()
    else {
        return Ok(false);
    };
    let _ = std::fs::remove_file(container.folder.join(STOPPED));
    // Not for a restart by policy, which does not depend on a journal that is away for a moment.
    journal::check(&container.record)?;
    let mut job = job(usnea, container, lock.into())?;
    job.plan.options.sockets = sockets.cloned();
    network::warn_if_offline(&job.plan.options.network, &container.store);
    launch(usnea, container, job, client).map(|_| true)
}

/// Starts the containers that a new container requires, then returns the new container. If that fails, removes a new
/// container with `--rm`.
fn after_required(usnea: &Usnea, created: CreatedContainer) -> Result<CreatedContainer> {
    let Err(error) = start_required(usnea, &created.container) else { return Ok(created) };
    let CreatedContainer { container, lock, .. } = created;
    drop(lock);
    discard_ended(usnea, &container);
    Err(error)
}

/// Starts a container that has just been created.
fn start_created(
    usnea: &Usnea,
    created: CreatedContainer,
    client: Option<(OwnedFd, &Signals)>,
) -> Result<(Container, OwnedFd)> {
    let CreatedContainer { container, lock, plan, held } = created;
    let record = &container.record;
    let job = match record.requires.is_empty() && record.pod.is_none() {
        true => Ok(job_of(&container, lock.into(), plan, held)),
        // Planned again: the containers that were started meanwhile may be those whose namespaces are joined.
        false => {
            drop(held); // The locks on overlays are taken again.
            job(usnea, &container, lock.into())
        }
    };
    let started = job.and_then(|mut job| {
        job.plan.options.sockets = usnea.sockets().cloned();
        launch(usnea, &container, job, client)
    });
    let monitor = started.inspect_err(|_| discard_ended(usnea, &container))?;
    Ok((container, monitor))
}

/// Starts the containers of `--requires`, in this order, and those that they require. Errors: a missing container.
fn start_required(usnea: &Usnea, container: &Container) -> Result<()> {
    for id in &container.record.requires {
        let phrase = || Setting::Requires.with(id.short());
        let required = Container::open(&container.store, id)?;
        let required = required.ok_or_else(|| Error::not_found("that container was removed"));
        required.and_then(|required| start_beside(usnea, &required)).context(phrase)?;
    }
    Ok(())
}

fn launch(
    usnea: &Usnea,
    container: &Container,
    mut job: Job,
    client: Option<(OwnedFd, &Signals)>,
) -> Result<OwnedFd> {
    let (client, blocked) = client.unzip();
    // A caller that stays attached must not keep the addresses in use. Another may start more containers.
    let ours = job.plan.options.sockets.clone().filter(|_| client.is_some());
    job.client = client;
    let mut tries = 0;
    let answer = loop {
        let retry = LaunchRetry::of(&job)?;
        job.streams = usnea.caller_streams();
        match (monitor::start(job, blocked), retry) {
            (Err(error), Some(retry)) if tries < pods::TRIES && retry.is_due() => {
                log::debug!("{error}");
                tries += 1;
                job = retry.again(|lock| self::job(usnea, container, lock))?;
            }
            (answer, _) => break answer,
        }
    };
    match answer {
        Ok(monitor) => {
            ours.iter().for_each(ListenSockets::close);
            // A running container is not ended for want of its name in the members' files.
            pods::tell_members(container).unwrap_or_else(|error| log::warn!("{error}"));
            Ok(monitor)
        }
        Err(error) => {
            record_failed_start(container, &error);
            Err(error)
        }
    }
}

/// Waits for the end of a container that is being stopped, if any, and starts the container.
pub fn restart(usnea: &Usnea, container: &Container, stopping: Option<Stopping>) -> Result<()> {
    if let Some(stopping) = stopping {
        stopping.finish(container)?;
    }
    start(usnea, container, None)?;
    events::of_container(&container.store, &container.record, "restart", &[]);
    Ok(())
}

/// Creates a container and starts it in the background; returns its ID.
pub fn run_detached(
    usnea: &Usnea,
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    wanted: &PullSettings<'_>,
) -> Result<ContainerId> {
    refuse_descriptors(usnea, request)?;
    let created =
        after_required(usnea, create(usnea, request, lifecycle, wanted, AfterCreate::Start)?)?;
    let (container, _) = start_created(usnea, created, None)?;
    warn_of_end(&container);
    sweep(usnea);
    Ok(container.record.id)
}

/// Creates a container, starts it and attaches to it. Returns its exit status, or 0 if the detach keys were typed.
pub fn run_attached(
    usnea: &Usnea,
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    wanted: &PullSettings<'_>,
    client: Client<'_>,
) -> Result<u8> {
    refuse_descriptors(usnea, request)?;
    let options = &request.options;
    check_terminal(options, client.streams)?;
    let keys = lifecycle.detach_keys.as_ref().map(|keys| keys.parse().map_err(Error::new));
    let keys = keys.transpose()?.unwrap_or_default();
    let created = create(usnea, request, lifecycle, wanted, AfterCreate::Start)?;
    let created = after_required(usnea, created)?;
    let signals = Signals::block(&engine::forwarded()).context(|| "cannot block signals")?;
    let (socket, far) = protocol::pair().context(|| "cannot make a socket pair")?;
    let (container, monitor) = start_created(usnea, created, Some((far, &signals)))?;
    let Client { streams, proxy } = client;
    let attachment = Attachment { socket, streams, reads_input: options.interactive, keys, proxy };
    // A disposable container may be half removed when its end is reported.
    let folder = File::open(&container.folder).ok();
    let status = attach(&container, attachment, &signals)?;
    if status.is_some() && folder.is_some_and(|folder| was_oom_killed(&folder)) {
        log::warn!("{}", engine::KILLED_FOR_MEMORY);
    }
    sweep(usnea);
    // With `--rm`, waits until the monitor has removed the container: the next command may reuse its name.
    if status.is_some() && container.record.auto_remove {
        ended_within(&monitor, None)?;
    }
    Ok(status.unwrap_or(0))
}

/// True if the exit record tells that the out-of-memory killer has killed a process of the container.
fn was_oom_killed(folder: &File) -> bool {
    use rustix::fs::{Mode, OFlags, openat};
    let open = openat(folder, EXIT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let exit = open.ok().and_then(|file| serde_json::from_reader::<_, Exit>(File::from(file)).ok());
    exit.is_some_and(|exit| exit.oom)
}

/// Warns if a detached container will be killed, such as at a logout.
fn warn_of_end(container: &Container) {
    let Container { store, record, .. } = container;
    // With a readiness notification the monitor is the main process of a service, which is meant to end with it.
    if notify_request(store, &record.id, record.notify).is_ok_and(|request| request.is_some()) {
        return;
    }
    let state = record::read::<State>(&container.folder, STATE).ok().flatten();
    let cgroup = state.and_then(|state| state.cgroup);
    if let Some(end) = LifetimeEnd::of(cgroup.as_deref()) {
        log::warn!("{}", end.warning(&container.record.name));
    }
}

fn refuse_descriptors(usnea: &Usnea, request: &ContainerRequest) -> Result<()> {
    if request.options.preserves_descriptors() {
        return Err(Error::invalid(phrase!(
            Setting::PreserveFds,
            ", ",
            Setting::PreserveFd,
            ": a container that is kept has them at its first start alone",
        ))
        .hint(hint::DISPOSABLE_IN_FOREGROUND));
    }
    check_sockets(usnea.sockets())
}

/// Removes a container with `--rm` that could not be started.
fn discard_ended(usnea: &Usnea, container: &Container) {
    if container.record.auto_remove
        && let Err(error) = remove(usnea, &container.record.id, RemoveOptions::default())
    {
        log::warn!("{error}");
    }
}

/// Returns the lock on the folder of a container that does not run. `None`: the container runs.
pub(super) fn locked(container: &Container) -> Result<Option<File>> {
    // A monitor that has recorded the end holds the lock for a moment longer.
    for _ in 0..2000 {
        match container.try_lock()? {
            Hold::Ours(lock) => return Ok(Some(lock)),
            Hold::Gone => fail!(NotFound: "container {} is gone", container.short_id()),
            Hold::Others if container.status_here()?.state().is_some() => return Ok(None),
            Hold::Others => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
    fail!(Conflict: "container {} is being started or removed by another command", container.short_id())
}

/// Records a failed start. docker's rule: the container then counts as exited, with the status of that failure.
fn record_failed_start(container: &Container, error: &Error) {
    let run = |name| {
        record::read::<State>(&container.folder, name).ok().flatten().map_or(0, |state| state.run)
    };
    let last =
        record::read::<Exit>(&container.folder, EXIT).ok().flatten().map_or(0, |exit| exit.run);
    let exit = Exit {
        run: run(STATE).max(last),
        status: error.status(),
        signal: None,
        oom: false,
        started: None,
        finished: jiff::Timestamp::now(),
        reason: Some(error.to_string()),
        journal: None,
    };
    let _ = record::write_exit(&container.folder, &exit);
}

/// Returns the container's spec, and the lock that protects its image against removal.
pub(super) fn config(container: &Container) -> Result<(Spec, Option<OwnedFd>)> {
    let mut spec = container.spec()?;
    let held = hold_image(container, &mut spec)?;
    Ok((spec, held))
}

fn job(usnea: &Usnea, container: &Container, lock: OwnedFd) -> Result<Job> {
    let base = usnea.base()?;
    let (spec, image) = config(container)?;
    let mut held = overlays::hold(&container.record.overlays)?;
    held.extend(image);
    renew_layers(container, base, &spec)?;
    let Container { store, record, .. } = container;
    let mut options = launch_options(store, &record.id, record.input, record.notify)?;
    options.secrets = secrets::of_container(container)?;
    if let Some(pod) = &record.pod {
        let (plan, pod) = pods::plan(container, pod, &spec, base, &options)?;
        return Ok(Job { pod: Some(pod), ..job_of(container, lock, plan, held) });
    }
    ports::check_ports_free(&container.store, &container.record.network)?;
    options.network = next_network(container, &spec)?;
    let others = OtherContainers::MustRun;
    let plan = shared_namespaces::plan(&container.store, &spec, base.clone(), options, others)?;
    Ok(job_of(container, lock, plan, held))
}

/// Decides the network of the container's next start.
pub(super) fn next_network(container: &Container, spec: &Spec) -> Result<Network> {
    let Container { store, record, .. } = container;
    let identity = ContainerIdentity { id: &record.id, name: Some(&record.name) };
    let definitions = network::definitions(store, &record.network)?;
    network::connected(&record.network, definitions, spec, store, identity)
}

fn job_of(container: &Container, lock: OwnedFd, plan: Plan, held: Vec<OwnedFd>) -> Job {
    Job {
        store: container.store.clone(),
        folder: container.folder.clone(),
        lock,
        held,
        record: container.record.clone(),
        plan,
        pod: None,
        streams: None,
        client: None,
        listener: None,
        restarts: 0,
        waited: 0,
    }
}

/// Returns a lock that protects the container's image against removal.
fn hold_image(container: &Container, spec: &mut Spec) -> Result<Option<OwnedFd>> {
    match container.record.image.parse::<RootSource>()? {
        RootSource::Directory(_) => Ok(None),
        RootSource::File(_) | RootSource::Path(_) => hold_file(spec),
        RootSource::Host(programs) => {
            let root = match host::assemble(&container.store, &programs) {
                Err(error) if is_unwritable(&error) => {
                    log::debug!("{error}: the root stays as it was at the last start");
                    return hold_last_root(spec);
                }
                answer => answer?,
            };
            // Assembles the root again: the host's programs may have changed since the last start.
            spec::set_lower(spec, &root.path)?;
            Ok(Some(root.lock().try_clone().context(|| "cannot hold the image")?.into()))
        }
        RootSource::Image(text) => hold_stored(container, spec, &text),
    }
}

/// Holds the image of a store, by its manifest's blob. Errors: the image was removed, or it is in the node cache of
/// another machine.
fn hold_stored(container: &Container, spec: &Spec, text: &str) -> Result<Option<OwnedFd>> {
    let home = Store::open_read_only(&container.store);
    let manifest = home.used_manifest(&container.folder)?;
    let held = manifest.as_ref().map_or(Ok(None), |manifest| {
        files::hold(manifest, Lock::Shared).context(|| manifest.display().to_string())
    })?;
    // A copy of the image in the user's own store has its layers elsewhere.
    let has_layers =
        || Ok::<_, Error>(lowest_layer(spec)?.is_none_or(|layer| layer.path().exists()));
    match held {
        Some(file) if has_layers()? => {
            let held = HeldBlob { file };
            if manifest.is_some_and(|manifest| !manifest.starts_with(&container.store)) {
                held.record_use();
            }
            Ok(Some(held.file.into()))
        }
        _ => {
            let error = Error::not_found(format!("its image '{text}' was removed"));
            let id = container.record.image_id.as_deref().unwrap_or_default();
            let is_id = id.trim_start_matches("sha256:").starts_with(text);
            let blob = manifest.as_deref().filter(|_| !is_id);
            Err(match blob.and_then(|blob| by_digest(text, blob)) {
                Some(place) => error.hint(hint::pull_again(place)),
                None => error,
            })
        }
    }
}

/// Returns the name that pulls exactly this image: the one typed, with the digest of its manifest. `None`: no name of a
/// registry.
fn by_digest(text: &str, manifest: &Path) -> Option<String> {
    let typed: TypedReference = text.parse().ok()?;
    let name = text.split('@').next()?;
    let tag = typed.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let name = name.strip_suffix(&tag).unwrap_or(name);
    let hex = manifest.file_name()?.to_str()?;
    Some(format!("{name}@sha256:{hex}"))
}

/// Opens the single-file image that the spec names, if any. Errors: the file is missing, or was replaced since the
/// container was made.
fn hold_file(spec: &Spec) -> Result<Option<OwnedFd>> {
    let Some(image) = image_file(spec)? else { return Ok(None) };
    Ok(Some(image.open().context(|| "the container's image")?.file))
}

/// Returns the single-file image that is the root of a spec; `None`: another root.
pub(super) fn image_file(spec: &Spec) -> Result<Option<ImageFile>> {
    Ok(lowest_layer(spec)?.as_ref().and_then(LowerLayer::image).cloned())
}

/// Returns the lowest layer of a spec's root, which belongs to its image; `None`: a root without layers.
fn lowest_layer(spec: &Spec) -> Result<Option<LowerLayer>> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let Some(root) = mounts.iter().find(|mount| mount.destination() == Path::new("/")) else {
        return Ok(None);
    };
    Ok(match PlannedMount::from_oci(root)?.source {
        MountSource::Overlay { lowers, .. } => lowers.last().cloned(),
        _ => None,
    })
}

/// True if the store is only readable.
fn is_unwritable(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EROFS | libc::EACCES))
}

/// Holds the layer of the host's programs that the spec names. Errors: the layer was removed.
fn hold_last_root(spec: &Spec) -> Result<Option<OwnedFd>> {
    let removed = || Error::not_found("the layer of the host's programs was removed");
    let lowest = lowest_layer(spec)?.ok_or_else(removed)?;
    let layer = lowest.path().parent().ok_or_else(removed)?;
    let held = files::hold(layer, Lock::Shared).context(|| layer.display().to_string())?;
    Ok(Some(held.ok_or_else(removed)?.into()))
}

/// Empties the layer folders that are new in each run (all but `upper` and `work`), and makes missing ones.
pub(super) fn renew_layers(container: &Container, base: &Base, spec: &Spec) -> Result<()> {
    let layers = spec::layer_folders(spec);
    for layer in &layers {
        let is_kept = ["upper", "work"].map(|name| container.folder.join(name)).contains(layer);
        if !is_kept && layer.exists() {
            folder::remove(layer, base).context(|| format!("cannot empty {}", layer.display()))?;
        }
    }
    folder::fill(&layers)
}

/// Starts the container of a monitor again, in the same process: the monitor has executed this program. Returns only on
/// an error.
pub fn relaunch(number: &str) -> Result<std::convert::Infallible> {
    let handover = Handover::receive(number)?;
    let usnea = Usnea::new(Some(handover.store.clone()));
    let lock = monitor::take(handover.lock)?;
    let container = open_folder(&handover.store, &handover.folder)?;
    let state: Option<State> = record::read_if_whole(&container.folder, STATE)?;
    let socket = state.as_ref().and_then(|state| state.socket.clone());
    let path = socket.clone();
    let listener = match (handover.listener, socket) {
        (Some(number), Some(path)) => Some((monitor::take(number)?, path)),
        _ => None,
    };
    let sockets = handover.sockets;
    check_sockets(sockets.as_ref())?;
    let again = || -> Result<std::convert::Infallible> {
        let mut job = job(&usnea, &container, lock)?;
        job.plan.options.sockets = sockets;
        job.listener = listener;
        job.restarts = state.map_or(0, |state| state.restarts) + 1;
        job.waited = handover.waited;
        for _ in 0..pods::TRIES {
            let Some(retry) = LaunchRetry::of(&job)? else { break };
            let Err(error) = monitor::start_again(job);
            if !retry.is_due() {
                return Err(error);
            }
            log::debug!("{error}");
            job = retry.again(|lock| self::job(&usnea, &container, lock))?;
        }
        monitor::start_again(job)
    };
    let Err(error) = again();
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    record_failed_start(&container, &error);
    Err(error)
}

/// Removes the container of a monitor after its end. Returns the exit status of its command.
pub fn remove_ended(number: &str) -> Result<u8> {
    let handover = Handover::receive(number)?;
    let usnea = Usnea::new(Some(handover.store.clone()));
    let lock = File::from(monitor::take(handover.lock)?);
    let container = open_folder(&handover.store, &handover.folder)?;
    let own = own_volumes(&container);
    let buried =
        move_to_tmp(&container.store, &container.record.id, Some(&container.record.name), lock)?;
    let removed = buried.remove(usnea.base()?);
    volumes::remove_anonymous(&usnea, &own);
    removed?;
    events::of_container(&container.store, &container.record, "destroy", &[]);
    if container.record.remove_image {
        remove_image(&usnea, &container);
    }
    Ok(handover.status)
}

/// Removes the container's image, unless another container uses it, or it is in a read-only store.
fn remove_image(usnea: &Usnea, container: &Container) {
    let names = [container.record.image.clone()];
    let mut told = |answer: std::result::Result<&ImageRemoval, &Error>| {
        log::debug!("{} {}: {answer:?}", Setting::Rmi, container.record.image);
    };
    let removed =
        images::remove(usnea, &names, ForceRemoval::No, images::Missing::Ignored, &mut told);
    if let Err(error) = removed {
        log::debug!("{} {}: {error}", Setting::Rmi, container.record.image);
    }
}

fn open_folder(store: &Path, folder: &Path) -> Result<Container> {
    let gone = || Error::not_found(format!("{} is gone", folder.display()));
    let id = folder.file_name().and_then(|name| name.to_str()).ok_or_else(gone)?;
    Container::open_recorded(store, id)?.ok_or_else(gone)
}
