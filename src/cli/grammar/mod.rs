//! Grammar of docker's command line, for every verb at once, where clap's differs from it:
//!
//! - `--flag=BOOL` is accepted by every flag; `--flag=false` means the same as a line without the flag.
//! - `--option=` and `--option ''` mean the same as a line without the option, unless the option is a number.
//! - An option takes the word after it, even one with a hyphen: `-m '- a list'`, `--memory-swap -1`.
//! - A flag or option may be repeated; of an option with one value the last one counts (`args_override_self` in `cli`).
//!
//! Verbs define where options end: at the first word without a hyphen where a command follows (`trailing_var_arg`),
//! else at `--`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command, Id};

/// Name of the value of a switch in the help.
const SWITCH: &str = "BOOL";

/// Value names of numbers: an empty word is an error for them, as in docker.
const NUMBERS: [&str; 8] =
    ["BYTES", "N", "SECONDS", "MICROSECONDS", "SHARES", "WEIGHT", "SCORE", "OCTAL"];

/// Options with their own meaning for an empty value, or for which a forgotten value must be an error.
const EMPTY_HAS_MEANING: [&str; 5] =
    ["entrypoint", "root", "container_prefix", "pod_prefix", "separator"];

/// ID of a list of words that begins with a name, and goes on with a command.
const WORDS: &str = "words";

/// Lets every option of `command` take a word that begins with a hyphen.
pub fn allow_hyphens(command: Command) -> Command {
    command.mut_args(|arg| match is_option(&arg) && arg.get_num_args().is_none() {
        true => arg.allow_hyphen_values(true),
        false => arg,
    })
}

/// Splits the list of words of `run`, `exec` and their like for the help: the first word is a name, the others belong
/// to a command.
pub fn split_words(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command =
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, split_words));
    let Some(list) = command.get_positionals().find(|arg| arg.get_id() == WORDS) else {
        return command;
    };
    let names = list.get_value_names().unwrap_or_default().to_vec();
    let rest = Arg::new("rest").index(2).num_args(0..).trailing_var_arg(true);
    let rest = rest.allow_hyphen_values(true).action(ArgAction::Append);
    let rest = rest.value_names(names.get(1)).help("Its words");
    let first = |arg: Arg| {
        arg.num_args(1).trailing_var_arg(false).action(ArgAction::Set).value_names(names.first())
    };
    command.mut_arg(WORDS, first).arg(rest)
}

/// Rewrites the parts of a command line that clap would read otherwise than docker. A line without such parts, the
/// usual one, returns at once: `grammar` is then not called.
pub fn normalize(words: Vec<OsString>, grammar: impl FnOnce() -> Command) -> Vec<OsString> {
    match words.iter().skip(1).any(|word| is_special(word)) {
        true => CommandLine::new(words).read(&mut grammar()),
        false => words,
    }
}

/// True if the word may be an empty value, or a flag with a word for yes or no.
fn is_special(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    if bytes.first() != Some(&b'-') {
        return bytes.is_empty();
    }
    let value = bytes.iter().position(|byte| *byte == b'=').map(|at| &bytes[at + 1..]);
    value.is_some_and(|value| value.is_empty() || switch(value).is_some())
}

/// Parses docker's words for yes and no (Go's strconv.ParseBool).
fn switch(value: &[u8]) -> Option<bool> {
    std::str::from_utf8(value).ok().and_then(|value| crate::spec::parse_switch(value).ok())
}

fn is_option(arg: &Arg) -> bool {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    takes_value && !arg.is_positional() && !is_switch(arg)
}

/// True for a flag whose value, behind an equals sign, is yes or no: its default is not no. The value of another option
/// may be optional too.
fn is_switch(arg: &Arg) -> bool {
    arg.is_require_equals_set() && arg.get_value_names().is_some_and(|names| names == [SWITCH])
}

fn may_be_empty(arg: &Arg) -> bool {
    let mut names = arg.get_value_names().into_iter().flatten();
    !matches!(arg.get_action(), ArgAction::Append)
        && !EMPTY_HAS_MEANING.contains(&arg.get_id().as_str())
        && !names.any(|name| NUMBERS.contains(&name.as_str()))
}

/// Name of a flag or option in a word: `--long` or `-s`.
#[derive(Clone, Copy)]
enum FlagName<'a> {
    Long(&'a [u8]),
    Short(char),
}

impl FlagName<'_> {
    fn is_of(self, arg: &Arg) -> bool {
        match self {
            Self::Long(name) => {
                let aliases = arg.get_all_aliases().unwrap_or_default();
                arg.get_long().into_iter().chain(aliases).any(|long| long.as_bytes() == name)
            }
            Self::Short(name) => {
                let aliases = arg.get_all_short_aliases().unwrap_or_default();
                arg.get_short().into_iter().chain(aliases).any(|short| short == name)
            }
        }
    }

    fn with(self, value: &[u8]) -> OsString {
        let mut word = match self {
            Self::Long(name) => [b"--", name].concat(),
            Self::Short(name) => format!("-{name}").into_bytes(),
        };
        word.extend(value);
        OsStr::from_bytes(&word).to_owned()
    }
}

