//! Reader of config.json. Its errors are a line that names the JSON path.

use std::str::FromStr;

use oci_spec::runtime::Spec;
use serde_json::Value;

use crate::error::{Error, Result, one_line};
use crate::fail;

/// Reads the bytes of a config.json, with unknown fields left out. Errors: malformed JSON; a value of a wrong type; a
/// missing field; a version other than 1.x.
pub fn parse_config(bytes: &[u8]) -> Result<Spec> {
    let spec = match read(bytes) {
        Err(failure) if failure.path.starts_with("process.capabilities.") => {
            without_unknown_capabilities(bytes).ok_or(failure)
        }
        answer => answer,
    };
    let spec = spec.map_err(|failure| Error::invalid(failure.text()))?;
    check_version(spec.version())?;
    Ok(spec)
}

/// Malformed or missing value.
struct ParseFailure {
    path: String,
    cause: String,
}

impl ParseFailure {
    fn text(&self) -> String {
        // serde's words for a field that is not there; its path is that of the object.
        let missing =
            self.cause.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        let place = match (self.path.as_str(), missing) {
            (".", Some((name, _))) => format!("{name}: "),
            (path, Some((name, _))) => format!("{path}.{name}: "),
            (".", None) => String::new(),
            (path, None) => format!("{path}: "),
        };
        let cause = if missing.is_some() { "missing" } else { self.cause.as_str() };
        format!("config.json: {place}{cause}")
    }
}

fn read(bytes: &[u8]) -> std::result::Result<Spec, ParseFailure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let spec = serde_path_to_error::deserialize(&mut reader).map_err(failure)?;
    let end = reader.end();
    end.map_err(|error| ParseFailure { path: ".".into(), cause: one_line(error) })?;
    Ok(spec)
}

fn failure(error: serde_path_to_error::Error<serde_json::Error>) -> ParseFailure {
    // "?": the text ends before the first key.
    let path = one_line(error.path()).replace('?', ".");
    ParseFailure { path, cause: one_line(error.inner()) }
}

/// Reads a config without the capabilities that are not known: the spec demands a warning for them. `None`: something
/// else is wrong too.
fn without_unknown_capabilities(bytes: &[u8]) -> Option<Spec> {
    let mut config: Value = serde_json::from_slice(bytes).ok()?;
    let sets = config.pointer_mut("/process/capabilities")?.as_object_mut()?;
    for (set, list) in sets {
        let Some(list) = list.as_array_mut() else { continue };
        list.retain(|name| {
            let is_known = match name {
                Value::String(name) => is_capability(name),
                _ => true,
            };
            if !is_known {
                log::warn!(
                    "config.json: process.capabilities.{set}: no capability is called {name}"
                );
            }
            is_known
        });
    }
    serde_path_to_error::deserialize(config).ok()
}

fn is_capability(name: &str) -> bool {
    serde_json::from_value::<oci_spec::runtime::Capability>(name.into()).is_ok()
        && caps::Capability::from_str(name).is_ok()
}

/// Checks that a version is one of semver.org, and of the series 1.x.
fn check_version(version: &str) -> Result<()> {
    let (numbers, _) = version.split_once(['-', '+']).unwrap_or((version, ""));
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_number = |part: &&str| {
        let is_plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        is_plain && (*part == "0" || !part.starts_with('0'))
    };
    if version.is_empty() {
        fail!(Invalid: "config.json: ociVersion: missing");
    }
    if parts.len() != 3 || !parts.iter().all(is_number) {
        fail!(Invalid: "config.json: ociVersion: '{}' is no version of the form 1.2.3", version.escape_debug());
    }
    if parts[0] != "1" {
        fail!(Invalid: "config.json: ociVersion: {version} is not supported, but 1.x is");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_config(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_is_a_line_that_names_the_path() {
        let with = |rest: &str| error(&format!(r#"{{"ociVersion":"1.0.2",{rest}}}"#));
        for (rest, expected) in [
            (
                r#""process":{"user":{"uid":"x","gid":0},"cwd":"/"}"#,
                "process.user.uid: invalid type",
            ),
            (
                r#""process":{"user":{"uid":-1,"gid":0},"cwd":"/"}"#,
                "process.user.uid: invalid value",
            ),
            (r#""process":{"user":{"uid":0,"gid":0}}"#, "process.cwd: missing"),
            (r#""mounts":[{"destination":"/a"},{"destination":7}]"#, "mounts[1].destination: "),
            (r#""mounts":[{"source":"/a"}]"#, "mounts[0].destination: missing"),
            ("\"annotations\":{\"a\\nb\":7}", r"annotations.a\nb: invalid type"),
            (
                r#""linux":{"namespaces":[{"type":"a\nb"}]}"#,
                r"linux.namespaces[0].type: unknown variant `a\nb`",
            ),
            (
                r#""linux":{"namespaces":[{"type":"pet"}]}"#,
                "linux.namespaces[0].type: unknown variant",
            ),
            (r#""root":7"#, "root: invalid type"),
            (r#""annotations":{"a":{}}"#, "annotations.a: invalid type"),
        ] {
            let text = with(rest);
            assert!(text.starts_with(&format!("config.json: {expected}")), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
        assert!(error("{").starts_with("config.json: EOF"), "{}", error("{"));
        assert!(error("[]").starts_with("config.json: "), "{}", error("[]"));
        assert!(error(r#"{"ociVersion":"1.0.2"} x"#).contains("trailing characters"));
    }

    #[test]
    fn a_version_is_one_of_the_first_series() {
        for version in ["1.0.0", "1.3.0", "1.0.2-dev", "1.1.0-rc.1+x", "1.99.0"] {
            assert!(parse_config(format!(r#"{{"ociVersion":"{version}"}}"#).as_bytes()).is_ok());
        }
        for version in ["", "1", "1.0", "2.0.0", "0.9.0", "01.0.0", "a.b.c", "1.0.x"] {
            let text = error(&format!(r#"{{"ociVersion":"{version}"}}"#));
            assert!(text.starts_with("config.json: ociVersion: "), "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_fine_however_deep_and_long() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let long = "x".repeat(10 << 20);
        let config =
            format!(r#"{{"ociVersion":"1.2.0","new":{deep},"annotations":{{"long":"{long}"}}}}"#);
        let spec = parse_config(config.as_bytes()).unwrap();
        assert_eq!(spec.annotations().as_ref().unwrap()["long"].len(), 10 << 20);
        assert!(error(&format!(r#"{{"ociVersion":"1.2.0","root":{deep}}}"#)).len() < 2000);
    }

    #[test]
    fn an_unknown_capability_is_left_out() {
        let config = r#"{"ociVersion":"1.2.0","process":{"user":{"uid":0,"gid":0},"cwd":"/",
            "capabilities":{"bounding":["CAP_KILL","CAP_NEW"],"effective":["CAP_KILL"]}}}"#;
        let spec = parse_config(config.as_bytes()).unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
    }
}
