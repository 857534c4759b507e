//! Tests of the files, of their order, and of the merged edits.

use std::fs;
use std::path::Path;

use super::document::{CdiDocument, CdiFormat};
use super::{CdiRegistry, Edits};
use oci_spec::runtime::Spec;

const YAML: &str = r#"
cdiVersion: 0.5.0
kind: vendor.com/device
containerEdits:
  env:
    - SHARED=1
devices:
  - name: first
    containerEdits:
      env: ["FIRST=1", "BOTH=first"]
      deviceNodes:
        - path: /dev/vendor0
          hostPath: /dev/null
          type: c
          major: 1
          minor: 3
          permissions: rw
  - name: "2"
    containerEdits:
      env: ["BOTH=second"]
      mounts:
        - hostPath: /etc
          containerPath: /opt/vendor/deep
          options: [ro, nosuid, rbind]
        - hostPath: /usr
          containerPath: /opt/vendor
      hooks:
        - hookName: createContainer
          path: /bin/true
          args: ["true", "--folder", "/opt/vendor"]
          timeout: 5
"#;

fn written(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

fn json(kind: &str, device: &str, env: &str) -> String {
    format!(
        r#"{{"cdiVersion": "0.3.0", "kind": "{kind}", "devices": [{{"name": "{device}", "containerEdits": {{"env": ["{env}"]}}}}]}}"#
    )
}

fn resolved(registry: &CdiRegistry, names: &[&str]) -> crate::error::Result<Edits> {
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    registry.resolve(&names)
}

fn applied(edits: &Edits) -> Spec {
    let mut spec = Spec::default();
    edits.apply(&mut spec).unwrap();
    spec
}

fn env(spec: &Spec) -> Vec<String> {
    spec.process().as_ref().unwrap().env().clone().unwrap()
}

#[test]
fn edits_are_merged_in_the_order_of_the_devices() {
    let place = tempfile::tempdir().unwrap();
    written(place.path(), "vendor.yaml", YAML);
    let registry = CdiRegistry::read(vec![place.path().to_owned()]);
    assert!(registry.broken.is_empty(), "{:?}", registry.broken);
    let spec =
        applied(&resolved(&registry, &["vendor.com/device=first", "vendor.com/device=2"]).unwrap());
    let variables = env(&spec);
    let ours: Vec<_> = variables
        .iter()
        .filter(|one| !one.starts_with("PATH") && !one.starts_with("TERM"))
        .collect();
    assert_eq!(ours, ["SHARED=1", "FIRST=1", "BOTH=second"]);
    let mounts = spec.mounts().clone().unwrap();
    let at = |target: &str| {
        mounts.iter().position(|mount| mount.destination() == Path::new(target)).unwrap()
    };
    assert!(at("/opt/vendor") < at("/opt/vendor/deep"));
    let device = &mounts[at("/dev/vendor0")];
    assert_eq!(device.source().as_deref(), Some(Path::new("/dev/null")));
    assert_eq!(mounts[at("/opt/vendor")].options().as_deref(), Some(&["rbind".to_owned()][..]));
    let hooks = spec.hooks().clone().unwrap().create_container().clone().unwrap();
    assert_eq!((hooks.len(), hooks[0].timeout()), (1, Some(5)));
}

#[test]
fn a_variable_and_a_mount_replace_those_of_the_config() {
    let place = tempfile::tempdir().unwrap();
    let text = r#"{"cdiVersion": "0.3.0", "kind": "v/c", "devices": [{"name": "a", "containerEdits":
        {"env": ["TERM=cdi"], "mounts": [{"hostPath": "/etc", "containerPath": "/dev/shm", "options": null}]}}]}"#;
    written(place.path(), "a.json", text);
    let registry = CdiRegistry::read(vec![place.path().to_owned()]);
    let spec = applied(&resolved(&registry, &["v/c=a"]).unwrap());
    assert_eq!(
        env(&spec).iter().filter(|one| one.starts_with("TERM=")).collect::<Vec<_>>(),
        ["TERM=cdi"]
    );
    let at_target =
        spec.mounts().iter().flatten().filter(|one| one.destination() == Path::new("/dev/shm"));
    assert_eq!(
        at_target.map(|one| one.source().clone().unwrap()).collect::<Vec<_>>(),
        [Path::new("/etc")]
    );
}

