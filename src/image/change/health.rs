//! HEALTHCHECK: `NONE`, or options and a command. Kept as docker keeps it, in nanoseconds.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::fail;

/// The `Healthcheck` of a config. `command` splits the command and says whether a shell runs it.
pub fn parse(rest: &str, command: impl Fn(&str) -> Result<(Vec<String>, bool)>) -> Result<Value> {
    let mut check = Map::new();
    let mut rest = rest;
    while rest.starts_with("--") {
        let (option, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let duration = || nanoseconds(value).map(|time| json!(time));
        let (field, value) = match name {
            "--interval" => ("Interval", duration()?),
            "--timeout" => ("Timeout", duration()?),
            "--start-period" => ("StartPeriod", duration()?),
            "--start-interval" => ("StartInterval", duration()?),
            "--retries" => {
                let retries = value.parse::<u32>();
                let bad = |_| Error::new(format!("{name} takes a number"));
                ("Retries", json!(retries.map_err(bad)?))
            }
            _ => fail!("HEALTHCHECK has no option {}", name.escape_debug()),
        };
        check.insert(field.to_owned(), value);
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() && check.is_empty() => vec!["NONE".to_owned()],
        "CMD" if !rest.is_empty() => match command(rest)? {
            // The shell is the image's, named when the check runs.
            (_, true) => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
            (words, false) => [vec!["CMD".to_owned()], words].concat(),
        },
        _ => fail!("HEALTHCHECK takes NONE, or CMD and a command"),
    };
    check.insert("Test".to_owned(), json!(test));
    Ok(Value::Object(check))
}

/// Go's durations: `1m30s`, `1.5h`, `100ms`.
fn nanoseconds(text: &str) -> Result<u64> {
    let bad = || Error::new(format!("'{}' is not a time such as 1m30s", text.escape_debug()));
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        total += number.parse::<f64>().map_err(|_| bad())? * seconds * 1e9;
        rest = after;
    }
    // docker: 0 is the default, else at least a millisecond; a century is enough for anybody.
    let is_good = !text.is_empty() && (total == 0.0 || (1e6..3e18).contains(&total));
    if is_good { Ok(total.round() as u64) } else { Err(bad()) }
}
