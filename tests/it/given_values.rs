//! Values of flags that docker and podman take: empty ones, zeroes, names that are not UTF-8, options of mounts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::stocked::Stocked;
use crate::support::{Place, Ran, Started, finish, text};

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn an_empty_value_is_none() {
    let place = Place::new();
    let (given, empty) = (place.run(&[], "ls /sys/class/net"), "--network=");
    assert_eq!(given.works(), place.run(&[empty], "ls /sys/class/net").works());
    assert_eq!(place.run(&[empty, "--network", "none"], "ls /sys/class/net").works(), "lo");
    place.usnea(&place.kept(&["create", empty, "--name", "box"], "echo a; echo b")).works();
    place.usnea(&["pod", "create", empty, "--name", "pod"]).works();
    place.usnea(&["start", "-a", "box"]).works();
    assert_eq!(place.usnea(&["logs", "--tail=", "box"]).works(), "a\nb");
    assert_eq!(place.usnea(&["ps", "-a", "--filter=", "--format", "{{.Names}}"]).works(), "box");
    for words in [
        &["images", "--filter="][..],
        &["volume", "ls", "--filter="],
        &["network", "ls", "--filter="],
        &["pod", "ps", "--filter="],
    ] {
        place.usnea(words).works();
    }
    // An empty filter selects no containers.
    place.usnea(&["rm", "--filter="]).fails_with(125, &["no container is named"]);
    place.usnea(&["pod", "rm", "pod"]).works();
    clean(&place);
}

#[test]
fn zero_is_a_time_without_a_unit_and_minus_one_waits_for_ever() {
    let place = Place::new();
    let options = [
        "create",
        "--name",
        "box",
        "--health-cmd",
        "true",
        "--health-interval=0",
        "--health-start-period=0",
        "--stop-timeout=-1",
        "--stop-signal",
        "USR1",
    ];
    let script = "trap 'sleep 1; exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    place.usnea(&place.kept(&options, script)).works();
    let shown = "{{.Config.StopTimeout}} {{.Config.Healthcheck.Interval}}";
    assert_eq!(place.usnea(&["inspect", "-f", shown, "box"]).works(), "-1 0");
    place.usnea(&["start", "box"]).works();
    let mut logs = Started::new(&mut place.command(&["logs", "-f", "box"]), "");
    logs.wait_for("ready");
    place.usnea(&["stop", "box"]).works();
    logs.end();
    assert_eq!(place.usnea(&["inspect", "-f", "{{.State.ExitCode}}", "box"]).works(), "5");
    clean(&place);
}

#[test]
fn privileges_are_shown_as_they_were_asked_for() {
    let place = Place::new();
    let shown = |options: &[&str]| {
        let words = [&["create", "--name", "box"], options].concat();
        place.usnea(&place.kept(&words, "true")).works();
        let template = "{{.HostConfig.Privileged}} {{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}}";
        let ran = place.usnea(&["inspect", "-f", template, "box"]);
        place.usnea(&["rm", "box"]).works();
        ran.works().to_owned()
    };
    assert_eq!(shown(&[]), "false [] []");
    assert_eq!(shown(&["--privileged"]), "true [] []");
    assert_eq!(shown(&["--cap-drop", "all", "--cap-add", "chown"]), "false [CAP_CHOWN] [ALL]");
    place.nothing_is_left();
}

#[test]
fn a_name_that_is_not_utf8_works_like_any_other() {
    let place = Stocked::new();
    let tar = place.tarball("one", &[("v", "x")]);
    let odd = OsStr::from_bytes(b"odd\xff.tar");
    std::fs::rename(&tar, place.place.path("").join(odd)).expect("a file");
    let mut import = place.place.command(&[OsStr::new("import"), odd, OsStr::new("one:1")]);
    place.at_home(&mut import);
    finish(&mut import, "").works();
    let place = Place::new();
    let mut command = place.command(&place.arguments(&["--env-host"], &["sh", "-c", "echo $GOOD"]));
    let ran = finish(command.env("GOOD", "yes").env("BAD", OsStr::from_bytes(b"\xff")), "");
    assert_eq!(ran.works(), "yes");
    assert!(ran.stderr.contains("variable BAD is not UTF-8: left out"), "{ran:?}");
    let image = place.image();
    let file = place.path("").join(OsStr::from_bytes(b"id\xff"));
    let words = ["create", "--name", "box", "--cidfile"].map(OsStr::new);
    let words = [&words[..], &[file.as_os_str(), OsStr::new(&image), OsStr::new("true")]].concat();
    let id = place.usnea(&words).works().to_owned();
    assert_eq!(std::fs::read_to_string(&file).expect("the ID").trim(), id);
    place.usnea(&["inspect", "box"]).works();
    clean(&place);
}

#[test]
fn an_empty_volume_comes_back_and_goes_once() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.usnea(&["volume", "create", name]).works();
    }
    place.usnea(&["volume", "export", "-o", "one.tar", "one"]).works();
    place.usnea(&["volume", "import", "two", "one.tar"]).works();
    for _ in 0..6 {
        place.usnea(&["volume", "create", "--ignore", "gone"]).works();
        let remove = || place.command(&["volume", "rm", "-f", "gone"]);
        let mut commands = [remove(), remove(), remove()];
        let started = commands.each_mut().map(|command| Started::new(command, ""));
        let ran: Vec<Ran> = started.into_iter().map(Started::end).collect();
        assert!(ran.iter().all(|ran| ran.status == 0), "{ran:?}");
    }
    place.usnea(&["volume", "rm", "one", "two"]).works();
}

#[test]
fn a_tmpfs_may_begin_with_the_files_of_the_image() {
    let place = Place::new();
    let root = place.small_root();
    std::fs::create_dir_all(root.join("filled/sub")).expect("a folder");
    std::fs::write(root.join("filled/sub/file"), "of the image").expect("a file");
    let script = "cat /filled/sub/file; stat -f -c %T /filled";
    for flags in
        [&["--tmpfs", "/filled:tmpcopyup"][..], &["--mount", "type=tmpfs,dst=/filled,tmpcopyup"]]
    {
        assert_eq!(place.run(flags, script).works(), "of the imagetmpfs", "{flags:?}");
    }
    let options = "/t:noatime,nodiratime,dirsync,rslave,size=1m";
    let line = place.run(&["--tmpfs", options], "grep ' /t ' /proc/self/mounts");
    for word in ["noatime", "nodiratime", "dirsync", "size=1024k"] {
        assert!(line.works().contains(word), "{word}: {line:?}");
    }
    let shared = place.run(&["--tmpfs", "/t:shared"], "grep ' /t ' /proc/self/mountinfo");
    assert!(shared.works().contains("shared:"), "{shared:?}");
    let source = text(&root).to_owned();
    let mount = format!("type=bind,src={source},dst=/b,readonly,bind-recursive=readonly");
    place.run(&["--mount", &mount], "! touch /b/x 2> /dev/null").works();
    place.nothing_is_left();
}
