//! Command line that has created a container or a pod, read by the grammar of this program.

use clap::{Arg, ArgAction, Command};

use crate::error::{Error, Result};
use crate::fail;

/// Command line of `run`, `create` or `pod create`.
#[derive(Debug)]
pub struct CreateCommand {
    /// Options before the verb.
    pub globals: Vec<CreateOption>,
    /// Options of the verb.
    pub options: Vec<CreateOption>,
    /// Words behind the options: image and command, or the name of a pod.
    pub rest: Vec<String>,
}

/// Option of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOption {
    /// Long name.
    pub name: String,
    /// Value; `None`: a flag without one.
    pub value: Option<String>,
    /// Words as typed; a flag of a group such as `-it` stands alone.
    pub words: Vec<String>,
}

impl CreateCommand {
    /// Reads the words, the first of which is the program. Errors: words that are no such command line.
    pub fn parse(words: &[String], grammar: &Command) -> Result<Self> {
        let mut words = words.iter().skip(1);
        let mut globals = Vec::new();
        let mut command = grammar;
        let globals_of = |command: &Command| -> Vec<Arg> {
            command.get_arguments().chain(grammar.get_arguments()).cloned().collect()
        };
        // Options, then the verb, which may be two words.
        let verb = loop {
            let arguments = globals_of(command);
            let Some(word) = options(&mut words, &arguments, &mut globals)? else {
                fail!(Conflict: "its command line has no verb");
            };
            command = command.find_subcommand(&word).ok_or_else(|| {
                Error::conflict(format!("its command line has the verb '{word}'"))
            })?;
            if !command.has_subcommands() {
                break word;
            }
        };
        if !matches!(verb.as_str(), "run" | "create") {
            fail!(Conflict: "it was made by '{verb}', whose command line cannot be repeated");
        }
        let mut found = Vec::new();
        let first = options(&mut words, &globals_of(command), &mut found)?;
        let rest = first.into_iter().chain(words.cloned()).collect();
        Ok(Self { globals, options: found, rest })
    }

    /// Last option of this name.
    pub fn last(&self, name: &str) -> Option<&CreateOption> {
        self.options.iter().rev().find(|option| option.name == name)
    }

    /// Value of the last option of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.last(name)?.value.as_deref()
    }

    /// Removes all options of these names.
    pub fn remove(&mut self, names: &[&str]) {
        self.options.retain(|option| !names.contains(&option.name.as_str()));
    }
}

/// Reads options up to the first other word, which is returned.
fn options<'a>(
    words: &mut impl Iterator<Item = &'a String>,
    arguments: &[Arg],
    found: &mut Vec<CreateOption>,
) -> Result<Option<String>> {
    while let Some(word) = words.next() {
        if word == "--" {
            return Ok(words.next().cloned());
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let argument = arguments.iter().find(|argument| has_long(argument, name));
            let argument = argument.ok_or_else(|| unknown(word))?;
            found.push(option(argument, word.clone(), value, words));
        } else if word.len() > 1 && word.starts_with('-') {
            shorts(word, words, arguments, found)?;
        } else {
            return Ok(Some(word.clone()));
        }
    }
    Ok(None)
}

/// Reads a group of short flags, such as `-it` or `-p80`.
fn shorts<'a>(
    word: &str,
    words: &mut impl Iterator<Item = &'a String>,
    arguments: &[Arg],
    found: &mut Vec<CreateOption>,
) -> Result<()> {
    let mut rest = &word[1..];
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let has_short = |argument: &&Arg| {
            let aliases = argument.get_all_short_aliases().unwrap_or_default();
            argument.get_short() == Some(letter) || aliases.contains(&letter)
        };
        let argument = arguments.iter().find(has_short).ok_or_else(|| unknown(word))?;
        let value = match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if takes_value(argument) && !rest.is_empty() => Some(rest),
            None => None,
        };
        let typed = value.map_or(format!("-{letter}"), |value| format!("-{letter}={value}"));
        found.push(option(argument, typed, value.map(str::to_owned), words));
        if value.is_some() {
            break;
        }
    }
    Ok(())
}

/// Returns an option; its value may be the next word.
fn option<'a>(
    argument: &Arg,
    typed: String,
    value: Option<String>,
    words: &mut impl Iterator<Item = &'a String>,
) -> CreateOption {
    let name = argument.get_long().unwrap_or_default().to_owned();
    let next = (value.is_none() && takes_value(argument)).then(|| words.next().cloned()).flatten();
    let typed = std::iter::once(typed).chain(next.clone()).collect();
    CreateOption { name, value: value.or(next), words: typed }
}

/// True if the argument's value may be the next word.
fn takes_value(argument: &Arg) -> bool {
    let is_option = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let is_needed = argument.get_num_args().is_none_or(|count| count.min_values() > 0);
    is_option && is_needed && !argument.is_require_equals_set()
}

fn has_long(argument: &Arg, name: &str) -> bool {
    let aliases = argument.get_all_aliases().unwrap_or_default();
    argument.get_long() == Some(name) || aliases.contains(&name)
}

fn unknown(word: &str) -> Error {
    Error::conflict(format!("its command line has the unknown option '{word}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CreateCommand> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        CreateCommand::parse(&words, &crate::cli::command())
    }

    fn names(options: &[CreateOption]) -> String {
        options.iter().map(|option| option.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_end_where_the_grammar_ends_them() {
        let command = parse(
            "usnea --root /x container run -dit -p80:80 --name=a -e A --rm=false img -d --rm",
        )
        .unwrap();
        assert_eq!(names(&command.globals), "root");
        assert_eq!(names(&command.options), "detach interactive tty publish name env rm");
        assert_eq!(command.rest, ["img", "-d", "--rm"]);
        assert_eq!(command.value("name"), Some("a"));
        assert_eq!(command.value("rm"), Some("false"));
        assert_eq!(command.last("publish").unwrap().words, ["-p=80:80"]);
        assert_eq!(command.last("env").unwrap().words, ["-e", "A"]);
        let command = parse("usnea create --restart always -- img").unwrap();
        assert_eq!((names(&command.options), command.rest), ("restart".into(), vec!["img".into()]));
        let command = parse("usnea pod create -p 80 shop").unwrap();
        assert_eq!(
            (names(&command.options), command.rest),
            ("publish".into(), vec!["shop".into()])
        );
    }

    #[test]
    fn other_command_lines_are_errors() {
        for line in [
            "usnea",
            "usnea ps",
            "server",
            "usnea run --no-such-flag x",
            "usnea container clone a b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