#[test]
fn a_later_folder_goes_first_and_rivals_of_one_folder_cannot_be_used() {
    let place = tempfile::tempdir().unwrap();
    let (system, user) = (place.path().join("system"), place.path().join("user"));
    written(&system, "a.json", &json("v/c", "x", "FROM=system"));
    written(&system, "b.json", &json("v/c", "twice", "A=1"));
    written(&system, "c.json", &json("v/c", "twice", "A=2"));
    written(&user, "a.json", &json("v/c", "x", "FROM=user"));
    written(&user, "broken.json", "{");
    written(&user, "ignored.txt", "{");
    written(&user.join("below.json"), "a.json", &json("v/c", "below", "A=1"));
    let missing = place.path().join("missing");
    let registry = CdiRegistry::read(vec![system.clone(), missing, user.clone()]);
    let broken: Vec<_> = registry.broken.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(broken, [user.join("below.json"), user.join("broken.json")]);
    assert!(
        env(&applied(&resolved(&registry, &["v/c=x"]).unwrap())).contains(&"FROM=user".to_owned())
    );
    let error = resolved(&registry, &["v/c=twice"]).unwrap_err().to_string();
    assert!(error.contains("b.json and in ") && error.contains("c.json"), "{error}");
    let error = resolved(&registry, &["v/c=below"]).unwrap_err();
    assert!(error.hint_text().unwrap().contains("cannot be used"), "{error:?}");
    let listed: Vec<_> =
        registry.devices().map(|one| (one.name.to_string(), one.rival.is_some())).collect();
    assert_eq!(listed, [("v/c=twice".to_owned(), true), ("v/c=x".to_owned(), false)]);
    // A device that the user has replaces rivals of the system.
    written(&user, "b.json", &json("v/c", "twice", "A=3"));
    let registry = CdiRegistry::read(vec![system, user]);
    assert!(
        env(&applied(&resolved(&registry, &["v/c=twice"]).unwrap())).contains(&"A=3".to_owned())
    );
}

#[test]
fn files_that_the_specification_forbids_are_refused() {
    let with = |edits: &str| {
        format!(
            r#"{{"cdiVersion": "0.3.0", "kind": "v/c", "devices": [{{"name": "a", "containerEdits": {edits}}}]}}"#
        )
    };
    let good = with(r#"{"env": ["A=1"]}"#);
    assert!(CdiDocument::parse(&good, CdiFormat::Json).is_ok());
    assert!(CdiDocument::parse(&good, CdiFormat::Yaml).is_ok(), "JSON is YAML");
    for (wrong, reason) in [
        (good.replace("0.3.0", "1.2.0"), "unknown"),
        (good.replace("0.3.0", ""), "unknown"),
        (good.replace("v/c", "v"), "VENDOR/CLASS"),
        (good.replace("\"a\"", "\"-\""), "no name of a device"),
        (good.replace("\"a\"", "\"0\""), "0.5.0 has"),
        (good.replace("devices", "device"), "unknown field"),
        (with(r#"{"bogus": 1}"#), "unknown field"),
        (with(r#"{"env": ["A"]}"#), "NAME=VALUE"),
        (with(r#"{"deviceNodes": [{"path": "dev/a"}]}"#), "absolute"),
        (with(r#"{"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}]}"#), "0.5.0 has"),
        (with(r#"{"deviceNodes": [{"path": "/dev/a", "type": "x"}]}"#), "none of"),
        (with(r#"{"deviceNodes": [{"path": "/dev/a", "permissions": "rx"}]}"#), "rwm"),
        (with(r#"{"mounts": [{"hostPath": "/a", "containerPath": "b"}]}"#), "absolute paths"),
        (
            with(r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]}"#),
            "0.4.0 has",
        ),
        (with(r#"{"mounts": [{"hostPath": "/a", "containerPath": "/"}]}"#), "absolute paths"),
        (with(r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b/.."}]}"#), "absolute paths"),
        (with(r#"{"deviceNodes": [{"path": "/", "type": "c"}]}"#), "absolute"),
        (with(r#"{"hooks": [{"hookName": "never", "path": "/bin/true"}]}"#), "unknown variant"),
        (with(r#"{"hooks": [{"hookName": "poststop", "path": "true"}]}"#), "absolute"),
        (with(r#"{"additionalGids": [1]}"#), "0.7.0 has"),
        ("{}".to_owned(), "missing field"),
        (r#"{"cdiVersion": "0.3.0", "kind": "v/c", "devices": []}"#.to_owned(), "no devices"),
    ] {
        let error = CdiDocument::parse(&wrong, CdiFormat::Json).unwrap_err().to_string();
        assert!(error.contains(reason), "{wrong}: {error}");
    }
}

#[test]
fn what_needs_root_or_is_missing_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    for (edits, reason) in [
        (r#""netDevices": [{"hostInterfaceName": "a", "name": "b"}]"#, "netDevices needs root"),
        (r#""intelRdt": {"closID": "x"}"#, "intelRdt needs root"),
        (r#""deviceNodes": [{"path": "/dev/no-such-device"}]"#, "/dev/no-such-device"),
        (r#""deviceNodes": [{"path": "/dev/null", "major": 7}]"#, "another file"),
        (r#""deviceNodes": [{"path": "/dev/x", "hostPath": "/etc/passwd"}]"#, "another file"),
        (
            r#""mounts": [{"hostPath": "/no/such/library", "containerPath": "/b"}]"#,
            "/no/such/library",
        ),
        (r#""hooks": [{"hookName": "poststop", "path": "/no/such/hook"}]"#, "/no/such/hook"),
    ] {
        let text = format!(
            r#"{{"cdiVersion": "1.1.0", "kind": "v/c", "devices": [{{"name": "a", "containerEdits": {{{edits}}}}}]}}"#
        );
        written(place.path(), "a.json", &text);
        let registry = CdiRegistry::read(vec![place.path().to_owned()]);
        assert!(registry.broken.is_empty(), "{:?}", registry.broken);
        let error = resolved(&registry, &["v/c=a"])
            .and_then(|edits| edits.apply(&mut Spec::default()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{edits}: {error}");
    }
}
