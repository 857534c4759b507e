//! Changes to an image's config for `docker import --change` and `docker commit --change`: one Dockerfile instruction
//! each, in shell or JSON form. `lexer` splits and expands, `health` parses HEALTHCHECK.
//!
//! The config stays raw JSON, so that docker's fields beyond OCI (Healthcheck, OnBuild, Shell) survive.

mod health;
mod lexer;

use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use lexer::{expand, pairs, split};

/// An instruction that changes an image's config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    instruction: DockerfileInstruction,
    // Text after the instruction's name, joined into one line.
    rest: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DockerfileInstruction {
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Onbuild,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

const INSTRUCTIONS: [(&str, DockerfileInstruction); 11] = [
    ("CMD", DockerfileInstruction::Cmd),
    ("ENTRYPOINT", DockerfileInstruction::Entrypoint),
    ("ENV", DockerfileInstruction::Env),
    ("EXPOSE", DockerfileInstruction::Expose),
    ("HEALTHCHECK", DockerfileInstruction::Healthcheck),
    ("LABEL", DockerfileInstruction::Label),
    ("ONBUILD", DockerfileInstruction::Onbuild),
    ("STOPSIGNAL", DockerfileInstruction::Stopsignal),
    ("USER", DockerfileInstruction::User),
    ("VOLUME", DockerfileInstruction::Volume),
    ("WORKDIR", DockerfileInstruction::Workdir),
];

impl FromStr for ConfigChange {
    type Err = Error;

    /// Errors: an unknown instruction, or a bad argument (found by applying the change to an empty config).
    fn from_str(text: &str) -> Result<Self> {
        let text = text.replace("\\\r\n", "").replace("\\\n", "");
        let text = text.trim();
        // Podman also accepts an equals sign: CMD=/bin/sh
        let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim().to_owned();
        let of = || Setting::Change.with(format!("'{}'", text.escape_debug()));
        let known = INSTRUCTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, instruction)) = known else {
            let all: Vec<&str> = INSTRUCTIONS.iter().map(|(name, _)| *name).collect();
            return Err(Error::invalid("not an instruction that changes an image")
                .within(of())
                .hint(format!("one of {}", all.join(", "))));
        };
        let change = Self { instruction: *instruction, rest };
        apply(&mut json!({}), std::slice::from_ref(&change)).context(of)?;
        Ok(change)
    }
}

/// Applies `changes`, in order, to an image's config (the whole document). Errors: config fields of the wrong type.
pub fn apply(document: &mut Value, changes: &[ConfigChange]) -> Result<()> {
    let config = object(document, "the config")?.entry("config").or_insert_with(|| json!({}));
    if config.is_null() {
        *config = json!({});
    }
    let config = object(config, "config")?;
    let sets_cmd = |change: &ConfigChange| change.instruction == DockerfileInstruction::Cmd;
    for (at, change) in changes.iter().enumerate() {
        change.apply(config)?;
        let is_entrypoint = change.instruction == DockerfileInstruction::Entrypoint;
        // The old command was made for the old entrypoint.
        if is_entrypoint && !changes.iter().take(at).any(sets_cmd) {
            config.remove("Cmd");
        }
    }
    Ok(())
}

impl ConfigChange {
    fn apply(&self, config: &mut Map<String, Value>) -> Result<()> {
        let rest = self.rest.as_str();
        if rest.is_empty() {
            fail!(Invalid: "it needs an argument");
        }
        let (field, value) = match self.instruction {
            DockerfileInstruction::Env => return set_env(rest, config),
            DockerfileInstruction::Expose => return expose(rest, config),
            DockerfileInstruction::Label => return add_labels(rest, config),
            DockerfileInstruction::Onbuild => return add_trigger(rest, config),
            DockerfileInstruction::Volume => return add_volumes(rest, config),
            DockerfileInstruction::Cmd => ("Cmd", command(rest, config)?),
            DockerfileInstruction::Entrypoint => ("Entrypoint", command(rest, config)?),
            DockerfileInstruction::Healthcheck => {
                ("Healthcheck", health::parse(rest, |text| command_of(text, config))?)
            }
            DockerfileInstruction::Stopsignal => ("StopSignal", json!(stop_signal(rest, config)?)),
            DockerfileInstruction::User => ("User", json!(single_word(rest, config)?)),
            DockerfileInstruction::Workdir => {
                let folder = expand(rest, &env(config))?;
                let from = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
                ("WorkingDir", json!(working_dir(from, &folder)))
            }
        };
        config.insert(field.to_owned(), value);
        Ok(())
    }
}

fn object<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>> {
    value.as_object_mut().ok_or_else(|| Error::new(format!("the image's {name} is no JSON object")))
}

