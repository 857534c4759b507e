//! `usnea oci`, and the program under the name `usnea-oci`: the command line of an OCI runtime, a file for each group of
//! commands.

mod create;
mod exec;
pub mod image_bundle;
mod life;
mod resources;
mod show;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use crate::cli::late::Late;
use crate::cli::output::print;
use crate::container::Usnea;

use crate::engine::{ListenSockets, SessionKeyring, forwarded};
use crate::error::{Context, Error, Result};
use crate::oci::{CgroupManager, Rootless, Runtime, SPEC_VERSION};
use crate::sys::fd;
use crate::sys::signal::Signals;

/// Name of the program that is this command line alone.
const PROGRAM: &str = "usnea-oci";
/// Exit status of a failure (that of runc and crun).
const FAILURE: u8 = 1;

/// Run containers as an OCI runtime, with the command line of runc and crun
///
/// For programs that start containers with an OCI runtime: podman --runtime, buildah --runtime, containerd. Started by
/// the name usnea-oci (a link to usnea), the program has only this command line. The states of containers are stored in
/// --root, by default $XDG_RUNTIME_DIR/usnea-oci.
///
/// Root, also of a user namespace such as podman's, may run a config.json without a user namespace; any other user
/// needs one. podman passes --cgroups=disabled only to runtimes of runtime_supports_nocgroup in containers.conf(5).
#[derive(clap::Args)]
pub struct Arguments {
    /// File for errors.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Format of the errors in the file of --log.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Print the steps of a launch on standard error, like --log-level debug.
    #[arg(long)]
    debug: bool,

    /// Use the user's systemd as cgroup manager: cgroupsPath is SLICE:PREFIX:NAME.
    #[arg(long)]
    systemd_cgroup: bool,

    /// Cgroup manager.
    #[arg(long, value_enum, value_name = "MANAGER", default_value_t = ManagerFlag::Cgroupfs)]
    cgroup_manager: ManagerFlag,

    /// Ignore errors when the cgroup of a container without limits cannot be created: yes with auto and true, no with
    /// false.
    #[arg(long, value_enum, value_name = "VALUE", default_value_t = RootlessFlag::Auto)]
    rootless: RootlessFlag,

    /// Print the versions of the program and of the specification.
    #[arg(short, long, id = "oci-version")]
    version: bool,

    #[command(subcommand)]
    command: Option<OciCommand>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum ManagerFlag {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Clone, Copy, ValueEnum)]
enum RootlessFlag {
    Auto,
    True,
    False,
}

#[derive(Subcommand)]
enum OciCommand {
    /// Create a container from a bundle; its command waits for start.
    Create(Late<create::CreateArguments>),
    /// Start the command of a created container.
    Start(Late<life::StartArguments>),
    /// Show the state of a container.
    State(Late<show::StateArguments>),
    /// Send a signal to a container.
    Kill(Late<life::KillArguments>),
    /// Delete a container that has stopped.
    Delete(Late<life::DeleteArguments>),
    /// Create a container from a bundle and start it.
    Run(Late<create::RunArguments>),
    /// Run another command in a running container.
    Exec(Late<exec::ExecArguments>),
    /// List the containers.
    List(Late<show::OciListArguments>),
    /// Show the processes of a container.
    Ps(Late<show::PsArguments>),
    /// Freeze a container.
    Pause(Late<resources::OciPauseArguments>),
    /// Thaw a container.
    Resume(Late<resources::ResumeArguments>),
    /// Change the limits of a container.
    Update(Late<resources::UpdateArguments>),
    /// Show statistics of a container.
    Events(Late<resources::EventsArguments>),
    /// Show the features of this runtime.
    Features(Late<show::FeaturesArguments>),
    /// Write a config.json template.
    Spec(Late<show::SpecArguments>),
    /// Not supported: checkpointing a container needs root.
    Checkpoint(Late<show::CheckpointArguments>),
    /// Not supported: restoring a container needs root.
    Restore(Late<show::CheckpointArguments>),
}

/// Turns the words of the program `usnea-oci` into those of `usnea oci`.
pub fn as_program(words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().and_then(|word| Path::new(word).file_name());
    if name.is_none_or(|name| name != PROGRAM) {
        return words;
    }
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    [program, "oci".into()].into_iter().chain(words).collect()
}

/// Runs the command; returns its exit status. An error goes to the file of `--log` too.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let (log, format) = (arguments.log.clone(), arguments.log_format);
    carry_out(arguments, usnea).map_err(|error| {
        if let Some(Err(failed)) = log.map(|path| write_error(&path, format, &error)) {
            log::warn!("{failed}");
        }
        error.exit_status(FAILURE)
    })
}

