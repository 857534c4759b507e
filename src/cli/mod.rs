//! Command line: clap, a file for each command, tables and JSON. The modules below make all decisions; this one parses,
//! prints, and sets the exit status.

mod activation;
mod check;
mod complete;
mod container;
mod doctor;
mod events;
mod flags;
pub mod format;
mod grammar;
mod help;
mod image;
pub mod late;
mod login;
mod logout;
mod manifest;
mod mount;
mod output;
mod run;
mod spec;
mod streams;
mod system;
mod unshare;
mod version;
mod volume;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::container::{Usnea, roles};
use crate::error::{self, Error, Result, STATUS_OURS};
use crate::sys::signal;

use container::{ContainerVerb, NameScope};
use image::ImageVerb;
use late::Late;
use output::table;

/// Run containers without root: no daemon, no setuid program, and nothing stays behind.
#[derive(Parser)]
#[command(
    name = "usnea",
    version,
    disable_version_flag = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "The overview in the manual is usnea(7); it lists the guides."
)]
#[command(args_override_self = true)]
struct Arguments {
    /// Directory of the store. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Log level of messages on standard error; debug prints each step of a launch with its time.
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Warn)]
    log_level: LogLevel,

    /// Print the version.
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: (),

    #[command(subcommand)]
    command: TopLevelCommand,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Subcommand)]
#[command(
    mut_subcommand("inspect", |inspect: clap::Command| {
        inspect.about("Show detailed information on containers, images and volumes")
    }),
    mut_subcommand("export", |export: clap::Command| {
        export.about("Export the file system of a container, or of an image, as a tar archive")
    })
)]
enum TopLevelCommand {
    #[command(flatten)]
    ContainerVerb(ContainerVerb),
    #[command(flatten)]
    ImageVerb(ImageVerb),
    /// Manage containers.
    Container(Late<container::Arguments>),
    /// Manage health checks of containers.
    Healthcheck(Late<container::healthcheck::Arguments>),
    /// Show events of containers, images and volumes.
    Events(Late<events::Arguments>),
    /// Print the OCI runtime config.json of a container that run would start.
    Spec(Late<Box<spec::Arguments>>),
    /// Manage images.
    Image(Late<image::Arguments>),
    /// List images.
    Images(Late<image::list::Arguments>),
    /// Manage manifest lists: one name for images of several platforms.
    Manifest(Late<manifest::Arguments>),
    /// Remove images.
    Rmi(Late<image::remove::Arguments>),
    /// Run a command in the user namespace of the containers.
    Unshare(Late<unshare::Arguments>),
    /// Manage volumes.
    Volume(Late<volume::Arguments>),
    /// Show information on this machine and on the store.
    Info(Late<system::info::Arguments>),
    /// Show the version.
    Version(Late<version::Arguments>),
    /// Manage the store.
    System(Late<system::Arguments>),
    /// Verify the store and repair it.
    Check(Late<check::Arguments>),
    /// Log in to a registry.
    Login(Late<login::Arguments>),
    /// Log out of a registry.
    Logout(Late<logout::Arguments>),
    /// Mount a file system of usnea.
    Mount(Late<mount::Arguments>),
    /// Print a completion script for a shell.
    Completion(Late<complete::Arguments>),
    /// Check what containers need on this machine, and show how to install what is missing.
    Doctor(Late<doctor::Arguments>),
}

/// Returns the whole grammar, for man pages and completions.
pub fn command() -> clap::Command {
    grammar::split_words(with_help())
}

fn with_help() -> clap::Command {
    let mut command = Arguments::command();
    command.build();
    help::complete(command)
}

/// Parses a command line as the program does, and runs nothing.
pub fn parse(words: Vec<OsString>) -> std::result::Result<(), clap::Error> {
    Arguments::try_parse_from(grammar::normalize(words, Arguments::command)).map(drop)
}

/// Runs the program; returns its exit status.
pub fn main() -> ExitCode {
    if let Some(ended) = roles::run_if_any() {
        return ended;
    }
    if let Some(ended) = complete::as_completer(command) {
        return ended;
    }
    let words = grammar::normalize(std::env::args_os().collect(), Arguments::command);
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return report_parse_error(&error, &words),
    };
    start_log(arguments.log_level);
    signal::set_default(&[libc::SIGCHLD]);
    match run_command(
        arguments.command,
        &Usnea::new(arguments.root).with_streams(streams::of_process()),
    ) {
        Ok(status) => {
            end_as_units_command(status);
            ExitCode::from(status)
        }
        Err(error) => report(&error),
    }
}

/// Ends by a signal of systemd, as the container did. systemd counts the end by its own signal as clean, and a status
/// of 143 as a failure. So this is for usnea as a unit's command alone (SYSTEMD_EXEC_PID, systemd.exec(5)); to a shell
/// both are 143.
fn end_as_units_command(status: u8) {
    let signal = i32::from(status) - 128;
    let is_clean = matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGTERM);
    let is_units = || {
        let pid = std::env::var("SYSTEMD_EXEC_PID");
        pid.is_ok_and(|pid| pid == std::process::id().to_string())
    };
    if is_clean && signal::was_heard(signal) && is_units() {
        signal::end_by(signal);
    }
}

