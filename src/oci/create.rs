//! `create` and `run`: a bundle in, a container out.

use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::Spec;
use rustix::fs::Mode;

use super::state::{self, OciContainer};
use super::{Runtime, bundle, console, delete, pid_file, start};

use crate::engine::{
    self, BundleIdentity, CallerStreams, Created, LaunchOptions, LaunchStreams, Launched, Lifetime,
    ListenSockets, Plan, RootChange, SessionKeyring, StartTrigger, Stdin,
};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::host::pmi;
use crate::host::process_id::ProcessId;
use crate::sys::signal::Signals;

/// Container to create.
#[derive(Debug)]
pub struct CreateRequest {
    /// ID of the container.
    pub id: String,
    /// Folder of the bundle.
    pub bundle: PathBuf,
    /// File for the number of the container's process.
    pub pid_file: Option<PathBuf>,
    /// Socket that gets the master of the container's terminal.
    pub console_socket: Option<PathBuf>,
    /// Number of descriptors after 2 that the command keeps, those of `sockets` included.
    pub preserve_fds: u32,
    /// Sockets of socket activation for the command.
    pub sockets: Option<ListenSockets>,
    /// Way into the container's root.
    pub root_change: RootChange,
    /// Session keyring of the command.
    pub keyring: SessionKeyring,
}

/// Moment at which [`run`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// At the command's start (`--detach`).
    AtStart,
    /// At the command's end; then the container is deleted.
    AtEnd,
    /// At the command's end; the container's state is kept (`--keep`).
    AtEndKept,
}

/// Caller of [`create`] or [`run`]: its streams, and its signals, which it has blocked.
#[derive(Clone, Copy)]
pub struct OciCaller<'a> {
    /// Standard streams, which the command inherits.
    pub streams: CallerStreams<'a>,
    /// Blocked signals.
    pub signals: &'a Signals,
}

/// Container during its creation; its state is removed unless [`NewContainer::keep`] is called.
struct NewContainer {
    container: Option<OciContainer>,
    spec: Spec,
}

impl Drop for NewContainer {
    fn drop(&mut self) {
        if let Some(container) = self.container.take()
            && let Err(error) = delete::remove(&container)
        {
            log::warn!("{error}");
        }
    }
}

impl NewContainer {
    fn prepare(
        runtime: &Runtime,
        request: &CreateRequest,
        begin: StartTrigger,
        lifetime: Lifetime,
    ) -> Result<(Self, Plan)> {
        runtime.folder(&request.id)?;
        delete::remove_abandoned(runtime);
        let folder = bundle::folder(&request.bundle)?;
        let path = folder.join(bundle::CONFIG);
        let text = std::fs::read(&path).context(|| path.display().to_string())?;
        let mut spec = bundle::parse(&text, &folder)?;
        bundle::fit_cgroup(&mut spec, runtime)?;
        bundle::fit_cgroup_mounts(&mut spec);
        let mut record = state::begin(&request.id, &folder, &spec)?;
        record.is_bound = lifetime == Lifetime::BoundToParent;
        let container = OciContainer::make(runtime, record, &text)?;
        let mut options = LaunchOptions {
            stdin: Stdin::Ours,
            preserve_fds: request.preserve_fds,
            sockets: request.sockets.clone(),
            begin,
            container: BundleIdentity::of_bundle(&request.id, folder),
            lifetime,
            preserve_fd: pmi_descriptor(&spec),
            keyring: request.keyring,
            root_change: request.root_change,
            ..LaunchOptions::default()
        };
        let planned = match begin {
            StartTrigger::AtFifo => fifo(&container.fifo()).map(|fifo| options.fifo = Some(fifo)),
            _ => Ok(()),
        };
        let planned = planned.and_then(|()| engine::plan_bundle(&spec, options));
        match planned {
            Ok(plan) => Ok((Self { container: Some(container), spec }, plan)),
            Err(error) => {
                let _ = container.remove();
                Err(error)
            }
        }
    }

    fn container(&mut self) -> Result<&mut OciContainer> {
        self.container.as_mut().ok_or_else(|| Error::new("a container that is gone"))
    }

    fn keep(&mut self) -> Option<OciContainer> {
        self.container.take()
    }
}

/// Makes the FIFO at which the container waits, and opens both its ends.
fn fifo(path: &Path) -> Result<Arc<OwnedFd>> {
    let said = || path.display().to_string();
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600)).context(said)?;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path)
        .context(said)?;
    Ok(Arc::new(file.into()))
}

