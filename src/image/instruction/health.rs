//! HEALTHCHECK: `NONE`, or options and a command. Stored in docker's form, with times in nanoseconds.

use serde_json::{Map, Value, json};

use crate::duration;
use crate::error::{Error, Result};
use crate::fail;

/// Makes the `Healthcheck` field of a config. `command` splits the command and returns true for a shell's.
pub fn parse(rest: &str, command: impl Fn(&str) -> Result<(Vec<String>, bool)>) -> Result<Value> {
    let mut check = Map::new();
    let mut rest = rest;
    while rest.starts_with("--") {
        let (option, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let duration = || {
            let time = duration::nanoseconds(value).map(|time| json!(time));
            let bad = || format!("'{}' is not a time such as 1m30s", value.escape_debug());
            time.ok_or_else(|| Error::invalid(bad()))
        };
        let (field, value) = match name {
            "--interval" => ("Interval", duration()?),
            "--timeout" => ("Timeout", duration()?),
            "--start-period" => ("StartPeriod", duration()?),
            "--start-interval" => ("StartInterval", duration()?),
            "--retries" => {
                let retries = value.parse::<u32>();
                let bad = |_| Error::invalid(format!("{name} takes a number"));
                ("Retries", json!(retries.map_err(bad)?))
            }
            _ => fail!(Invalid: "HEALTHCHECK has no option {}", name.escape_debug()),
        };
        check.insert(field.to_owned(), value);
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() && check.is_empty() => vec!["NONE".to_owned()],
        "CMD" if !rest.is_empty() => match command(rest)? {
            // The shell is the image's, looked up when the check runs.
            (_, true) => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
            (words, false) => [vec!["CMD".to_owned()], words].concat(),
        },
        _ => fail!(Invalid: "HEALTHCHECK takes NONE, or CMD and a command"),
    };
    check.insert("Test".to_owned(), json!(test));
    Ok(Value::Object(check))
}
