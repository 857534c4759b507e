//! Completion of command lines. The shells' scripts are a few lines each: at a TAB they run `usnea __complete AT
//! WORD...`. The answer is a line for each candidate, `VALUE` or `VALUE<TAB>HELP`. So commands and flags are always
//! those of this program, and names those of the store.
//!
//! The name of an argument in the help tells its kind: CONTAINER, IMAGE, NETWORK, SECRET, VOLUME.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

use crate::cli::output::print;
use crate::config;
use crate::container::stores::Stores;
use crate::container::{self, Usnea};
use crate::documents::text::Truncation;
use crate::error::Result;

/// Command word of the scripts' question.
const ASK: &str = "__complete";

/// Print a completion script for a shell
///
/// For bash: usnea completion bash > ~/.local/share/bash-completion/completions/usnea
///
/// For fish: usnea completion fish > ~/.config/fish/completions/usnea.fish
///
/// For zsh, with a folder of $fpath: usnea completion zsh > ~/.zfunc/_usnea
#[derive(clap::Args)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Shells that there is a script for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU bash
    Bash,
    /// fish
    Fish,
    /// zsh
    Zsh,
}

/// Prints the completion script of a shell.
pub fn run(arguments: &Arguments) -> Result<u8> {
    print(match arguments.shell {
        Shell::Bash => include_str!("../../../packaging/completions/usnea.bash"),
        Shell::Fish => include_str!("../../../packaging/completions/usnea.fish"),
        Shell::Zsh => include_str!("../../../packaging/completions/_usnea"),
    })
}

/// Answers a completion script, if this process was run by one. Logs nothing: the terminal shows the user's prompt.
pub fn as_completer(grammar: impl FnOnce() -> Command) -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != ASK {
        return None;
    }
    let at = words.next()?.to_str()?.parse().ok()?;
    let words: Vec<OsString> = words.collect();
    let text = answer(grammar(), words, at);
    // Without a reader, the answer is not needed.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Some(ExitCode::SUCCESS)
}

fn answer(grammar: Command, words: Vec<OsString>, at: usize) -> String {
    let root = root_of(&words);
    let is_flag = words.get(at).is_some_and(|word| word.to_string_lossy().starts_with('-'));
    let mut command = with_names(grammar, &NameStore { root }, StateFilter::Any);
    let candidates = complete(&mut command, words, at, None).unwrap_or_default();
    let mut text = String::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let Some(value) = candidate.get_value().to_str().filter(|value| is_plain(value)) else {
            continue;
        };
        // Flags, where the user typed no hyphen, only hide the names.
        if value.starts_with('-') && !is_flag {
            continue;
        }
        text += value;
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            let first = help.lines().next().unwrap_or_default();
            text += &format!("\t{}", first.replace(char::is_control, " "));
        }
        text.push('\n');
    }
    text
}

/// True if a shell takes the word literally: no other word is offered.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@=+,-".contains(&byte);
    !value.is_empty() && value.bytes().all(plain)
}

/// Returns the `--root` of the typed words.
fn root_of(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str().and_then(|word| word.strip_prefix("--root")) {
            Some("") => return words.next().map(PathBuf::from),
            Some(value) if value.starts_with('=') => return Some(PathBuf::from(&value[1..])),
            _ => {}
        }
    }
    None
}

/// State of the containers that a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StateFilter {
    Any,
    Running,
    Stopped,
}

/// Place of the names, as the typed command line has it.
#[derive(Clone)]
struct NameStore {
    root: Option<PathBuf>,
}

/// Returns the grammar, with candidates for arguments that are names.
fn with_names(command: Command, store: &NameStore, state: StateFilter) -> Command {
    let command = command.mut_args(|arg| with_candidates(arg, store, state));
    let names: Vec<String> =
        command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let state = match name.as_str() {
            "attach" | "exec" | "kill" | "pause" | "stop" | "top" => StateFilter::Running,
            "start" => StateFilter::Stopped,
            _ => StateFilter::Any,
        };
        command.mut_subcommand(name, |below| with_names(below, store, state))
    })
}

fn with_candidates(arg: Arg, store: &NameStore, state: StateFilter) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    let store = store.clone();
    match name.as_deref() {
        Some("CONTAINER") => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| containers(&store, typed, state)))
        }
        Some("IMAGE") => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| images(&store, typed)))
        }
        Some("NETWORK") => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| networks(&store, typed)))
        }
        Some("POD") => arg.add(ArgValueCompleter::new(move |typed: &OsStr| pods(&store, typed))),
        Some("VOLUME") => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| volumes(&store, typed)))
        }
        Some(name) if name == "SECRET" || name.starts_with("SECRET[") => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| secrets(&store, typed)))
        }
        Some("NAME") if arg.get_id() == "names" => {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
                let containers = containers(&store, typed, StateFilter::Any);
                containers.into_iter().chain(images(&store, typed)).collect()
            }))
        }
        // Files are left to the shell, which knows how to quote their names.
        _ if arg.get_value_hint() == ValueHint::AnyPath => arg.value_hint(ValueHint::Other),
        _ => arg,
    }
}