/// Creates a container, whose command waits for `start`. Errors: the ID is in use; the config cannot be applied; nobody
/// listens at the console socket. Nothing is left behind then.
pub fn create(runtime: &Runtime, request: &CreateRequest, caller: OciCaller<'_>) -> Result<()> {
    let (mut new, plan) =
        NewContainer::prepare(runtime, request, StartTrigger::AtFifo, Lifetime::Independent)?;
    let socket = console_socket(&new.spec, request)?;
    if socket.is_none() && has_terminal(&new.spec) {
        fail_without_socket()?;
    }
    let streams = LaunchStreams { command: None, caller: None };
    let mut created = engine::create(&plan, streams, caller.signals)?;
    note(&mut new, &created)?;
    if let (Some(socket), Some(master)) = (&socket, created.take_terminal()) {
        finish_terminal(&new.spec, socket, &master)?;
    }
    if let (Some(path), Some(pid)) = (&request.pid_file, created.pid()) {
        pid_file::write(path, pid)?;
    }
    let left = created.start(caller.signals).and_then(Launched::release);
    left.inspect_err(|_| remove_pid_file(request))?;
    new.keep();
    Ok(())
}

/// Creates a container and starts its command; returns the command's exit status, or 0 at once.
pub fn run(
    runtime: &Runtime,
    request: &CreateRequest,
    end: RunEnd,
    caller: OciCaller<'_>,
) -> Result<u8> {
    let lifetime = match end {
        RunEnd::AtEnd => Lifetime::BoundToParent,
        RunEnd::AtStart | RunEnd::AtEndKept => Lifetime::Independent,
    };
    let (mut new, plan) = NewContainer::prepare(runtime, request, StartTrigger::AtStart, lifetime)?;
    let socket = console_socket(&new.spec, request)?;
    if socket.is_none() && has_terminal(&new.spec) && end == RunEnd::AtStart {
        fail_without_socket()?;
    }
    let with_terminal = (has_terminal(&new.spec) && socket.is_none()).then_some(caller.streams);
    let streams = LaunchStreams { command: None, caller: with_terminal };
    let mut created = engine::create(&plan, streams, caller.signals)?;
    note(&mut new, &created)?;
    let mut terminal = created.take_terminal();
    if let (Some(socket), Some(master)) = (&socket, terminal.take_if(|_| socket.is_some())) {
        finish_terminal(&new.spec, socket, &master)?;
    }
    if let (Some(path), Some(pid)) = (&request.pid_file, created.pid()) {
        pid_file::write(path, pid)?;
    }
    let launched = created.start(caller.signals).inspect_err(|_| remove_pid_file(request))?;
    let Some(container) = new.keep() else { fail!("a container that is gone") };
    if end == RunEnd::AtEnd {
        let started = start::after(&container);
        let ended = engine::attend_to_end(launched, terminal, caller.streams, caller.signals);
        delete::remove(&container)?;
        return started.and(ended).map(|ended| ended.status());
    }
    let released = launched.release()?;
    start::after(&container)?;
    if end == RunEnd::AtStart {
        return Ok(0);
    }
    let ended = engine::attend(released, terminal, caller.streams, caller.signals);
    ended.map(|ended| ended.status())
}

/// Returns the descriptor of a job step's process manager (PMI-1, PMI-2), which the command keeps at its number.
/// Nothing if the config's environment names none, or it is not open.
fn pmi_descriptor(spec: &Spec) -> Vec<u32> {
    let environment = spec.process().as_ref().and_then(|process| process.env().as_ref());
    let environment = environment.into_iter().flatten().map(String::as_str);
    pmi::descriptor(environment).into_iter().collect()
}

/// Writes the container's process into its record.
fn note(new: &mut NewContainer, created: &Created<'_>) -> Result<()> {
    let pid = created.pid().ok_or_else(|| Error::new("no process"))?;
    let cgroup = created.cgroup().map(Path::to_owned);
    let container = new.container()?;
    container.record.process =
        Some(ProcessId::of(pid).ok_or_else(|| Error::new("the container's process has ended"))?);
    container.record.cgroup = cgroup;
    container.record.state.pid = pid;
    container.record.state.status = super::ContainerStatus::Created;
    container.save()
}

fn has_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true))
}

fn fail_without_socket() -> Result<()> {
    Err(Error::invalid(
        "config.json: process.terminal: no process stays that could serve the terminal",
    )
    .hint(hint::CONSOLE_SOCKET))
}

fn console_socket(spec: &Spec, request: &CreateRequest) -> Result<Option<UnixStream>> {
    let Some(path) = &request.console_socket else { return Ok(None) };
    if !has_terminal(spec) {
        fail!(Invalid: "a console socket, and config.json: process.terminal is not set");
    }
    console::connect(path).map(Some)
}

fn finish_terminal(spec: &Spec, socket: &UnixStream, master: &OwnedFd) -> Result<()> {
    if let Some(process) = spec.process() {
        console::set_size(master, process)?;
    }
    console::send(socket, master)
}

fn remove_pid_file(request: &CreateRequest) {
    if let Some(path) = &request.pid_file {
        let _ = std::fs::remove_file(path);
    }
}
