//! `info`, `version`, `system reset` and `system prune`.

use serde_json::Value;

use crate::stocked::Stocked;
use crate::support::{Place, need_no_subids, need_subids, text};

fn info(place: &Place) -> Value {
    let ran = place.usnea(&["info", "--format", "json"]);
    serde_json::from_str(ran.works()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn info_is_podman_s_document_and_makes_nothing() {
    let place = Place::new();
    let info = info(&place);
    let text_of = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(text_of("/store/graphRoot"), text(&place.store()));
    assert!(["overlay", "fuse", "copy"].contains(&text_of("/store/graphDriverName")), "{info}");
    assert!(!text_of("/store/graphStatus/Reason").is_empty(), "{info}");
    assert_eq!(text_of("/version/Version"), env!("CARGO_PKG_VERSION"));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's");
    assert_eq!(text_of("/host/kernel"), release.trim());
    assert_eq!(info.pointer("/host/security/rootless"), Some(&true.into()));
    let uid = u64::from(rustix::process::getuid().as_raw());
    assert_eq!(info.pointer("/host/idMappings/uidmap/0/host_id"), Some(&uid.into()));
    assert!(!place.store().exists());
}

#[test]
fn info_shows_the_ids_that_containers_have() {
    let count = |place: &Place| {
        let info = info(place);
        let lines = info.pointer("/host/idMappings/uidmap").and_then(Value::as_array).cloned();
        lines.unwrap_or_default().iter().filter_map(|line| line["size"].as_u64()).sum::<u64>()
    };
    if need_subids() {
        assert!(count(&Place::new()) > 1);
    }
    if need_no_subids() {
        assert_eq!(count(&Place::new()), 1);
    }
}

#[test]
fn info_counts_what_is_kept_and_templates_are_podman_s_and_docker_s() {
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "c1"], "true")).works();
    place.usnea(&place.kept(&["run", "-d", "--name", "c2"], "sleep 1000")).works();
    let template = "{{.Store.ContainerStore.Number}} {{.Store.ContainerStore.Running}} {{.ContainersStopped}} \
                    {{.Host.Security.Rootless}} {{.Driver}}";
    let driver = info(&place)["store"]["graphDriverName"].as_str().expect("a name").to_owned();
    let ran = place.usnea(&["system", "info", "-f", template]);
    assert_eq!(ran.works(), format!("2 1 1 true {driver}"));
    let ran = place.usnea(&["info"]);
    assert!(ran.works().contains("\n  graphDriverName: "), "{ran:?}");
    place.usnea(&["rm", "-f", "c1", "c2"]).works();
}

#[test]
fn the_version_is_in_podman_s_shape() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(place.usnea(&["version", "-f", "{{.Client.Version}}"]).works(), version);
    let ran = place.usnea(&["version", "--format", "json"]);
    let json: Value = serde_json::from_str(ran.works()).expect("JSON");
    assert_eq!(json["Client"]["Version"], version);
    assert!(place.usnea(&["version"]).works().contains(&format!("Version:      {version}")));
}

#[test]
fn the_doctor_says_which_storage_driver_would_be_chosen_and_why() {
    let place = Place::new();
    let ran = place.usnea(&["doctor", "--format", "json"]);
    let findings: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let findings = findings.as_array().expect("an array");
    let finding = findings.iter().find(|finding| finding["name"] == "storage driver");
    let found = finding.expect("the finding")["found"].as_str().expect("a text").to_owned();
    let driver = info(&place)["store"]["graphDriverName"].as_str().expect("a name").to_owned();
    assert!(found.starts_with(&format!("{driver}: ")), "{found}");
}

