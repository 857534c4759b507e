//! What may happen to a container while it lives, and must not be its end, or must be a clean one: a full disk, the loss
//! of its folder, records that a power cut has torn, a time of day that jumps.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Place, Ran, binary, finish, need, processes_with, text, within};

const LIMIT: Duration = Duration::from_secs(20);

fn field(place: &Place, container: &str, template: &str) -> String {
    place.usnea(&["inspect", "--format", template, container]).works().to_owned()
}

fn detached(place: &Place, options: &[&str], script: &str) -> String {
    place.run_kept(&[&["-d"], options].concat(), script).works().to_owned()
}

fn folder_of(place: &Place, id: &str) -> PathBuf {
    place.store().join("containers").join(id)
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

/// Runs a script as root of a user and a mount namespace, in which `$usnea` is the program, `$image` the small root, and
/// `store` a disk of 4 MB.
fn on_small_disk(place: &Place, script: &str) -> Ran {
    let namespaces = ["--user", "--map-root-user", "--map-auto", "--mount"];
    let with_ids = |words: &[&str]| {
        let mut command = Command::new("unshare");
        place.prepare(command.args(words));
        command
    };
    let has_ids = finish(with_ids(&[&namespaces[..], &["true"]].concat()).arg("true"), "");
    let namespaces = match has_ids.status {
        0 => &namespaces[..],
        _ => &["--user", "--map-root-user", "--mount"],
    };
    place.folder("store");
    let head = "fill() { dd if=/dev/zero of=store/filler bs=4k 2>/dev/null || true; echo x 2>/dev/null >> store/filler \
                && exit 9; true; }
                mount -t tmpfs -o size=4m,mode=700 small store";
    let whole = format!("{head}\n{script}\numount -l store");
    let mut command = with_ids(&[namespaces, &["sh", "-euc", &whole]].concat());
    command.env("usnea", binary()).env("image", place.image());
    finish(&mut command, "")
}

/// Writes as many lines as it is told to, through `ctl/in`, and says when it has; ends with 7 when told -1.
pub const TALKER: &str = r#"
exec 3<>/ctl/in
while read -r count <&3; do
    [ "$count" = -1 ] && exit 7
    at=0
    while [ "$at" -lt "$count" ]; do
        echo "$count: line $at 0123456789012345678901234567890123456789"
        at=$((at+1))
    done
    echo "$count" >> /ctl/done
done"#;

/// What it writes when it is told `count`.
pub fn lines(count: usize) -> String {
    let line = |at| format!("{count}: line {at} 0123456789012345678901234567890123456789\n");
    (0..count).map(line).collect()
}

#[test]
fn on_a_full_disk_no_process_is_blocked_and_the_log_counts_its_losses() {
    if !need("unshare") || !need("mkfifo") {
        return;
    }
    let place = Place::new();
    place.folder("ctl");
    place.write("talker", TALKER);
    // The disk is filled again when what was written is in the log, not only in the pipe.
    let ran = on_small_disk(
        &place,
        r#"mkfifo ctl/in; : > ctl/done
           tell() { echo "$1" > ctl/in; until grep -q "^$1\$" ctl/done; do sleep 0.02; done; }
           kept() { until $usnea logs talker 2> /dev/null | grep -q "^$1: line $(($1 - 1)) "; do sleep 0.02; done; }
           $usnea run -d --name talker -v "$PWD/ctl:/ctl" "$image" sh -c "$(cat talker)" > id
           tell 11; kept 11; fill
           tell 2000; $usnea ps --format '{{.Names}} {{.State}}' > full
           rm store/filler
           tell 12; kept 12; fill
           tell 2001; rm store/filler; tell 13; kept 13; fill
           $usnea exec talker true
           echo -1 > ctl/in; $usnea wait talker > waited
           $usnea ps -a --format '{{.Names}} {{.State}} {{.ExitCode}}' > after
           rm store/filler
           $usnea logs talker > logged 2> lost
           $usnea start talker; fill; $usnea stop -t 0 talker; $usnea rm talker"#,
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(place.read("full").trim(), "talker running");
    assert_eq!(place.read("waited").trim(), "7");
    assert_eq!(place.read("after").trim(), "talker exited 7");
    let lost: Vec<usize> = place
        .read("lost")
        .lines()
        .map(|line| {
            assert!(line.ends_with(" bytes were lost: No space left on device"), "{line}");
            let count = line.trim_start_matches("usnea: ").split(' ').next();
            count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        })
        .collect();
    // Once for each time at least; a short line may find room where a long one did not.
    assert!(lost.len() >= 2, "{lost:?}");
    let logged = place.read("logged");
    let written: usize = [11, 2000, 12, 2001, 13].map(|count| lines(count).len()).iter().sum();
    assert_eq!(logged.len() + lost.iter().sum::<usize>(), written);
    // What came when there was room is there, whole and in order.
    let places: Vec<_> = [11, 12, 13].map(|count| logged.find(&lines(count))).into_iter().collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(logged.starts_with(&lines(11)) && logged.ends_with(&lines(13)));
}

#[test]
fn a_container_whose_folder_is_removed_is_asked_to_end_and_nothing_stays() {
    let place = Place::new();
    let place_of = place.path("");
    let here = text(&place_of);
    for options in [&[][..], &["--restart", "always"], &["--rm"], &["--health-cmd", "true"]] {
        let script =
            "trap 'echo asked > /out/asked; exit 0' TERM; while :; do sleep 0.05; echo x; done";
        place.folder("out");
        let out = format!("{here}/out:/out");
        let id = detached(&place, &[options, &["-v", &out]].concat(), script);
        let pid = field(&place, &id, "{{.State.Pid}}");
        // What the overlay keeps in it cannot be listed, which is no reason for rm(1) to leave the rest.
        let gone = Command::new("rm").arg("-rf").arg(folder_of(&place, &id)).status();
        gone.expect("rm");
        assert_eq!(place.usnea(&["ps", "--all", "--quiet"]).works(), "");
        let is_over = || !PathBuf::from(format!("/proc/{pid}")).exists();
        assert!(within(LIMIT, is_over), "it lives on: {options:?}");
        assert_eq!(fs::read_to_string(place.path("out/asked")).expect("a word"), "asked\n");
        fs::remove_file(place.path("out/asked")).expect("the word");
        assert!(within(LIMIT, || processes_with(here).is_empty()), "{options:?}");
        let opened = Command::new("chmod").arg("-R").arg("u+rwX").arg(place.store()).status();
        opened.expect("chmod");
        let _ = fs::remove_dir_all(folder_of(&place, &id));
        place.nothing_is_left();
    }
}

#[test]
fn records_torn_by_a_power_cut_break_no_command() {
    let place = Place::new();
    let sound = place.run_kept(&["-d", "--name", "sound"], "exec sleep 1000").works().to_owned();
    let torn = |name: &str| -> String {
        let ran = place.run_kept(&["--name", name], "echo said; exit 3");
        ran.exits(3);
        field(&place, name, "{{.Id}}")
    };
    for (name, file, content) in [
        ("empty-state", "state.json", ""),
        ("zero-state", "state.json", "\0\0\0\0"),
        ("half-state", "state.json", "{\"run\":1,\"process\":{\"pid\""),
        ("empty-exit", "exit.json", ""),
        ("empty-health", "health.json", ""),
    ] {
        let id = torn(name);
        fs::write(folder_of(&place, &id).join(file), content).expect("a record");
        // One of another boot: this machine was not restarted.
        if file == "exit.json" {
            let path = folder_of(&place, &id).join("state.json");
            let state = fs::read_to_string(&path).expect("a state");
            let mut state: Value = serde_json::from_str(&state).expect("JSON");
            state["boot"] = "another".into();
            fs::write(path, state.to_string()).expect("a state");
        }
        assert_eq!(field(&place, name, "{{.State.Status}}"), "exited", "{name}");
        let listed = place.usnea(&["ps", "-a", "--format", "{{.Names}}"]);
        assert_eq!((listed.works(), &*listed.stderr), (&*format!("{name}\nsound"), ""));
        let found = place.usnea(&["check"]);
        assert!(found.exits(1).contains(&format!("{file} is damaged")), "{found:?}");
        let mended = place.usnea(&["check", "--repair"]);
        assert!(mended.works().contains("mended: it is exited"), "{mended:?}");
        assert_eq!(place.usnea(&["check"]).works(), "");
        place.usnea(&["start", "--attach", name]).exits(3);
        assert_eq!(field(&place, name, "{{.State.ExitCode}}"), "3");
        assert!(place.usnea(&["logs", name]).works().ends_with("said"));
        place.usnea(&["rm", name]).works();
    }
    // It starts without a mending too.
    let id = torn("again");
    fs::write(folder_of(&place, &id).join("state.json"), "").expect("a record");
    place.usnea(&["start", "--attach", "again"]).exits(3);
    place.usnea(&["rm", "again"]).works();
    assert_eq!(field(&place, "sound", "{{.Id}}"), sound);
    clean(&place);
}

#[test]
fn a_container_with_a_damaged_record_is_reported_and_can_be_removed() {
    let place = Place::new();
    detached(&place, &["--name", "sound"], "exec sleep 1000");
    for file in ["container.json", "config.json"] {
        for how in ["its name", "its ID", "all"] {
            place.run_kept(&["--name", "torn"], "echo kept > /kept").works();
            let id = field(&place, "torn", "{{.Id}}");
            fs::write(folder_of(&place, &id).join(file), "").expect("a record");
            let listed = place.usnea(&["ps", "--format", "{{.Names}}"]);
            assert_eq!(listed.works(), "sound");
            if file == "container.json" {
                let hint = format!("'usnea rm -f {}' removes it", &id[..12]);
                assert!(listed.stderr.contains(&hint), "{listed:?}");
            }
            place.usnea(&["start", "torn"]).fails_with(1, &[file, "is damaged"]);
            place.usnea(&["exec", "torn", "true"]).fails_with(125, &[]);
            // What it wrote may be all that somebody wants.
            let left = place.usnea(&["check", "--repair"]);
            assert!(left.exits(1).contains(&format!("{file} is damaged")), "{left:?}");
            assert!(left.stdout.contains(&format!("'usnea rm -f {}' removes it", &id[..12])));
            assert!(folder_of(&place, &id).join("upper/kept").exists());
            match how {
                "its name" => place.usnea(&["rm", "torn"]).works(),
                "its ID" => place.usnea(&["rm", "--force", &id]).works(),
                _ => place.usnea(&["rm", "--all", "--force", "--time", "0"]).works(),
            };
            assert!(!folder_of(&place, &id).exists(), "{file}, {how}");
            if how == "all" {
                detached(&place, &["--name", "sound"], "exec sleep 1000");
            }
        }
    }
    clean(&place);
}

#[test]
fn a_jump_of_the_time_of_day_ends_no_start_period() {
    let place = Place::new();
    let options = ["--name", "box", "--health-cmd", "echo x >> /tmp/checked; false"];
    let period = ["--health-start-period", "1h", "--health-retries", "1"];
    let often = ["--health-start-interval", "100ms", "--health-interval", "1h"];
    let id = detached(&place, &[&options[..], &period, &often].concat(), "exec sleep 1000");
    // As if somebody had set the clock a day back, or forth, since it started: nothing but the record tells the two apart.
    for started in ["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
        let path = folder_of(&place, &id).join("state.json");
        let state = fs::read_to_string(&path).expect("a state");
        let mut state: Value = serde_json::from_str(&state).expect("JSON");
        state["started"] = started.into();
        fs::write(&path, state.to_string()).expect("a state");
        let count = || {
            let ran =
                place.usnea(&["exec", "box", "sh", "-c", "cat /tmp/checked 2>/dev/null | wc -l"]);
            ran.works().parse::<usize>().expect("a number")
        };
        let before = count();
        // Within the period it is checked often, and no failure counts.
        assert!(within(LIMIT, || count() >= before + 3), "{started}");
        assert_eq!(field(&place, "box", "{{.State.Health.Status}}"), "starting", "{started}");
    }
    clean(&place);
}

#[test]
fn a_killed_init_and_a_killed_monitor_at_once_leave_nothing_and_rm_goes_on() {
    let place = Place::new();
    for options in [&[][..], &["--init"], &["--restart", "always"], &["-t"]] {
        detached(&place, &[options, &["--name", "box"]].concat(), "sleep 1000 & exec sleep 1000");
        for which in ["MonitorPid", "Pid"] {
            let number = field(&place, "box", &format!("{{{{.State.{which}}}}}"));
            let pid = number.parse().ok().and_then(Pid::from_raw);
            // The first kill may have ended the other by now.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        let is_over = || field(&place, "box", "{{.State.Status}}") == "exited";
        assert!(within(LIMIT, is_over), "{options:?}");
        assert_eq!(field(&place, "box", "{{.State.ExitCode}}"), "137");
        assert_eq!(place.usnea(&["ps", "--quiet"]).works(), "");
        place.usnea(&["rm", "--force", "box"]).works();
        place.nothing_is_left();
    }
}

#[test]
fn exec_in_a_container_whose_root_was_removed_says_so() {
    let place = Place::new();
    let root = place.small_root();
    let moved = place.path("moved");
    detached(&place, &["--name", "box"], "exec sleep 1000");
    fs::rename(&root, &moved).expect("another name");
    // The mount holds what was mounted, not a name.
    assert_eq!(place.usnea(&["exec", "box", "echo", "here"]).works(), "here");
    fs::remove_dir_all(&moved).expect("the root");
    let ran = place.usnea(&["exec", "box", "ls", "/"]);
    ran.fails_with(127, &["cannot run ls", "No such file"]);
    assert_eq!(field(&place, "box", "{{.State.Status}}"), "running");
    clean(&place);
}

#[test]
fn a_container_with_rm_that_was_killed_with_its_monitor_is_removed_by_the_next_run() {
    let place = Place::new();
    let kill = |container: &str| {
        let pid = field(&place, container, "{{.State.MonitorPid}}").parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        assert!(within(LIMIT, || field(&place, container, "{{.State.Status}}") == "exited"));
    };
    detached(&place, &["--rm", "--name", "box"], "sleep 1000");
    kill("box");
    assert_eq!(place.usnea(&["ps", "-a", "--format", "{{.Names}}"]).works(), "box");
    // The name is free.
    detached(&place, &["--rm", "--name", "box"], "sleep 1000");
    kill("box");
    // A run in the foreground removes it too, with a name or without.
    place.run(&[], "true").works();
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    detached(&place, &["--rm", "--name", "box"], "sleep 1000");
    kill("box");
    let kept = detached(&place, &["--name", "kept"], "sleep 1000");
    kill("kept");
    // One without its name goes as well, one that is to stay does not.
    assert_eq!(place.usnea(&["ps", "-a", "--format", "{{.Names}}"]).works(), "kept");
    place.run_kept(&["--name", "kept"], "true").fails_with(125, &["the name kept is in use"]);
    assert!(folder_of(&place, &kept).exists());
    clean(&place);
}

#[test]
fn a_missing_cidfile_is_a_container_that_is_not_here() {
    let place = Place::new();
    for verb in ["stop", "rm"] {
        let missing = [verb, "--cidfile", "missing"];
        place.usnea(&missing).fails_with(125, &["--cidfile missing"]);
        place.usnea(&[&missing[..], &["--ignore"]].concat()).works();
    }
}
