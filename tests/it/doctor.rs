//! `usnea doctor`: what it says where all is well, and where something is broken on purpose, by a namespace around it.

use std::process::Command;

use serde_json::Value;

use crate::support::{Place, Ran, binary, finish, need, need_no_subids, need_subids};

/// The program's findings from `place`, run by `wrapper`, and its exit status.
fn findings(place: &Place, wrapper: &[&str]) -> (Vec<Value>, i32) {
    let ran = doctor(place, wrapper, &["--format", "json"]);
    assert_eq!(ran.stderr, "", "{ran:?}");
    let Ok(Value::Array(findings)) = serde_json::from_str(&ran.stdout) else {
        panic!("not an array: {ran:?}");
    };
    (findings, ran.status)
}

fn doctor(place: &Place, wrapper: &[&str], options: &[&str]) -> Ran {
    let program = binary();
    let program = program.to_str().expect("a UTF-8 path");
    let words: Vec<&str> = [wrapper, &[program, "doctor"], options].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    place.prepare(&mut command);
    finish(&mut command, "")
}

#[track_caller]
fn named<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("no finding '{name}'"))
}

#[track_caller]
fn assert_says(finding: &Value, status: &str, key: &str, phrase: &str) {
    assert_eq!(finding["status"], status, "{finding}");
    assert!(finding[key].as_str().is_some_and(|text| text.contains(phrase)), "{finding}");
}

#[test]
fn a_fault_has_a_cost_and_each_finding_five_keys() {
    let (findings, status) = findings(&Place::new(), &["env"]);
    assert_eq!(status, 0);
    for finding in &findings {
        let keys: Vec<&str> =
            finding.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["costs", "fix", "found", "name", "status"], "{finding}");
        if finding["status"] != "ok" {
            assert!(finding["costs"].is_string(), "{finding}");
        }
    }
}

