//! `usnea start`: makes the container's monitor, which launches it. Also the commands that a monitor runs beside
//! watching: start its container again, or remove it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::super::folder;
use super::super::image::Image;
use super::super::images;
use super::super::network;
use super::super::run::{Request, keep_descriptors, short};
use super::super::stored::Wanted;
use super::super::stores::Stores;
use super::super::volumes;
use super::attach::{Attachment, SignalProxy, attach};
use super::create::{Created, Next, Wishes, create, launch_options};
use super::remove::{Removal, own_volumes, remove, sweep};
use super::stop::{Stopping, ended_within};
use super::{Hold, Kept, bury};
use crate::engine::{self, Plan};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock};
use crate::host::lifetime::End;
use crate::image::store::{Force, Removal as RemovedImage, Store};
use crate::monitor::record::{self, EXIT, Exit, STATE, STOPPED, State};
use crate::monitor::{self, Handover, Job, events, talk};
use crate::rootfs::host;
use crate::spec;
use crate::sys::signal::Signals;
use crate::userns::Base;

/// Starts a container. `client` is attached by this socket from the beginning, and has blocked these signals, which the
/// container has not. Returns false, and does nothing, if the container runs already.
pub fn start(kept: &Kept, client: Option<(OwnedFd, &Signals)>) -> Result<bool> {
    if !kept.record.requires.is_empty() && !kept.status()?.is_running() {
        start_required(kept)?;
    }
    // A container in the foreground always runs.
    let Some(lock) = kept.is_in_store().then(|| locked(kept)).transpose()?.flatten() else {
        return Ok(false);
    };
    let _ = std::fs::remove_file(kept.folder.join(STOPPED));
    launch(kept, job(kept, lock.into())?, client).map(|()| true)
}

/// Starts the containers that a new container requires, then returns the new one. Removes a disposable one after an
/// error.
fn after_required(created: Created) -> Result<Created> {
    let Err(error) = start_required(&created.kept) else { return Ok(created) };
    let Created { kept, lock, .. } = created;
    drop(lock);
    discard_ended(&kept);
    Err(error)
}

/// Starts a container that has just been made.
fn start_created(created: Created, client: Option<(OwnedFd, &Signals)>) -> Result<Kept> {
    let Created { kept, lock, plan, image } = created;
    let started = launch(&kept, job_of(&kept, lock.into(), plan, image), client);
    started.inspect_err(|_| discard_ended(&kept))?;
    Ok(kept)
}

/// Starts the containers of `--requires`, in this order, and those that they require. Errors: a missing container.
fn start_required(kept: &Kept) -> Result<()> {
    for id in &kept.record.requires {
        let said = || format!("--requires {}", short(id));
        let required = Kept::open(&kept.store, id)?;
        let required = required.ok_or_else(|| Error::new("that container is gone"));
        required.and_then(|required| start(&required, None)).context(said)?;
    }
    Ok(())
}

fn launch(kept: &Kept, job: Job, client: Option<(OwnedFd, &Signals)>) -> Result<()> {
    let (client, blocked) = client.unzip();
    match monitor::start(Job { client, ..job }, blocked) {
        Ok(()) => Ok(()),
        Err(error) => {
            never_ran(kept, &error);
            Err(error)
        }
    }
}

/// Waits for the end of a container that is being stopped, and starts it again; starts a container that does not run.
pub fn restart(kept: &Kept, stopping: Option<Stopping>) -> Result<()> {
    if let Some(stopping) = stopping {
        stopping.finish(kept)?;
    }
    start(kept, None)?;
    events::of_container(&kept.store, &kept.record, "restart", &[]);
    Ok(())
}

/// Makes a container and leaves it running; returns its ID.
pub fn run_detached(request: &Request, wishes: &Wishes, wanted: &Wanted<'_>) -> Result<String> {
    refuse_descriptors(request)?;
    let created = after_required(create(request, wishes, wanted, Next::Start)?)?;
    let kept = start_created(created, None)?;
    warn_of_end(&kept);
    sweep(&kept.store);
    Ok(kept.record.id)
}