#[test]
fn a_reset_removes_all_that_is_kept_and_nothing_else() {
    let stocked = Stocked::new();
    stocked.import("thing", &[("bin/x", "x")], &[]);
    let place = &stocked.place;
    let image = place.image();
    // Keeps what was found out about the network helper.
    stocked.usnea(&["run", "--rm", "--network", "private", &image, "true"]).works();
    stocked.usnea(&["run", "-d", "--name", "c1", &image, "sleep", "1000"]).works();
    stocked.usnea(&["create", "--name", "c2", "thing", "/bin/x"]).works();
    // Not one of ours.
    place.write("store/mine/file", "x");
    stocked.usnea(&["system", "reset"]).fails_with(125, &["not a terminal"]);
    assert!(place.path("store/layers").exists());
    let ran = stocked.usnea(&["system", "reset", "-f"]);
    ran.works();
    assert!(ran.stderr.contains("store/mine is not usnea's and stays"), "{ran:?}");
    let left = std::fs::read_dir(place.path("store")).expect("the folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["mine"]);
    std::fs::remove_dir_all(place.path("store/mine")).expect("removed");
    stocked.usnea(&["system", "reset", "-f"]).works();
    assert!(!place.path("store").exists());
    assert_eq!(stocked.usnea(&["ps", "-aq"]).works(), "");
}

#[test]
fn a_reset_waits_for_no_run_and_takes_nothing_from_it() {
    let stocked = Stocked::new();
    let place = &stocked.place;
    let words =
        ["run", "--rm", "host:sh,sleep,cat", "sh", "-c", "echo ready; read x; cat /etc/hosts"];
    let mut command = place.command(&[&words[..1], &["-i"], &words[1..]].concat());
    command.env("USNEA_ROOT", place.path("store"));
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    stocked.usnea(&["system", "reset", "-f"]).fails_with(125, &["is in use"]);
    drop(child.stdin.take());
    assert!(child.wait().is_ok());
    stocked.usnea(&["system", "reset", "-f"]).works();
    assert!(!place.path("store").exists());
}

#[test]
fn a_reset_removes_nothing_behind_what_others_can_replace() {
    let place = Place::new();
    let precious = ["precious/tmp/file", "precious/layers/file"];
    for name in precious {
        place.write(name, "x");
    }
    let open = place.folder("open");
    let inner = place.folder("open/precious");
    std::fs::rename(place.path("precious"), &inner).expect("moved");
    let refused = |root: &str, cause: &str| {
        let root = place.path(root);
        let words = ["--root", root.to_str().expect("text"), "system", "reset", "-f"];
        place.usnea(&words).fails_with(125, &[cause]);
        assert!(precious.iter().all(|name| place.path("open").join(name).exists()));
    };
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("another mode");
    refused("open/precious", "every user may write to");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("another mode");
    std::os::unix::fs::symlink("open", place.path("way")).expect("a link");
    if need_subids() {
        // Links of another user: only those of a subordinate ID can be made here.
        let top = format!("{}:/top", place.path(".").display());
        let script =
            "ln -s open/precious /top/link; ln -s open /top/par; chown -h 33:33 /top/link /top/par";
        place.run(&["-v", &top, "-u", "0"], script).works();
        refused("link", "is a symbolic link of user");
        refused("par/precious", "is a symbolic link of user");
        let link = place.path("link");
        let link = link.to_str().expect("text");
        for words in [&["info"][..], &["ps", "-a"], &["volume", "ls"], &["images"]] {
            let ran = place.usnea(&[&["--root", link], words].concat());
            ran.fails_with(125, &["is a symbolic link of user"]);
        }
    }
    let way = place.path("way/precious");
    place.usnea(&["--root", way.to_str().expect("text"), "system", "reset", "-f"]).works();
    assert!(!inner.exists());
}

#[test]
fn files_of_other_ids_are_reset_too() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let script = "mkdir /x && chown 33:33 /x && chmod 700 /x && touch /x/y";
    place.run_kept(&["--name", "c1", "-u", "0"], script).works();
    place.usnea(&["system", "reset", "-f"]).works();
    assert!(!place.store().exists());
}

#[test]
fn system_prune_removes_ended_containers_and_keeps_what_filters_leave_out() {
    let stocked = Stocked::new();
    stocked.import("plain", &[("etc/x", "x")], &[]);
    stocked.import("marked", &[("etc/y", "y")], &["--change", "LABEL keep=yes"]);
    let image = stocked.place.image();
    for (name, label) in [("c1", "keep=yes"), ("c2", "keep=no")] {
        stocked.usnea(&["create", "--name", name, "-l", label, &image, "true"]).works();
    }
    stocked.usnea(&["run", "-d", "--name", "c3", &image, "sleep", "1000"]).works();
    let wrong = stocked.usnea(&["system", "prune", "-f", "--filter", "name=c1"]);
    wrong.fails_with(125, &["--filter", "until=TIME"]);
    let ran = stocked.usnea(&["system", "prune", "-af", "--filter", "label!=keep=yes"]);
    assert!(ran.works().contains("Total reclaimed space: "), "{ran:?}");
    let names = |arguments: &[&str]| {
        let ran = stocked.usnea(arguments);
        let mut names: Vec<String> = ran.works().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let containers = ["ps", "-a", "--format", "{{.Names}}"];
    let images = ["images", "--format", "{{.Repository}}"];
    assert_eq!(names(&containers), ["c1", "c3"]);
    assert!(matches!(&names(&images)[..], [one] if one.ends_with("marked")));
    stocked.usnea(&["system", "prune", "-f", "--filter", "until=1h"]).works();
    assert_eq!(names(&containers), ["c1", "c3"]);
    stocked.usnea(&["system", "prune", "-af"]).works();
    assert_eq!(names(&containers), ["c3"]);
    assert!(names(&images).is_empty());
    stocked.usnea(&["rm", "-f", "c3"]).works();
}