#[test]
fn the_page_is_plain_without_a_terminal_and_ends_in_the_verdict() {
    let ran = doctor(&Place::new(), &["env"], &[]);
    assert!(
        ran.works().lines().last().is_some_and(|line| line.starts_with("usnea run works here")),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
}

#[test]
fn nothing_is_left_in_the_store_or_above_it() {
    let place = Place::new();
    findings(&place, &["env"]);
    let left = std::fs::read_dir(place.path("")).expect("the folder").count();
    assert_eq!(left, 0);
}

#[test]
fn forbidden_user_namespaces_are_the_end_and_the_sysctl_is_named() {
    if !need("unshare") {
        return;
    }
    let script = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$@""#;
    let (findings, status) = findings(&Place::new(), &["unshare", "-Ur", "sh", "-c", script, "sh"]);
    assert_eq!(status, 1);
    let finding = named(&findings, "user namespace");
    assert_says(finding, "missing", "fix", "sudo tee /etc/sysctl.d");
    assert_says(finding, "missing", "fix", "user.max_user_namespaces=");
}

#[test]
fn a_caller_without_a_mapped_id_is_reported() {
    if need("unshare") {
        let (findings, status) = findings(&Place::new(), &["unshare", "-U"]);
        assert_eq!(status, 1);
        assert_says(
            named(&findings, "user namespace"),
            "missing",
            "fix",
            "does not exist in the user namespace",
        );
    }
}

#[test]
fn the_default_network_is_reported() {
    let place = Place::new();
    if !need("slirp4netns") || !need("unshare") {
        return;
    }
    let (all, _) = findings(&place, &["env"]);
    assert_says(named(&all, "default network"), "ok", "found", "private, connected by ");
    let script = r#"for helper in pasta slirp4netns; do
        [ ! -e /usr/bin/$helper ] || mount --bind /dev/null /usr/bin/$helper; done; exec "$@""#;
    let (all, status) = findings(&place, &["unshare", "-Urm", "sh", "-c", script, "sh"]);
    assert_eq!(status, 0);
    assert_says(named(&all, "default network"), "degraded", "fix", "passt");
    place.write("usnea/usnea.toml", "[network]\ndefault = 'none'\n");
    let config = format!("XDG_CONFIG_HOME={}", place.path("").display());
    let (all, _) = findings(&place, &["env", &config]);
    assert_says(named(&all, "default network"), "ok", "found", "none, by usnea.toml");
    place.write("usnea/usnea.toml", "[network]\ndefault = 'lan'\n");
    let (all, _) = findings(&place, &["env", &config]);
    assert_says(named(&all, "default network"), "missing", "found", "lan");
}

#[test]
fn a_covered_proc_is_found_before_a_container_fails_at_it() {
    if need("unshare") {
        let script = r#"mount -t tmpfs t /proc/fs && exec "$@""#;
        let (findings, status) =
            findings(&Place::new(), &["unshare", "-Urm", "sh", "-c", script, "sh"]);
        assert_eq!(status, 1);
        assert_says(
            named(&findings, "namespaces, mounts"),
            "missing",
            "fix",
            "parts of /proc are covered",
        );
    }
}

#[test]
fn newuidmap_is_of_no_use_after_no_new_privs() {
    if need("setpriv") && need_subids() {
        let (findings, status) = findings(&Place::new(), &["setpriv", "--no-new-privs"]);
        assert_eq!(status, 0);
        assert_says(named(&findings, "newuidmap, newgidmap"), "missing", "found", "no_new_privs");
    }
}

#[test]
fn subordinate_ids_are_really_mapped() {
    if need_subids() {
        let (findings, _) = findings(&Place::new(), &["env"]);
        assert_eq!(named(&findings, "subordinate IDs")["status"], "ok");
        assert_says(named(&findings, "newuidmap, newgidmap"), "ok", "found", "both work");
    }
}

#[test]
fn newuidmap_is_found_whatever_path_says() {
    if need_subids() {
        let (findings, _) = findings(&Place::new(), &["env", "PATH=/nowhere"]);
        assert_eq!(named(&findings, "newuidmap, newgidmap")["status"], "ok");
    }
}

#[test]
fn a_user_without_subordinate_ids_gets_the_line_to_add() {
    if need_no_subids() {
        let (findings, status) = findings(&Place::new(), &["env"]);
        assert_eq!(status, 0);
        assert_says(
            named(&findings, "subordinate IDs"),
            "missing",
            "fix",
            ":65536 | sudo tee -a /etc/subuid",
        );
    }
}

#[test]
fn a_store_that_cannot_be_is_a_finding_and_not_a_failure() {
    let (findings, status) = findings(&Place::new(), &["env", "USNEA_ROOT=/proc/usnea"]);
    assert_eq!(status, 0);
    assert_says(named(&findings, "store"), "missing", "fix", "USNEA_ROOT=");
    assert_eq!(named(&findings, "kernel overlay")["status"], "degraded");
}

#[test]
fn a_file_server_that_never_answers_hangs_nothing() {
    if need("unshare") && std::path::Path::new("/dev/fuse").exists() {
        // A FUSE mount whose server never reads is what a dead file server looks like.
        let script = r#"exec 9<>/dev/fuse && mkdir dead &&
            mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 dead dead && exec "$@""#;
        let place = Place::new();
        let root = format!("USNEA_ROOT={}", place.path("dead/store").display());
        let wrapper = ["unshare", "-Urm", "sh", "-c", script, "sh", "env", &root];
        let (findings, status) = findings(&place, &wrapper);
        assert_eq!(status, 0);
        assert_says(named(&findings, "store"), "missing", "found", "no answer within 2 seconds");
    }
}

#[test]
fn a_runtime_folder_of_another_user_is_not_used() {
    let (findings, _) = findings(&Place::new(), &["env", "XDG_RUNTIME_DIR=/run"]);
    assert_says(named(&findings, "XDG_RUNTIME_DIR"), "degraded", "found", "belongs to user 0");
}