/// The field `name`, set to `empty` if missing or null.
fn entry<'a>(config: &'a mut Map<String, Value>, name: &str, empty: Value) -> &'a mut Value {
    let field = config.entry(name).or_insert(Value::Null);
    if field.is_null() {
        *field = empty;
    }
    field
}

fn env(config: &Map<String, Value>) -> Vec<(String, String)> {
    let all = config.get("Env").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    all.iter().filter_map(Value::as_str).map(pair).collect()
}

/// Parses a command: the JSON form, else a text for the image's shell.
fn command(rest: &str, config: &Map<String, Value>) -> Result<Value> {
    command_of(rest, config).map(|(words, _)| json!(words))
}

/// The words of a command, and true if they begin with a shell.
fn command_of(rest: &str, config: &Map<String, Value>) -> Result<(Vec<String>, bool)> {
    if let Some(words) = json_words(rest) {
        return Ok((words, false));
    }
    let shell = config.get("Shell").and_then(Value::as_array).map(Vec::as_slice);
    let shell = shell.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned);
    let mut words: Vec<String> = shell.collect();
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    words.push(rest.to_owned());
    Ok((words, true))
}

// Malformed JSON is plain text, as with docker.
fn json_words(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

fn stop_signal(rest: &str, config: &Map<String, Value>) -> Result<String> {
    let signal = single_word(rest, config)?;
    if !signal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(&byte)) {
        fail!(Invalid: "'{}' is not a signal", signal.escape_debug());
    }
    Ok(signal)
}

fn add_labels(rest: &str, config: &mut Map<String, Value>) -> Result<()> {
    let labels = pairs(rest, &env(config))?;
    let all = object(entry(config, "Labels", json!({})), "Labels")?;
    all.extend(labels.into_iter().map(|(name, value)| (name, json!(value))));
    Ok(())
}

fn single_word(rest: &str, config: &Map<String, Value>) -> Result<String> {
    let word = expand(rest, &env(config))?;
    if word.is_empty() || word.contains(char::is_whitespace) {
        fail!(Invalid: "it takes one word");
    }
    Ok(word)
}

fn set_env(rest: &str, config: &mut Map<String, Value>) -> Result<()> {
    let new = pairs(rest, &env(config))?;
    let all = entry(config, "Env", json!([]));
    let all = all.as_array_mut().ok_or_else(|| Error::new("the image's Env is no JSON list"))?;
    for (name, value) in new {
        let text = json!(format!("{name}={value}"));
        let has_name = |old: &&mut Value| {
            old.as_str().is_some_and(|old| old.split('=').next() == Some(name.as_str()))
        };
        match all.iter_mut().find(has_name) {
            Some(old) => *old = text,
            None => all.push(text),
        }
    }
    Ok(())
}

fn expose(rest: &str, config: &mut Map<String, Value>) -> Result<()> {
    let mut ports = Vec::new();
    for word in split(rest, &env(config))? {
        let bad =
            || Error::invalid(format!("'{}' is not PORT[-PORT][/PROTOCOL]", word.escape_debug()));
        let (range, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad);
        let (first, last) = (number(first)?, number(last)?);
        if first > last || !matches!(&*protocol, "tcp" | "udp" | "sctp") {
            return Err(bad());
        }
        ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    let all = object(entry(config, "ExposedPorts", json!({})), "ExposedPorts")?;
    all.extend(ports.into_iter().map(|port| (port, json!({}))));
    Ok(())
}

fn add_trigger(rest: &str, config: &mut Map<String, Value>) -> Result<()> {
    let first = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if matches!(&*first, "ONBUILD" | "FROM" | "MAINTAINER") {
        fail!(Invalid: "{first} cannot be a trigger of ONBUILD");
    }
    let all = entry(config, "OnBuild", json!([]));
    let all =
        all.as_array_mut().ok_or_else(|| Error::new("the image's OnBuild is no JSON list"))?;
    all.push(json!(rest));
    Ok(())
}

fn add_volumes(rest: &str, config: &mut Map<String, Value>) -> Result<()> {
    let env = env(config);
    let volumes = match json_words(rest) {
        Some(words) => words.iter().map(|word| expand(word, &env)).collect::<Result<_>>()?,
        None => split(rest, &env)?,
    };
    if volumes.iter().any(String::is_empty) {
        fail!(Invalid: "a volume has no name");
    }
    let all = object(entry(config, "Volumes", json!({})), "Volumes")?;
    all.extend(volumes.into_iter().map(|volume| (volume, json!({}))));
    Ok(())
}

/// Resolves `to` against `from` (empty: the root), without `.`, `..` and doubled slashes.
fn working_dir(from: &str, to: &str) -> String {
    let from = if to.starts_with('/') { "" } else { from };
    let mut parts = Vec::new();
    for part in from.split('/').chain(to.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
