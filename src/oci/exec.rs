//! `exec`: another command in a running container.

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec, User};

use super::create::OciCaller;
use super::state::{ContainerStatus, OciContainer};
use super::{Runtime, console, pid_file};

use crate::engine::{
    self, DetachKeys, ExecPlan, Finish, LaunchOptions, Lifetime, ListenSockets, Released,
    RunningContainer, Stdin,
};
use crate::error::{Context, Error, Result, one_line};
use crate::fail;
use crate::hint;

/// Command to run in a container.
#[derive(Debug, Default)]
pub struct OciExecRequest {
    /// ID of the container.
    pub id: String,
    /// File with the process, in the form of `process` in config.json.
    pub process: Option<PathBuf>,
    /// Arguments; the process is otherwise that of the container's config.
    pub arguments: Vec<String>,
    /// Working folder.
    pub cwd: Option<PathBuf>,
    /// Variables to add, as `KEY=VALUE`.
    pub env: Vec<String>,
    /// User and group.
    pub user: Option<(u32, Option<u32>)>,
    /// Supplementary groups to add.
    pub additional_gids: Vec<u32>,
    /// Capabilities to add.
    pub capabilities: Vec<String>,
    /// Allocates a terminal.
    pub tty: bool,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// Returns at the command's start.
    pub detach: bool,
    /// File for the number of the command's process.
    pub pid_file: Option<PathBuf>,
    /// Socket that gets the master of the command's terminal.
    pub console_socket: Option<PathBuf>,
    /// Number of descriptors after 2 that the command keeps.
    pub preserve_fds: u32,
    /// Sockets of socket activation, the first of those descriptors.
    pub sockets: Option<ListenSockets>,
}

/// Runs a command in a container; returns its exit status, or 0 at once. Errors: the container does not run; the command
/// cannot be run.
pub fn exec(runtime: &Runtime, request: &OciExecRequest, caller: OciCaller<'_>) -> Result<u8> {
    let container = OciContainer::find(runtime, &request.id)?;
    let status = container.status();
    let found = container.process();
    let (Some((process_id, pidfd)), ContainerStatus::Running) = (found, status) else {
        let text = format!(
            "cannot exec in the container {}: it is {}, not running",
            request.id,
            status.name()
        );
        return Err(Error::not_running(text));
    };
    let spec = container.config()?;
    let process = process_of(&spec, request)?;
    let has_terminal = process.terminal() == Some(true);
    let socket = match &request.console_socket {
        Some(_) if !has_terminal => fail!(Invalid: "a console socket, and no terminal"),
        Some(path) => Some(console::connect(path)?),
        None if has_terminal && request.detach => {
            return Err(Error::invalid("a terminal, and no process stays that could serve it")
                .hint(hint::CONSOLE_SOCKET));
        }
        None => None,
    };
    let cgroup = container.record.cgroup.clone();
    let running = RunningContainer::of(pidfd, process_id.pid, &spec, cgroup)?;
    let entry = ExecPlan {
        steps: engine::plan_bundle_exec(&spec, &process, running)?,
        options: LaunchOptions {
            stdin: Stdin::Ours,
            preserve_fds: request.preserve_fds,
            sockets: request.sockets.clone(),
            lifetime: Lifetime::Independent,
            container: container.identity(),
            ..LaunchOptions::default()
        },
        keys: DetachKeys::none(),
        finish: Finish::WithChild,
    };
    let mut entered = engine::enter(&entry, caller.streams, caller.signals)?;
    let end = |error: &Error| {
        log::debug!("{error}");
        let _ = entered.command.signal(libc::SIGKILL);
        let _ = entered.command.wait();
    };
    if let (Some(socket), Some(master)) = (&socket, entered.terminal.as_ref()) {
        console::set_size(master, &process).inspect_err(end)?;
        console::send(socket, master).inspect_err(end)?;
    }
    if let Some(path) = &request.pid_file {
        pid_file::write(path, entered.command.pid).inspect_err(end)?;
    }
    if request.detach {
        return Ok(0);
    }
    let terminal = entered.terminal.take().filter(|_| socket.is_none());
    let released = Released { command: entered.command, early_signals: entered.early_signals };
    engine::attend(released, terminal, caller.streams, caller.signals).map(|ended| ended.status())
}

/// Returns the process of a request: that of its file, or that of the config with the request's changes.
fn process_of(spec: &Spec, request: &OciExecRequest) -> Result<Process> {
    let process = match &request.process {
        Some(path) => {
            let text = std::fs::read(path).context(|| path.display().to_string())?;
            let mut reader = serde_json::Deserializer::from_slice(&text);
            serde_path_to_error::deserialize(&mut reader).map_err(|error| {
                let place = format!("{}: {}", path.display(), one_line(error.path()));
                Error::invalid(one_line(error.into_inner())).within(place)
            })?
        }
        None => changed(spec, request)?,
    };
    Ok(process)
}

fn changed(spec: &Spec, request: &OciExecRequest) -> Result<Process> {
    if request.arguments.is_empty() {
        fail!(Invalid: "no command given");
    }
    let Some(process) = spec.process() else { fail!(Invalid: "config.json: no process") };
    let mut process = process.clone();
    process.set_args(Some(request.arguments.clone()));
    process.set_terminal(Some(request.tty));
    if let Some(cwd) = &request.cwd {
        process.set_cwd(cwd.clone());
    }
    add_variables(&mut process, &request.env);
    if let Some((uid, gid)) = request.user {
        let mut user = User::default();
        user.set_uid(uid);
        user.set_gid(gid.unwrap_or(0));
        process.set_user(user);
    }
    if !request.additional_gids.is_empty() {
        let mut user = process.user().clone();
        let gids = user.additional_gids().iter().flatten().chain(&request.additional_gids);
        let gids = gids.copied().collect();
        user.set_additional_gids(Some(gids));
        process.set_user(user);
    }
    if request.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    add_capabilities(&mut process, &request.capabilities)?;
    Ok(process)
}

fn add_variables(process: &mut Process, variables: &[String]) {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let replaced: HashSet<String> = variables.iter().map(|variable| name(variable)).collect();
    let kept =
        process.env().iter().flatten().filter(|variable| !replaced.contains(&name(variable)));
    let all = kept.chain(variables).cloned().collect();
    process.set_env(Some(all));
}

/// Adds capabilities to the bounding, effective and permitted set, as runc does.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut added = HashSet::new();
    for name in names {
        let json = serde_json::Value::String(name.to_uppercase());
        let capability: Capability = serde_json::from_value(json).map_err(|_| {
            Error::invalid(format!("no capability is called {}", name.escape_debug()))
        })?;
        added.insert(capability);
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(empty);
    let with = |set: &Option<HashSet<Capability>>| {
        Some(set.iter().flatten().chain(&added).copied().collect::<HashSet<_>>())
    };
    let (bounding, effective, permitted) =
        (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    sets.set_bounding(bounding);
    sets.set_effective(effective);
    sets.set_permitted(permitted);
    process.set_capabilities(Some(sets));
    Ok(())
}

fn empty() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None);
    sets.set_effective(None);
    sets.set_inheritable(None);
    sets.set_permitted(None);
    sets.set_ambient(None);
    sets
}
