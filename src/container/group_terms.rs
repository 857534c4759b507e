//! Terms of a group: settings of its container, which all commands of the group must agree on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::ContainerRequest;
use super::root_source::RootSource;
use super::workspace::Workspace;
use crate::error::{Error, Result};
use crate::object_id::ContainerId;
use crate::spec;

/// Settings of a group's container. Those of a process, such as its environment and its user, are each command's own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupTerms {
    /// ID of the container.
    pub(super) id: ContainerId,
    /// Values of the settings, by their names in messages.
    settings: BTreeMap<String, Value>,
}

/// Names of settings in messages, where those of config.json say less.
const NAMES: [(&str, &str); 5] = [
    ("root", "storage driver or root"),
    ("uidMappings", "user ID map"),
    ("gidMappings", "group ID map"),
    ("resources", "resource limits"),
    ("annotations", "annotations"),
];

/// Settings that may be the cause of differences in others.
const CAUSES: [&str; 5] = ["image", "storage driver", "user ID map", "group ID map", "mounts"];

/// Settings of config.json that each process has for itself.
const OF_PROCESS: [&str; 3] = ["process", "ociVersion", "seccomp"];

impl GroupTerms {
    /// Returns the terms of a container that is being assembled. Errors: a spec that JSON cannot hold.
    pub(super) fn of(workspace: &Workspace, request: &ContainerRequest) -> Result<Self> {
        let mut spec = workspace.spec.clone();
        if request.options.storage_driver.is_none() {
            // Chosen by a trial, which may fail for want of a resource where many commands start at once.
            spec.mounts_mut().iter_mut().flatten().for_each(spec::forget_driver);
        }
        let mut spec = serde_json::to_value(&spec).map_err(Error::new)?;
        let linux = spec.as_object_mut().and_then(|spec| spec.remove("linux"));
        let parts = [Some(spec), linux].into_iter().flatten();
        let parts = parts.filter_map(|part| match part {
            Value::Object(settings) => Some(settings),
            _ => None,
        });
        let named = |name: String| {
            let better = NAMES.iter().find(|(known, _)| *known == name);
            better.map_or(name, |(_, better)| (*better).to_owned())
        };
        let settings = parts.flatten().filter(|(name, _)| !OF_PROCESS.contains(&name.as_str()));
        let mut settings: BTreeMap<_, _> =
            settings.map(|(name, value)| (named(name), value)).collect();
        let image = match (&workspace.root.stored, &request.source) {
            (Some(stored), _) => stored.id.clone(),
            (None, RootSource::Host(programs)) => programs.join(","),
            (
                None,
                RootSource::Directory(path) | RootSource::File(path) | RootSource::Path(path),
            ) => path.display().to_string(),
            (None, RootSource::Image(name)) => name.clone(),
        };
        settings.insert("image".into(), image.into());
        let options = &request.options;
        let network = format!("{:?} {:?}", options.network, options.publish);
        settings.insert("network".into(), network.into());
        let driver = options.storage_driver.map(|driver| format!("{driver:?}"));
        settings.insert("storage driver".into(), driver.into());
        Ok(Self { id: workspace.id.clone(), settings })
    }

    /// Returns the first difference between the group's terms and those of a command that joins. `None`: none.
    pub(super) fn difference(&self, ours: &Self) -> Option<String> {
        let names = self.settings.keys().chain(ours.settings.keys()).map(String::as_str);
        let differs = |name: &&str| self.settings.get(*name) != ours.settings.get(*name);
        let name = CAUSES.into_iter().chain(names).find(differs)?;
        let of = |terms: &Self| terms.settings.get(name).cloned().unwrap_or_default();
        let (theirs, here) = (of(self), of(ours));
        if let (Value::Array(theirs), Value::Array(here)) = (&theirs, &here) {
            return Some(match (alone(theirs, here), alone(here, theirs)) {
                (Some(theirs), Some(here)) => in_mount(theirs, here).map_or_else(
                    || format!("{name}: {} there, {} here", shown(theirs), shown(here)),
                    |difference| format!("{name}: {difference}"),
                ),
                (Some(theirs), None) => format!("{name}: {} there alone", shown(theirs)),
                (None, Some(here)) => format!("{name}: {} here alone", shown(here)),
                (None, None) => format!("{name}: another order"),
            });
        }
        Some(format!("{name}: {} there, {} here", shown(&theirs), shown(&here)))
    }
}

/// Returns the first value that the others lack.
fn alone<'a>(some: &'a [Value], others: &[Value]) -> Option<&'a Value> {
    some.iter().find(|one| !others.contains(one))
}

/// Returns the options in which two mounts of one source on one destination differ. `None`: they differ elsewhere.
fn in_mount(theirs: &Value, here: &Value) -> Option<String> {
    let options = |mount: &Value| -> Option<BTreeSet<String>> {
        let list = mount.get("options")?.as_array()?.iter();
        Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let is_same = |part: &str| theirs.get(part) == here.get(part);
    if !["source", "destination", "type"].into_iter().all(is_same) {
        return None;
    }
    let (theirs_alone, here_alone) = (options(theirs)?, options(here)?);
    let joined = |some: &BTreeSet<String>, others: &BTreeSet<String>| {
        let alone: Vec<_> = some.difference(others).map(String::as_str).collect();
        if alone.is_empty() { "none".to_owned() } else { alone.join(",") }
    };
    let destination = here.get("destination").and_then(Value::as_str)?;
    let (theirs, here) = (joined(&theirs_alone, &here_alone), joined(&here_alone, &theirs_alone));
    Some(format!("options of {destination}: {theirs} there, {here} here"))
}

/// Returns a value as a short text: of a mount its source and its destination.
fn shown(value: &Value) -> String {
    const MOST: usize = 200;
    let part = |name: &str| value.get(name).and_then(Value::as_str);
    let text = match (value, part("source"), part("destination")) {
        (Value::Null, ..) => "none".to_owned(),
        (Value::String(text), ..) => text.clone(),
        (_, Some(source), Some(destination)) => {
            let options = value.get("options").and_then(Value::as_array);
            let options: Vec<_> = options.into_iter().flatten().filter_map(Value::as_str).collect();
            format!("{source} on {destination} ({})", options.join(","))
        }
        _ => value.to_string(),
    };
    text.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms(settings: Value) -> GroupTerms {
        let id = "a".repeat(64).parse().unwrap();
        GroupTerms { id, settings: serde_json::from_value(settings).unwrap() }
    }

    #[test]
    fn a_difference_names_the_setting_and_both_values() {
        let mount =
            |source: &str| json!({"source": source, "destination": "/d", "options": ["ro"]});
        let first = terms(json!({"image": "a", "mounts": [mount("/s")]}));
        for (other, said) in [
            (json!({"image": "a", "mounts": [mount("/s")]}), None),
            (json!({"image": "b", "mounts": []}), Some("image: a there, b here")),
            (json!({"image": "a", "mounts": []}), Some("mounts: /s on /d (ro) there alone")),
            (
                json!({"image": "a", "mounts": [mount("/t")]}),
                Some("mounts: /s on /d (ro) there, /t on /d (ro) here"),
            ),
            (
                json!({"image": "a", "mounts": [
                    {"source": "/s", "destination": "/d", "options": ["rw", "nodev"]}
                ]}),
                Some("mounts: options of /d: ro there, nodev,rw here"),
            ),
            (
                json!({"image": "a", "mounts": [mount("/s")], "hostname": "h"}),
                Some("hostname: none there, h here"),
            ),
        ] {
            assert_eq!(first.difference(&terms(other)).as_deref(), said);
        }
    }
}