/// Makes a container and attaches to it; returns its exit status, or 0 when the detach keys were typed.
pub fn run_attached(
    request: &Request,
    wishes: &Wishes,
    wanted: &Wanted<'_>,
    proxy: SignalProxy,
) -> Result<u8> {
    refuse_descriptors(request)?;
    let options = &request.options;
    if options.tty && options.interactive && !rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Error::new("-it: standard input is not a terminal")
            .hint("leave -t out to feed the command from a file or a pipe"));
    }
    let keys = wishes.detach_keys.as_ref().map(|keys| keys.parse().map_err(Error::new));
    let keys = keys.transpose()?.unwrap_or_default();
    let created = create(request, wishes, wanted, Next::Start)?;
    let created = after_required(created)?;
    let signals = Signals::block(&engine::forwarded()).context(|| "cannot block signals")?;
    let (socket, far) = talk::pair().context(|| "cannot make a socket pair")?;
    let kept = start_created(created, Some((far, &signals)))?;
    let monitor = record::read::<State>(&kept.folder, STATE).ok().flatten();
    let attachment = Attachment { socket, input: options.interactive, keys, proxy };
    // A disposable container may be half removed when its end is reported.
    let folder = File::open(&kept.folder).ok();
    let status = attach(&kept, attachment, &signals)?;
    if status.is_some() && folder.is_some_and(|folder| lacked_memory(&folder)) {
        log::warn!("{}", engine::KILLED_FOR_MEMORY);
    }
    sweep(&kept.store);
    // With `--rm`, the container must be removed before this command ends: the next command may want its name.
    if let (Some(_), true, Some(state)) = (status, kept.record.auto_remove, monitor)
        && let Some(monitor) = state.monitor.open()
    {
        ended_within(&monitor, None)?;
    }
    Ok(status.unwrap_or(0))
}

