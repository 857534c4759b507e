//! Signature policies and squashfs files: each way to use a file asks the policy.

use crate::composed::{Composed, small_root};
use crate::stocked::Stocked;
use crate::support::{Ran, finish, need};

/// A place with the image `root.sqsh`.
fn place() -> Stocked {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).write(&place, "layout");
    place.usnea(&["pull", "-q", "--to", "root.sqsh", "oci:layout"]).works();
    place
}

/// Runs usnea with the rules of a policy for the transport sqsh, and a default.
fn with_rules(place: &Stocked, default: &str, rules: &str, words: &[&str]) -> Ran {
    let mut command = place.place.command(words);
    place.at_home(&mut command);
    let policy = format!(r#"{{"default":[{default}],"transports":{{"sqsh":{{{rules}}}}}}}"#);
    place.place.write("home/.config/containers/policy.json", &policy);
    finish(&mut command, "")
}

const ACCEPT: &str = r#"{"type":"insecureAcceptAnything"}"#;
const REJECT: &str = r#"{"type":"reject"}"#;

#[test]
fn a_squashfs_file_that_the_policy_rejects_is_used_in_no_way() {
    let place = place();
    let folder = place.place.path(".").canonicalize().expect("a folder");
    let rules = format!(r#""{}":[{REJECT}]"#, folder.display());
    let file = format!("{}/root.sqsh", folder.display());
    let volume = format!("{file}:/data:squashfs");
    let mount = format!("type=squashfs,source={file},target=/data");
    let overlay = format!("{file}:ro");
    place.place.folder("mounted");
    for words in [
        &["run", "--rm", "sqsh:root.sqsh", "true"][..],
        &["run", "--rm", "./root.sqsh", "true"],
        &["run", "--rm", "sif:root.sqsh", "true"],
        &["run", "-d", "sqsh:root.sqsh", "true"],
        &["create", "sqsh:root.sqsh", "true"],
        &["run", "--rm", "-v", &volume, "host:sh", "true"],
        &["create", "-v", &volume, "host:sh", "true"],
        &["run", "--rm", "--mount", &mount, "host:sh", "true"],
        &["run", "--rm", "--overlay", &overlay, "host:sh", "true"],
        &["load", "-i", "root.sqsh"],
        &["save", "-o", "saved.tar", "sqsh:root.sqsh"],
        &["save", "--format", "squashfs", "-o", "saved.sqsh", "sqsh:root.sqsh"],
        &["push", "sqsh:root.sqsh", "oci:pushed"],
        &["export", "-o", "exported.tar", "sqsh:root.sqsh"],
        &["mount", "squashfs", "root.sqsh", "mounted"],
    ] {
        let ran = with_rules(&place, ACCEPT, &rules, words);
        ran.fails_with(125, &["signature policy", "root.sqsh", "reject"]);
    }
    assert!(place.usnea(&["ps", "-aq"]).works().is_empty());
    for name in ["saved.tar", "saved.sqsh", "pushed", "exported.tar"] {
        assert!(!place.place.path(name).exists(), "{name}");
    }
}

#[test]
fn a_rule_for_squashfs_files_counts_before_the_default() {
    let place = place();
    let run = ["run", "--rm", "sqsh:root.sqsh", "true"];
    with_rules(&place, REJECT, &format!(r#""":[{ACCEPT}]"#), &run).works();
    let other = format!(r#""/elsewhere":[{ACCEPT}]"#);
    with_rules(&place, REJECT, &other, &run).fails_with(125, &["default", "reject"]);
    if !need("openssl") {
        return;
    }
    let script =
        "openssl genpkey -algorithm ED25519 -out key; openssl pkey -in key -pubout -out pub";
    place.shell(script).works();
    let key = place.place.path("pub");
    let signed = format!(r#""":[{{"type":"sigstoreSigned","keyPath":"{}"}}]"#, key.display());
    let ran = with_rules(&place, ACCEPT, &signed, &run);
    ran.fails_with(125, &["sigstoreSigned", "root.sqsh", "a squashfs file has no signatures"]);
    ran.hints();
}
