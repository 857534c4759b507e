//! `usnea pull --to`: from a source into one squashfs file, past the store; broken off at any moment, nothing is left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::composed::{Composed, Entry, bytes, file, folder, layer, publish, small_root};
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{finish, need, within};
use crate::terminal::Screen;

/// A place with the layout `layout` of an image of some hundred files.
fn place() -> Stocked {
    let place = Stocked::new();
    let many = |prefix: &str| -> Vec<Entry> {
        let files = (0..100).map(|number| file(&format!("{prefix}/f{number}"), "content\n"));
        [folder(prefix)].into_iter().chain(files).collect()
    };
    let large = [
        bytes("large", "the same again ".repeat(200_000).as_bytes()),
        // Without it, the time of the folder is that of the unpacking.
        folder("a"),
        file("a/.wh.f7", ""),
        file("a/f8", "changed\n").owner(12, 34).mode(0o4711),
    ];
    let layers = [small_root(&place), layer(&many("a")), layer(&large), layer(&many("b"))];
    Composed::of(&layers).write(&place, "layout");
    place
}

/// Names in a folder of the place.
fn names(place: &Stocked, name: &str) -> Vec<String> {
    let entries = fs::read_dir(place.place.folder(name)).expect("a folder").flatten();
    entries.map(|entry| entry.file_name().into_string().expect("a name")).collect()
}

#[test]
fn a_file_from_a_registry_is_that_of_pull_and_save_and_no_store_is_made() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = place();
    let there = format!("{}/a/tool:1", registry.host);
    publish(&place, "layout", &there);
    let plain = "--tls-verify=false";
    let ran = place.usnea_in("none", &["pull", "-q", plain, "--to", "direct.sqsh", &there]);
    let id = ran.works().to_owned();
    assert_eq!(ran.stderr, "");
    assert!(!place.place.path("none").exists());
    assert_eq!(place.usnea(&["pull", "-q", plain, &there]).works(), id);
    let save = ["save", "--format", "squashfs", "-o", "saved.sqsh", &there];
    place.usnea(&save).works();
    place.other("cmp", &["direct.sqsh", "saved.sqsh"]).works();
    // To a pipe, without the ID; and over an older file.
    let script =
        format!("USNEA_ROOT=$PWD/none usnea pull -q {plain} --to - {there} | cmp - saved.sqsh");
    assert_eq!(place.shell(&script).works(), "");
    fs::write(place.place.path("direct.sqsh"), "old").expect("a file");
    place.usnea_in("none", &["pull", "-q", plain, "--to", "direct.sqsh", &there]).works();
    place.other("cmp", &["direct.sqsh", "saved.sqsh"]).works();
    // The errors of a pull.
    let missing = format!("{}/a/none:1", registry.host);
    let ran = place.usnea_in("none", &["pull", plain, "--to", "x.sqsh", &missing]);
    ran.fails_with(125, &["cannot pull", "/a/none:1"]);
    let other = ["pull", plain, "--platform", "linux/s390x", "--to", "x.sqsh", &there];
    let warned = place.usnea_in("none", &other);
    assert!(warned.works().contains(&id) && warned.stderr.contains("linux/s390x"), "{warned:?}");
}

