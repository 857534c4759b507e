//! `usnea info`, also `usnea system info`: facts about the machine and the store.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container;
use crate::container::Usnea;
use crate::documents::info::{DockerInfo, InfoDocument};
use crate::error::{Error, Result};

/// Show information about this machine and the store
#[derive(clap::Args)]
pub struct Arguments {
    /// json, or a Go template, such as '{{.Store.GraphDriverName}}' or '{{.Host.Security.Rootless}}': podman's fields; and
    /// docker's, such as .Driver .DockerRootDir .ServerVersion .Containers .ContainersRunning .Images .NCPU .MemTotal
    /// .KernelVersion .Architecture .OSType .OperatingSystem .Name .CgroupDriver .CgroupVersion .SecurityOptions.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Store.GraphRoot}}", headings: &[] };

/// Go's names that differ from the JSON's name with a capital.
const GO_NAMES: [(&str, &str); 8] = [
    ("apparmorEnabled", "AppArmorEnabled"),
    ("capabilities", "DefaultCapabilities"),
    ("cgroupVersion", "CgroupsVersion"),
    ("cpus", "CPUs"),
    ("idMappings", "IDMappings"),
    ("ociRuntime", "OCIRuntime"),
    ("seccompEnabled", "SECCOMPEnabled"),
    ("selinuxEnabled", "SELinuxEnabled"),
];

/// Prints the facts.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let info = container::info(usnea)?;
    let document = || serde_json::to_value(&info).map_err(Error::new);
    match &arguments.format {
        None => print(&page(&document()?)),
        Some(Format::Json) => print(&format!("{:#}\n", document()?)),
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &[fields(&info)?])?),
    }
}

/// Returns the fields for templates: podman's under Go's names, and docker's.
fn fields(info: &InfoDocument) -> Result<Value> {
    let podmans = go_named(&serde_json::to_value(info).map_err(Error::new)?);
    let dockers = serde_json::to_value(DockerInfo::new(info, Timestamp::now()));
    let mut fields = podmans.as_object().cloned().unwrap_or_default();
    fields.extend(dockers.map_err(Error::new)?.as_object().cloned().unwrap_or_default());
    Ok(Value::Object(fields))
}

fn go_named(value: &Value) -> Value {
    let name = |key: &String| match GO_NAMES.iter().find(|(json, _)| json == key) {
        Some((_, go)) => (*go).to_owned(),
        None => {
            let mut characters = key.chars();
            let first = characters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(characters).collect()
        }
    };
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (name(key), go_named(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(go_named).collect(),
        other => other.clone(),
    }
}

/// Formats the document as YAML, as podman prints it.
fn page(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, to: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                entry(&format!("{indent}{}:", scalar(&key.as_str().into())), value, depth, to);
            }
        }
        Value::Array(list) => {
            list.iter().for_each(|item| entry(&format!("{indent}-"), item, depth, to))
        }
        _ => {}
    }
}

fn entry(start: &str, value: &Value, depth: usize, to: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            *to += &format!("{start}\n");
            write(value, depth + 1, to);
        }
        Value::Array(list) if !list.is_empty() => {
            *to += &format!("{start}\n");
            write(value, depth + 1, to);
        }
        _ => *to += &format!("{start} {}\n", scalar(value)),
    }
}

/// Formats a scalar: a text that YAML could misread is quoted, as in JSON.
fn scalar(value: &Value) -> String {
    let is_plain = |text: &str| {
        let inner = |letter: char| letter.is_ascii_alphanumeric() || "/._-, ".contains(letter);
        let is_word = !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off");
        text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
            && !text.ends_with(' ')
            && text.chars().all(inner)
            && is_word
    };
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_yaml_in_which_texts_stay_texts() {
        let value = json!({ "a": { "b": [1, { "c": "x y", "d": "12" }], "e": [], "f": "no" }, "g: h": "/p" });
        let expected = "a:\n  b:\n    - 1\n    -\n      c: x y\n      d: \"12\"\n  e: []\n  f: \"no\"\n\"g: h\": /p\n";
        assert_eq!(page(&value), expected);
    }

    #[test]
    fn templates_have_go_s_names_and_docker_s() {
        let mut info = InfoDocument::default();
        info.host.cpus = 2;
        info.host.security.rootless = true;
        info.version.version = "1".to_owned();
        let fields = fields(&info).unwrap();
        assert_eq!(fields["Host"]["CPUs"], 2);
        assert_eq!(fields["Host"]["Security"]["Rootless"], true);
        assert_eq!((&fields["NCPU"], &fields["ServerVersion"]), (&json!(2), &json!("1")));
    }
}