fn carry_out(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.debug {
        log::set_max_level(log::LevelFilter::Debug);
    }
    if arguments.version {
        let version = env!("CARGO_PKG_VERSION");
        return print(&format!("{PROGRAM} version {version}\nspec: {SPEC_VERSION}\n"));
    }
    let mut runtime = Runtime::new(usnea.root())?;
    runtime.cgroup_manager = match arguments.cgroup_manager {
        _ if arguments.systemd_cgroup => CgroupManager::Systemd,
        ManagerFlag::Cgroupfs => CgroupManager::Cgroupfs,
        ManagerFlag::Systemd => CgroupManager::Systemd,
        ManagerFlag::Disabled => CgroupManager::Disabled,
    };
    runtime.rootless = match arguments.rootless {
        RootlessFlag::Auto | RootlessFlag::True => Rootless::Yes,
        RootlessFlag::False => Rootless::No,
    };
    let Some(command) = arguments.command else {
        return Err(Error::invalid("no command given").hint("try 'usnea oci --help'"));
    };
    match command {
        OciCommand::Create(Late(create)) => create::create(create, &runtime),
        OciCommand::Start(Late(start)) => life::start(&start, &runtime),
        OciCommand::State(Late(state)) => show::state(&state, &runtime),
        OciCommand::Kill(Late(kill)) => life::kill(&kill, &runtime),
        OciCommand::Delete(Late(delete)) => life::delete(&delete, &runtime),
        OciCommand::Run(Late(run)) => create::run(run, &runtime),
        OciCommand::Exec(Late(exec)) => exec::run(exec, &runtime),
        OciCommand::List(Late(list)) => show::list(&list, &runtime),
        OciCommand::Ps(Late(ps)) => show::ps(&ps, &runtime),
        OciCommand::Pause(Late(pause)) => resources::pause(&pause, &runtime),
        OciCommand::Resume(Late(resume)) => resources::resume(&resume, &runtime),
        OciCommand::Update(Late(update)) => resources::update(&update, &runtime),
        OciCommand::Events(Late(events)) => resources::events(&events, &runtime),
        OciCommand::Features(Late(_)) => show::features(),
        OciCommand::Spec(Late(spec)) => show::spec(&spec),
        OciCommand::Checkpoint(Late(_)) | OciCommand::Restore(Late(_)) => show::checkpoint(),
    }
}

/// Appends an error to a log, as runc writes it.
fn write_error(path: &Path, format: LogFormat, error: &Error) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Entry<'a> {
        level: &'a str,
        msg: &'a str,
        time: &'a str,
    }
    let (message, time) = (error.to_string(), jiff::Timestamp::now().to_string());
    let line = match format {
        LogFormat::Json => {
            let entry = Entry { level: "error", msg: &message, time: &time };
            serde_json::to_string(&entry)
                .map_err(std::io::Error::from)
                .context(|| "cannot write JSON")?
        }
        LogFormat::Text => format!("time={time:?} level=error msg={message:?}"),
    };
    let mut options = std::fs::OpenOptions::new();
    let file = options.append(true).create(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.context(|| path.display().to_string())
}

/// Descriptors for a command beside the standard streams: those of socket activation, then `--preserve-fds`.
struct Inherited {
    count: u32,
    sockets: Option<ListenSockets>,
}

impl Inherited {
    /// Closes all other descriptors at exec. Must be called before any open. Errors: one is not open.
    fn keep(preserved: u32) -> Result<Self> {
        let sockets = ListenSockets::of_environment()?;
        let listening = sockets.as_ref().map_or(0, |sockets| sockets.count);
        let count = listening.saturating_add(preserved);
        fd::close_all_at_exec(3..3_i32.saturating_add_unsigned(count)).map_err(
            |(number, error)| {
                Error::from(error).within(format!("descriptor {number}")).within("--preserve-fds")
            },
        )?;
        Ok(Self { count, sockets })
    }
}

fn block_signals() -> Result<Signals> {
    Signals::block(&forwarded()).context(|| "cannot block signals")
}

/// Session keyring by `--no-new-keyring`.
fn keyring(arguments: &KeyringFlag) -> SessionKeyring {
    match arguments.no_new_keyring {
        true => SessionKeyring::Callers,
        false => SessionKeyring::New,
    }
}

#[derive(clap::Args)]
struct KeyringFlag {
    /// Keep the caller's session keyring.
    #[arg(long)]
    no_new_keyring: bool,
}