fn run_command(command: TopLevelCommand, usnea: &Usnea) -> Result<u8> {
    match command {
        TopLevelCommand::ContainerVerb(verb) => verb.run(usnea, NameScope::All),
        TopLevelCommand::ImageVerb(verb) => verb.run(usnea),
        TopLevelCommand::Container(Late(container)) => container::run(container, usnea),
        TopLevelCommand::Healthcheck(Late(check)) => container::healthcheck::run(&check, usnea),
        TopLevelCommand::Events(Late(events)) => events::run(&events, usnea),
        TopLevelCommand::Spec(Late(spec)) => spec::run(*spec, usnea),
        TopLevelCommand::Image(Late(image)) => image::run(image, usnea),
        TopLevelCommand::Images(Late(list)) => image::list::run(list, usnea),
        TopLevelCommand::Manifest(Late(manifest)) => manifest::run(manifest, usnea),
        TopLevelCommand::Rmi(Late(remove)) => image::remove::run(&remove, usnea),
        TopLevelCommand::Unshare(Late(unshare)) => unshare::run(&unshare, usnea),
        TopLevelCommand::Volume(Late(volume)) => volume::run(volume, usnea),
        TopLevelCommand::Info(Late(info)) => system::info::run(&info, usnea),
        TopLevelCommand::Version(Late(version)) => version::run(&version),
        TopLevelCommand::System(Late(system)) => system::run(system, usnea),
        TopLevelCommand::Check(Late(check)) => check::run(&check, usnea),
        TopLevelCommand::Login(Late(login)) => login::run(login),
        TopLevelCommand::Logout(Late(logout)) => logout::run(logout),
        TopLevelCommand::Mount(Late(mount)) => mount::run(mount),
        TopLevelCommand::Completion(Late(completion)) => complete::run(&completion),
        TopLevelCommand::Doctor(Late(doctor)) => {
            signal::set_default(&[libc::SIGPIPE]);
            doctor::run(&doctor, usnea)
        }
    }
}

/// Reports a clap error: help and version on standard output, with status 0; else a single line, with docker's status
/// for our own errors.
fn report_parse_error(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let missing = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.kind() == ErrorKind::DisplayVersion {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelp || error.kind() == missing {
        let again = with_help().try_get_matches_from(words);
        let _ = again.as_ref().err().unwrap_or(error).print();
        return ExitCode::from(if error.kind() == missing { STATUS_OURS } else { 0 });
    }
    if let Some(odd) = words.iter().find(|word| word.to_str().is_none())
        && error.kind() == ErrorKind::InvalidUtf8
    {
        return report(&Error::new(format!("{}: not UTF-8", odd.display())));
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    // "the following required arguments were not provided:" is followed by their names.
    let more: Vec<&str> = match message.ends_with(':') {
        true => text.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect(),
        false => Vec::new(),
    };
    // A tip about a similar verb helps. A tip about a similar flag misleads: --gpus is not --cpus.
    let tips = || text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let tip = tips().find(|tip| tip.contains("similar subcommand"));
    let whole = [message, &more.join(" ")].join(" ");
    let error = Error::new(whole.trim());
    report(&error.hint(tip.map_or_else(|| help_hint(words), str::to_owned)))
}

/// Returns the hint at the verb's help, if the line begins with a verb.
fn help_hint(words: &[OsString]) -> String {
    let grammar = Arguments::command();
    let verb = words.get(1).and_then(|word| word.to_str());
    let verb = verb.filter(|word| grammar.find_subcommand(word).is_some());
    format!("try 'usnea {}--help'", verb.map(|verb| format!("{verb} ")).unwrap_or_default())
}

fn report(error: &Error) -> ExitCode {
    if error.kind() == error::ErrorKind::Unread {
        return ExitCode::from(error.status());
    }
    let mut stderr = anstream::stderr().lock();
    // Standard error may be closed; the status still reports the failure.
    let _ = writeln!(stderr, "usnea: {}", table::escape_lines(&error.to_string()));
    // Without a more specific hint, the hint for the error number in this process.
    let kernel_hint = || error.errno().and_then(crate::host::userns::refused_hint);
    if let Some(hint) = error.way_out().map(str::to_owned).or_else(kernel_hint) {
        let _ = writeln!(stderr, "hint: {}", table::escape_lines(&hint));
    }
    ExitCode::from(error.status())
}

fn start_log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .format(|to, record| {
            let word = match record.level() {
                log::Level::Error => "error: ",
                log::Level::Warn => "warning: ",
                _ => "",
            };
            writeln!(to, "usnea: {word}{}", table::escape_lines(&record.args().to_string()))
        })
        .init();
}