#[test]
fn layouts_and_archives_are_sources_and_a_store_that_is_read_only_is_none() {
    let place = place();
    place.usnea(&["pull", "-q", "oci:layout"]).works();
    place.usnea(&["tag", "localhost/layout", "q.example/x:1"]).works();
    let save = |more: &[&str]| place.usnea(&[&["save"], more, &["q.example/x:1"]].concat());
    save(&["-o", "docker.tar"]).works();
    save(&["--format", "oci-archive", "-o", "oci.tar"]).works();
    save(&["--format", "squashfs", "-o", "saved.sqsh"]).works();
    for source in ["docker-archive:docker.tar", "oci-archive:oci.tar:q.example/x:1"] {
        let ran = place.usnea_in("none", &["pull", "-q", "--to", "x.sqsh", source]);
        assert_eq!(ran.works().len(), 64, "{source}: {ran:?}");
        let id = ["image", "inspect", "-f", "{{.Id}}", "q.example/x:1"];
        let stores = ["saved.sqsh", "x.sqsh"].map(|name| {
            let store = format!("of-{name}");
            place.usnea_in(&store, &["load", "-q", "-i", name]).works();
            place.usnea_in(&store, &id).works().to_owned()
        });
        assert_eq!(stores[0], stores[1], "{source}");
    }
    let script = "mkdir blocked; chmod 500 blocked
        USNEA_ROOT=$PWD/blocked/store usnea pull -q --to y.sqsh docker-archive:docker.tar
        usnea pull -q --to z.sqsh docker-archive:- < docker.tar; cmp y.sqsh z.sqsh
        [ -z \"$(ls -A blocked)\" ]";
    place.shell(script).works();
}

#[test]
fn invalid_requests_and_a_policy_leave_no_file() {
    let place = place();
    let pull = |words: &[&str]| place.usnea_in("none", &[&["pull", "--to"], words].concat());
    pull(&["x.sqsh", "oci:layout", "oci:layout"]).fails_with(125, &["a single image"]);
    pull(&["x.sqsh", "--all-tags", "q.example/x"]).fails_with(125, &["--all-tags"]);
    pull(&["no/x.sqsh", "oci:layout"]).fails_with(125, &["cannot write no/x.sqsh"]);
    pull(&["x.sqsh", "oci:missing"]).fails_with(125, &["missing"]);
    let policy = place.place.write("reject.json", r#"{"default":[{"type":"reject"}]}"#);
    let policy = policy.to_str().expect("UTF-8");
    pull(&["x.sqsh", "--signature-policy", policy, "oci:layout"]).fails_with(125, &["reject"]);
    let words = ["pull", "--to", "-", "oci:layout"].map(str::to_owned);
    let screen = Screen::start_with(&place.place, &words, |command| place.at_home(command));
    let (status, shown) = screen.end();
    assert!(status == 125 && shown.contains("terminal"), "{status} {shown}");
    assert!(!names(&place, ".").iter().any(|name| name.contains("sqsh") || name.contains("file-")));
}

/// How a pull is ended.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// A signal for all its processes, as from a terminal.
    Group(Signal),
    /// A signal for the command alone.
    Command(Signal),
}

#[test]
fn a_pull_that_is_broken_off_at_any_moment_leaves_nothing() {
    let place = place();
    let command = || {
        let mut command = place.place.command(&["pull", "-q", "--to", "out/x.sqsh", "oci:layout"]);
        place.at_home(&mut command);
        command.env("USNEA_ROOT", place.place.path("none")).env_remove("TMPDIR");
        command
    };
    place.place.folder("out");
    let began = Instant::now();
    finish(&mut command(), "").works();
    let whole = began.elapsed();
    assert_eq!(names(&place, "out"), ["x.sqsh"]);
    let deadline = Instant::now() + Duration::from_secs(40);
    for step in 0..8 {
        for kill in [
            Kill::Group(Signal::INT),
            Kill::Group(Signal::KILL),
            Kill::Command(Signal::KILL),
            Kill::Command(Signal::TERM),
        ] {
            if Instant::now() > deadline {
                return;
            }
            let _ = fs::remove_file(place.place.path("out/x.sqsh"));
            end_after(command(), kill, whole * step / 8);
            let is_clean = || {
                let names = names(&place, "out");
                names.is_empty() || names == ["x.sqsh"]
            };
            let left = || names(&place, "out");
            assert!(within(Duration::from_secs(20), is_clean), "{kill:?} at {step}: {:?}", left());
            assert!(!place.place.path("none").exists());
        }
    }
}

fn end_after(mut command: Command, kill: Kill, delay: Duration) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().expect("usnea");
    std::thread::sleep(delay);
    // Not reaped yet, so the number is still its own.
    let pid = Pid::from_child(&child);
    let _ = match kill {
        Kill::Group(signal) => kill_process_group(pid, signal),
        Kill::Command(signal) => kill_process(pid, signal),
    };
    child.wait().expect("its end");
}

#[test]
fn what_a_killed_machine_left_is_removed_by_the_next_pull() {
    let place = place();
    let folders: Vec<PathBuf> =
        ["out/usnea-file-0a/store", "out/other"].map(|name| place.place.folder(name)).into();
    let mut command = place.place.command(&["pull", "-q", "--to", "out/x.sqsh", "oci:layout"]);
    place.at_home(&mut command);
    finish(command.env_remove("TMPDIR"), "").works();
    assert!(!folders[0].exists() && folders[1].exists());
    // With TMPDIR, nothing lies beside the file.
    let mut command = place.place.command(&["pull", "-q", "--to", "/dev/full", "oci:layout"]);
    place.at_home(&mut command);
    let ran = finish(command.env("TMPDIR", place.place.folder("temporary")), "");
    ran.fails_with(125, &["cannot write /dev/full"]);
    assert!(names(&place, "temporary").is_empty());
}