/// True if the kernel killed a process of the ended container for want of memory, by its record.
fn lacked_memory(folder: &File) -> bool {
    use rustix::fs::{Mode, OFlags, openat};
    let open = openat(folder, EXIT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let exit = open.ok().and_then(|file| serde_json::from_reader::<_, Exit>(File::from(file)).ok());
    exit.is_some_and(|exit| exit.oom)
}

/// Warns where a detached container will be killed, such as at a logout.
fn warn_of_end(kept: &Kept) {
    let state = record::read::<State>(&kept.folder, STATE).ok().flatten();
    let cgroup = state.and_then(|state| state.cgroup);
    if let Some(end) = End::of(cgroup.as_deref()) {
        log::warn!("{}", end.warning(&kept.record.name));
    }
}

fn refuse_descriptors(request: &Request) -> Result<()> {
    if request.options.preserves_descriptors() {
        return Err(Error::new(
            "--preserve-fds, --preserve-fd: a container that is kept has them at its first start alone",
        )
        .hint("use it with --rm and without --detach"));
    }
    keep_descriptors(0, &[])
}

/// Removes a container with `--rm` that could not be started.
fn discard_ended(kept: &Kept) {
    if kept.record.auto_remove
        && let Err(error) = remove(&kept.store, &kept.record.id, Removal::default())
    {
        log::warn!("{error}");
    }
}

/// Returns the lock on a container that does not run. `None`: the container runs.
pub(super) fn locked(kept: &Kept) -> Result<Option<File>> {
    // A monitor that has recorded the end holds the lock for a moment longer.
    for _ in 0..2000 {
        match kept.try_lock()? {
            Hold::Ours(lock) => return Ok(Some(lock)),
            Hold::Gone => fail!("container {} is gone", kept.short_id()),
            Hold::Others if kept.status_here()?.state().is_some() => return Ok(None),
            Hold::Others => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
    fail!("container {} is being started or removed by another command", kept.short_id())
}

/// Records a failed start. docker's rule: such a container has ended, with the status of that failure.
fn never_ran(kept: &Kept, error: &Error) {
    let run = |name| {
        record::read::<State>(&kept.folder, name).ok().flatten().map_or(0, |state| state.run)
    };
    let last = record::read::<Exit>(&kept.folder, EXIT).ok().flatten().map_or(0, |exit| exit.run);
    let exit = Exit {
        run: run(STATE).max(last),
        status: error.status(),
        signal: None,
        oom: false,
        started: None,
        finished: jiff::Timestamp::now(),
        reason: Some(error.to_string()),
    };
    let _ = record::write_exit(&kept.folder, &exit);
}

/// Returns the container's spec, and the descriptor that holds its image.
pub(super) fn config(kept: &Kept) -> Result<(Spec, Option<OwnedFd>)> {
    let mut spec = kept.spec()?;
    let held = hold_image(kept, &mut spec)?;
    Ok((spec, held))
}

fn job(kept: &Kept, lock: OwnedFd) -> Result<Job> {
    let base = Base::of_user()?;
    let (spec, image) = config(kept)?;
    renew_layers(kept, &base, &spec)?;
    let mut options = launch_options(kept.record.input);
    network::look_at_ports(&kept.record.network)?;
    options.network = network::connected(&kept.record.network, &spec, &kept.store)?;
    let plan = engine::plan(&spec, base, options)?;
    Ok(job_of(kept, lock, plan, image))
}

fn job_of(kept: &Kept, lock: OwnedFd, plan: Plan, image: Option<OwnedFd>) -> Job {
    Job {
        store: kept.store.clone(),
        folder: kept.folder.clone(),
        lock,
        held: image.into_iter().collect(),
        record: kept.record.clone(),
        plan,
        client: None,
        listener: None,
        restarts: 0,
        waited: 0,
    }
}

/// Holds the container's image against removal while the container runs.
fn hold_image(kept: &Kept, spec: &mut Spec) -> Result<Option<OwnedFd>> {
    match kept.record.image.parse::<Image>()? {
        Image::Directory(_) => Ok(None),
        Image::Host(programs) => {
            let root = host::assemble(&kept.store, &programs)?;
            // The host's programs may have changed since: then they have in the container too.
            spec::set_lower(spec, &root.path)?;
            Ok(Some(root.lock().try_clone().context(|| "cannot hold the image")?.into()))
        }
        Image::Stored(text) => {
            let manifest = Store::look(&kept.store).used_manifest(&kept.folder)?;
            let held = manifest.map_or(Ok(None), |manifest| {
                files::hold(&manifest, Lock::Shared).context(|| manifest.display().to_string())
            })?;
            held.map(|file| Some(file.into()))
                .ok_or_else(|| Error::new(format!("its image '{text}' was removed")))
        }
    }
}

/// Empties the folders of layers that do not outlive a run; makes missing ones.
pub(super) fn renew_layers(kept: &Kept, base: &Base, spec: &Spec) -> Result<()> {
    let layers = spec::layer_folders(spec);
    for layer in &layers {
        let is_kept = ["upper", "work"].map(|name| kept.folder.join(name)).contains(layer);
        if !is_kept && layer.exists() {
            folder::remove(layer, base).context(|| format!("cannot empty {}", layer.display()))?;
        }
    }
    folder::fill(&layers)
}

/// Starts the container of a monitor again (the handover comes from the same process). Only an error returns.
pub fn relaunch(number: &str) -> Result<std::convert::Infallible> {
    let handover = Handover::receive(number)?;
    let lock = monitor::take(handover.lock)?;
    let kept = of_folder(&handover.store, &handover.folder)?;
    let state: Option<State> = record::read_if_whole(&kept.folder, STATE)?;
    let socket = state.as_ref().and_then(|state| state.socket.clone());
    let path = socket.clone();
    let listener = match (handover.listener, socket) {
        (Some(number), Some(path)) => Some((monitor::take(number)?, path)),
        _ => None,
    };
    let again = || -> Result<std::convert::Infallible> {
        monitor::start_again(Job {
            listener,
            restarts: state.map_or(0, |state| state.restarts) + 1,
            waited: handover.waited,
            ..job(&kept, lock)?
        })
    };
    let Err(error) = again();
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    never_ran(&kept, &error);
    Err(error)
}

/// Removes the ended container of a monitor.
pub fn remove_ended(number: &str) -> Result<()> {
    let handover = Handover::receive(number)?;
    let lock = File::from(monitor::take(handover.lock)?);
    let kept = of_folder(&handover.store, &handover.folder)?;
    let own = own_volumes(&kept);
    let buried = bury(&kept.store, &kept.record.id, Some(&kept.record.name), lock)?;
    let removed = buried.remove(&Base::of_user()?);
    volumes::remove_anonymous(&kept.store, &own);
    removed?;
    events::of_container(&kept.store, &kept.record, "destroy", &[]);
    if kept.record.remove_image {
        remove_image(&kept);
    }
    Ok(())
}

/// Removes the container's image, unless another container uses it, or it is in a store of others.
fn remove_image(kept: &Kept) {
    let names = [kept.record.image.clone()];
    let mut told = |answer: std::result::Result<&RemovedImage, &Error>| {
        log::debug!("--rmi {}: {answer:?}", kept.record.image);
    };
    let removed = Stores::look(&kept.store).and_then(|stores| {
        images::remove(&stores, &names, Force::No, images::Missing::Ignored, &mut told)
    });
    if let Err(error) = removed {
        log::debug!("--rmi {}: {error}", kept.record.image);
    }
}

fn of_folder(store: &Path, folder: &Path) -> Result<Kept> {
    let gone = || Error::new(format!("{} is gone", folder.display()));
    let id = folder.file_name().and_then(|name| name.to_str()).ok_or_else(gone)?;
    Kept::open(store, id)?.ok_or_else(gone)
}