fn store_path(store: &NameStore) -> Option<PathBuf> {
    config::store_path(store.root.as_deref()).ok()
}

fn usnea_of(store: &NameStore) -> Option<Usnea> {
    Some(Usnea::new(Some(store_path(store)?)))
}

/// Returns the names that begin with the typed text.
fn beginning(names: impl Iterator<Item = String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let fitting = names.filter(|name| name.starts_with(&*typed));
    fitting.map(CompletionCandidate::new).collect()
}

/// True if the text may be the beginning of an ID, which users complete only after a first digit.
fn is_id(typed: &OsStr) -> bool {
    !typed.is_empty() && typed.to_string_lossy().bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn containers(store: &NameStore, typed: &OsStr, state: StateFilter) -> Vec<CompletionCandidate> {
    let Some(usnea) = usnea_of(store) else { return Vec::new() };
    let is_offered = |container: &container::Container| match state {
        StateFilter::Any => true,
        StateFilter::Running => container.status().is_ok_and(|status| status.is_running()),
        StateFilter::Stopped => container.status().is_ok_and(|status| !status.is_running()),
    };
    let all = container::all(&usnea).unwrap_or_default();
    let names = all.iter().filter(|container| is_offered(container)).flat_map(|container| {
        let id = is_id(typed).then(|| container.short_id().to_owned());
        [Some(container.record.name.clone()), id].into_iter().flatten()
    });
    beginning(names, typed)
}

fn images(store: &NameStore, typed: &OsStr) -> Vec<CompletionCandidate> {
    let stores = store_path(store)
        .and_then(|path| Some(Stores::look(&path, &config::Settings::load().ok()?)));
    let mut names = Vec::new();
    for store in stores.iter().flat_map(Stores::all) {
        for image in store.images().iter().flat_map(|images| images.all()) {
            for name in image.names.iter().map(|name| name.familiar()) {
                // An image that was made here is found without `localhost/` too.
                let short = name.strip_prefix("localhost/").map(str::to_owned);
                names.extend((short.is_none() || !typed.is_empty()).then_some(name));
                names.extend(short);
            }
            names.extend(is_id(typed).then(|| image.config.short().to_owned()));
        }
    }
    names.sort();
    names.dedup();
    beginning(names.into_iter(), typed)
}

fn networks(store: &NameStore, typed: &OsStr) -> Vec<CompletionCandidate> {
    let all = usnea_of(store).and_then(|usnea| container::networks::list(&usnea, &[]).ok());
    let all = all.unwrap_or_default();
    let names = all.iter().flat_map(|network| {
        let id = is_id(typed).then(|| network.row(Truncation::On).id);
        [Some(network.name().to_owned()), id].into_iter().flatten()
    });
    beginning(names, typed)
}

fn pods(store: &NameStore, typed: &OsStr) -> Vec<CompletionCandidate> {
    let all = usnea_of(store).and_then(|usnea| container::pods::all(&usnea).ok());
    let all = all.unwrap_or_default();
    let names = all.iter().flat_map(|pod| {
        let id = is_id(typed).then(|| pod.short_id().to_owned());
        [Some(pod.record.name.clone()), id].into_iter().flatten()
    });
    beginning(names, typed)
}

fn secrets(store: &NameStore, typed: &OsStr) -> Vec<CompletionCandidate> {
    let all = store_path(store).and_then(|path| container::secrets::all(&path).ok());
    let names = all.iter().flatten().map(|secret| secret.name.to_string());
    beginning(names, typed)
}

fn volumes(store: &NameStore, typed: &OsStr) -> Vec<CompletionCandidate> {
    let folder = store_path(store).map(|path| path.join("volumes"));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().is_dir());
    beginning(names.filter_map(|entry| entry.file_name().into_string().ok()), typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let at = words.len() - 1;
        let text = answer(crate::cli::command(), words, at);
        text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_and_flags_are_those_of_the_grammar() {
        assert_eq!(answered("usnea vers"), ["version"]);
        assert_eq!(answered("usnea image pru"), ["prune"]);
        assert!(answered("usnea rm --fo").contains(&"--force".to_owned()));
        assert_eq!(answered("usnea --log-level d"), ["debug"]);
        assert_eq!(answered("usnea nope x"), Vec::<String>::new());
        // Without a typed hyphen, no flag is offered.
        assert!(answered("usnea ").iter().all(|word| !word.starts_with('-')));
    }

    #[test]
    fn the_root_of_what_was_typed_counts() {
        let of = |line: &str| root_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("usnea --root /a rm"), Some("/a".into()));
        assert_eq!(of("usnea rm --root=/b"), Some("/b".into()));
        assert_eq!(of("usnea rm --rooted"), None);
    }

    #[test]
    fn names_that_a_shell_would_misread_are_not_offered() {
        for odd in ["", "a b", "$(x)", "a\nb", "é", "*", "'"] {
            assert!(!is_plain(odd), "{odd}");
        }
        assert!(is_plain("docker.io/library/a-b_c:1.2@sha256:00"));
    }
}