/// Command line during its reading: the words before `at` are done.
struct CommandLine {
    words: Vec<OsString>,
    at: usize,
    /// Words of the new line, each with its flag or option.
    done: Vec<(Option<Id>, OsString)>,
}

impl CommandLine {
    fn new(words: Vec<OsString>) -> Self {
        Self { words, at: 0, done: Vec::new() }
    }

    fn next(&mut self) -> Option<OsString> {
        let word = self.words.get_mut(self.at).map(std::mem::take);
        self.at += 1;
        word
    }

    fn read(mut self, root: &mut Command) -> Vec<OsString> {
        let globals: Vec<Arg> =
            root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
        let program = self.next().unwrap_or_default();
        self.done.push((None, program));
        let mut command = root;
        while let Some(word) = self.next() {
            let bytes = word.as_bytes();
            let find = |name: FlagName| {
                let all = command.get_arguments().chain(&globals);
                all.into_iter().find(|arg| name.is_of(arg)).cloned()
            };
            let is_known = match bytes {
                b"--" => false,
                [b'-', b'-', long @ ..] => self.long(long, &find),
                [b'-', shorts @ ..] if !shorts.is_empty() => self.shorts(shorts, &find),
                _ => {
                    self.done.push((None, word.clone()));
                    let below =
                        word.to_str().filter(|name| command.find_subcommand(name).is_some());
                    if let Some(name) = below {
                        command = command.find_subcommand_mut(name).expect("it was found");
                        command.build();
                        continue;
                    }
                    let ends = |arg: &Arg| arg.is_trailing_var_arg_set();
                    if command.get_positionals().any(ends) {
                        break;
                    }
                    true
                }
            };
            if !is_known {
                self.done.push((None, word));
                break;
            }
        }
        let rest = self.words.split_off(self.at.min(self.words.len()));
        self.done.into_iter().map(|(_, word)| word).chain(rest).collect()
    }

    /// Takes `--long` or `--long=VALUE`. False: an unknown flag.
    fn long(&mut self, text: &[u8], find: &impl Fn(FlagName) -> Option<Arg>) -> bool {
        let mut parts = text.splitn(2, |byte| *byte == b'=');
        let name = FlagName::Long(parts.next().unwrap_or_default());
        let Some(arg) = find(name) else { return false };
        self.take(&arg, name, parts.next());
        true
    }

    /// Takes `-a`, `-abc`, `-oVALUE`, `-o=VALUE`, `-ab=BOOL`. False: a letter is no flag.
    fn shorts(&mut self, text: &[u8], find: &impl Fn(FlagName) -> Option<Arg>) -> bool {
        let letters = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let mut found = Vec::new();
        for (at, letter) in text[..letters].iter().enumerate() {
            let name = FlagName::Short(char::from(*letter));
            let Some(arg) = find(name) else { return false };
            let rest = &text[at + 1..];
            let value = match rest.strip_prefix(b"=") {
                Some(value) => Some(value),
                None if is_option(&arg) && !rest.is_empty() => Some(rest),
                None => None,
            };
            let is_last = value.is_some();
            found.push((arg, name, value));
            if is_last {
                break;
            }
        }
        for (arg, name, value) in found {
            self.take(&arg, name, value);
        }
        letters > 0
    }

    fn take(&mut self, arg: &Arg, name: FlagName, value: Option<&[u8]>) {
        let Some(value) = value else { return self.take_alone(arg, name) };
        let with_value = |value: &[u8]| name.with(&[b"=", value].concat());
        match switch(value) {
            Some(is_on) if is_switch(arg) => {
                self.put(arg, with_value(if is_on { b"true" } else { b"false" }));
            }
            Some(true) if !is_option(arg) => self.put(arg, name.with(b"")),
            Some(false) if !is_option(arg) => self.forget(arg),
            _ if value.is_empty() && is_option(arg) && may_be_empty(arg) => self.forget(arg),
            _ => self.put(arg, with_value(value)),
        }
    }

    /// Takes a flag, or an option whose value is the next word.
    fn take_alone(&mut self, arg: &Arg, name: FlagName) {
        let value = match is_option(arg) && (needs_value(arg) || self.is_value_of(arg)) {
            true => self.next(),
            false => None,
        };
        match value {
            Some(value) if value.is_empty() && may_be_empty(arg) => self.forget(arg),
            value => {
                self.put(arg, name.with(b""));
                value.into_iter().for_each(|value| self.put(arg, value));
            }
        }
    }

    /// True if the next word is the value of an option that may have none (`--pull never`).
    fn is_value_of(&self, arg: &Arg) -> bool {
        let next = self.words.get(self.at).and_then(|word| word.to_str()).unwrap_or_default();
        arg.get_possible_values().iter().any(|value| value.matches(next, false))
    }

    fn put(&mut self, arg: &Arg, word: OsString) {
        self.done.push((Some(arg.get_id().clone()), word));
    }

    /// Removes all earlier words of a flag or option: the last one counts.
    fn forget(&mut self, arg: &Arg) {
        self.done.retain(|(of, _)| of.as_ref() != Some(arg.get_id()));
    }
}

fn needs_value(arg: &Arg) -> bool {
    arg.get_num_args().is_none_or(|count| count.min_values() > 0)
}

#[cfg(test)]
mod tests;
