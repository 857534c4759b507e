//! Command line: groups of flags in `flags`, a file for each command in `verbs`, all that prints in `output`. This module
//! parses, reports errors, and sets the exit status; `container` makes all decisions.

mod flags;
mod grammar;
mod help;
pub mod late;
mod output;
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::container::{Usnea, roles};
use crate::engine::ListenSockets;
use crate::error::{self, Error, STATUS_OURS};
use crate::sys::signal;

use output::{streams, table};
use verbs::{TopLevelCommand, completion};

/// Run containers without root: no daemon, no setuid program, no leftovers.
#[derive(Parser)]
#[command(
    name = "usnea",
    arg_required_else_help = true,
    after_help = "The overview in the manual is usnea(7); it lists the guides."
)]
struct Arguments {
    #[command(flatten)]
    global: GlobalFlags,

    #[command(subcommand)]
    command: TopLevelCommand,
}

// Flags of every command, and the settings of the whole grammar. No documentation comment: clap would take that for the
// summary of the program.
#[derive(Parser)]
#[command(
    name = "usnea",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct GlobalFlags {
    /// Directory of the store. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea. For oci: directory of the containers' states.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Log level of messages on standard error; debug prints each step of a launch with its time.
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Warn)]
    log_level: LogLevel,

    /// Print the version.
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: (),
}

#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
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
    parse_once(&grammar::normalize(words, Arguments::command)).map(drop)
}

/// Parses the command line of this process. The grammar is never freed: of a command's few milliseconds, that alone
/// would take fifty microseconds.
fn parse_once(words: &[OsString]) -> std::result::Result<Arguments, clap::Error> {
    let grammar = Box::leak(Box::new(grammar_of(words)));
    let mut matches = grammar.try_get_matches_from_mut(words)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(grammar))
}

/// Returns the grammar for a command line: that of a single command where the line begins with one. clap copies the
/// global flags into each command that its grammar has.
fn grammar_of(words: &[OsString]) -> clap::Command {
    let mut whole = Arguments::command();
    let verb = words.get(1).and_then(|word| word.to_str());
    let Some(found) = verb.and_then(|verb| whole.find_subcommand_mut(verb)) else { return whole };
    GlobalFlags::command().subcommand(std::mem::take(found))
}

/// Runs the program; returns its exit status.
pub fn main() -> ExitCode {
    if let Some(ended) = roles::run_if_any() {
        return ended;
    }
    if let Some(ended) = completion::as_completer(command) {
        return ended;
    }
    let words = verbs::quadlet::as_generator(std::env::args_os().collect());
    let words = verbs::oci::as_program(words);
    let words = grammar::normalize(words, Arguments::command);
    let arguments = match parse_once(&words) {
        Ok(arguments) => arguments,
        Err(error) => return report_parse_error(&error, &words),
    };
    start_log(arguments.global.log_level);
    signal::set_default(&[libc::SIGCHLD]);
    let ran = ListenSockets::of_process(std::process::id()).and_then(|sockets| {
        let usnea = Usnea::new(arguments.global.root).with_streams(streams::of_process());
        arguments.command.run(&usnea.with_sockets(sockets))
    });
    match ran {
        Ok(status) => {
            end_as_units_command(status);
            ExitCode::from(status)
        }
        Err(error) => report(&error),
    }
}

/// Ends by a signal of systemd, as the container did. systemd counts the end by its own signal as clean, but a status
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
        return report(&Error::invalid(format!("{}: not UTF-8", odd.display())));
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
    let error = Error::invalid(whole.trim());
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
    log::debug!("error of kind {:?} (HTTP status {})", error.kind(), error.kind().http_status());
    let mut stderr = anstream::stderr().lock();
    // Standard error may be closed; the status still reports the failure.
    let _ = writeln!(stderr, "usnea: {}", table::escape_lines(&error.to_string()));
    // Without a more specific hint, the hint for the error number in this process.
    let kernel_hint = || error.errno().and_then(crate::host::userns::refused_hint);
    if let Some(hint) = error.hint_text().map(str::to_owned).or_else(kernel_hint) {
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
