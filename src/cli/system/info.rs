//! `usnea info`, also `usnea system info`: facts about the machine and the store.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container;
use crate::container::Usnea;
use crate::error::Result;

/// Show information on this machine and on the store
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

/// docker's names, and the place of their values in podman's document.
const DOCKERS: [(&str, &str); 15] = [
    ("CgroupDriver", "/host/cgroupManager"),
    ("LoggingDriver", "/host/logDriver"),
    ("Architecture", "/host/arch"),
    ("Containers", "/store/containerStore/number"),
    ("ContainersPaused", "/store/containerStore/paused"),
    ("ContainersRunning", "/store/containerStore/running"),
    ("ContainersStopped", "/store/containerStore/stopped"),
    ("DockerRootDir", "/store/graphRoot"),
    ("Driver", "/store/graphDriverName"),
    ("Images", "/store/imageStore/number"),
    ("KernelVersion", "/host/kernel"),
    ("MemTotal", "/host/memTotal"),
    ("NCPU", "/host/cpus"),
    ("OSType", "/host/os"),
    ("Name", "/host/hostname"),
];

/// Prints the facts.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let info = container::info(usnea)?;
    match &arguments.format {
        None => print(&page(&info)),
        Some(Format::Json) => print(&format!("{info:#}\n")),
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &[fields(&info)])?),
    }
}

/// Returns the fields for templates.
fn fields(info: &Value) -> Value {
    let mut fields = go_named(info);
    if let Value::Object(map) = &mut fields {
        let of = |path| info.pointer(path).cloned().unwrap_or_default();
        map.extend(DOCKERS.map(|(name, path)| (name.to_owned(), of(path))));
        map.insert("ServerVersion".to_owned(), of("/version/Version"));
        if let Value::Object(more) = dockers(info) {
            map.extend(more);
        }
    }
    fields
}

/// Returns docker's fields in another form than podman's, and those with a constant value.
fn dockers(info: &Value) -> Value {
    let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let is = |path: &str| info.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    let controllers = info.pointer("/host/cgroupControllers").and_then(Value::as_array);
    let has = |name: &str| controllers.is_some_and(|all| all.iter().any(|one| one == name));
    let options = [
        ("name=apparmor", is("/host/security/apparmorEnabled")),
        ("name=selinux", is("/host/security/selinuxEnabled")),
        ("name=rootless", is("/host/security/rootless")),
        ("name=cgroupns", true),
    ];
    let options: Vec<&str> = options.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    json!({
        "CgroupVersion": text("/host/cgroupVersion").trim_start_matches('v'),
        "ClientInfo": client(info),
        "CpuCfsPeriod": has("cpu"),
        "CpuCfsQuota": has("cpu"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "Debug": false,
        "DefaultRuntime": "usnea",
        "DriverStatus": [["Backing Filesystem", text("/store/graphStatus/Backing Filesystem")]],
        "ExperimentalBuild": false,
        "HttpProxy": "",
        "HttpsProxy": "",
        "ID": "",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "InitBinary": "usnea",
        "Isolation": "",
        "IPv4Forwarding": true,
        "Labels": [],
        "LiveRestoreEnabled": true,
        "MemoryLimit": has("memory"),
        "NoProxy": "",
        "OSVersion": text("/host/distribution/version"),
        "OomKillDisable": false,
        "OperatingSystem": format!(
            "{} {}", text("/host/distribution/distribution"), text("/host/distribution/version")
        ),
        "PidsLimit": has("pids"),
        "Runtimes": { "usnea": { "path": text("/host/ociRuntime/path") } },
        "SecurityOptions": options,
        "SwapLimit": has("memory"),
        "Swarm": { "LocalNodeState": "inactive", "ControlAvailable": false, "NodeID": "", "NodeAddr": "", "Error": "" },
        "SystemTime": Timestamp::now().to_string(),
        "Warnings": [],
    })
}

/// Returns docker's `ClientInfo`: this program.
fn client(info: &Value) -> Value {
    let version = container::version();
    json!({
        "Arch": version.arch,
        "BuildTime": version.build_time,
        "Context": "default",
        "Debug": log::log_enabled!(log::Level::Debug),
        "GitCommit": version.git_commit,
        "GoVersion": version.go_version,
        "Os": version.os,
        "Plugins": [],
        "Version": info.pointer("/version/Version"),
        "Warnings": [],
    })
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
    use super::*;

    #[test]
    fn a_page_is_yaml_in_which_texts_stay_texts() {
        let value = json!({ "a": { "b": [1, { "c": "x y", "d": "12" }], "e": [], "f": "no" }, "g: h": "/p" });
        let expected = "a:\n  b:\n    - 1\n    -\n      c: x y\n      d: \"12\"\n  e: []\n  f: \"no\"\n\"g: h\": /p\n";
        assert_eq!(page(&value), expected);
    }

    #[test]
    fn templates_have_go_s_names_and_docker_s() {
        let info = json!({ "host": { "cpus": 2, "security": { "rootless": true } }, "version": { "Version": "1" } });
        let fields = fields(&info);
        assert_eq!(fields["Host"]["CPUs"], 2);
        assert_eq!(fields["Host"]["Security"]["Rootless"], true);
        assert_eq!((&fields["NCPU"], &fields["ServerVersion"]), (&json!(2), &json!("1")));
    }
}
