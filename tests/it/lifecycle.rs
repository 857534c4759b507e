//! Containers that are kept: made, started, stopped, waited for, listed, removed; and what a kill leaves of them.

use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::support::{Place, Ran, Started, text, within};

/// usnea's output, of a command that works.
fn works(place: &Place, words: &[&str]) -> String {
    place.usnea(words).works().to_owned()
}

/// A container that runs in the background.
fn detached(place: &Place, options: &[&str], script: &str) -> String {
    let ran = place.run_kept(&[&["-d"], options].concat(), script);
    ran.works().to_owned()
}

fn field(place: &Place, container: &str, template: &str) -> String {
    works(place, &["inspect", "--format", template, container])
}

fn status(place: &Place, container: &str) -> String {
    field(place, container, "{{.State.Status}}")
}

/// All containers go, and nothing is left of them.
fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force"]).works();
    place.nothing_is_left();
}

fn kill(place: &Place, container: &str, which: &str, signal: Signal) {
    let number = field(place, container, &format!("{{{{.State.{which}}}}}"));
    let pid = Pid::from_raw(number.parse().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, signal).expect("a process");
}

#[test]
fn a_detached_container_lives_until_it_is_stopped() {
    let place = Place::new();
    let id = detached(
        &place,
        &["--name", "web"],
        "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done",
    );
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(works(&place, &["ps", "--quiet", "--no-trunc"]), id);
    assert!(within(Duration::from_secs(5), || place.usnea(&["logs", "web"]).works() == "up"));
    assert_eq!(works(&place, &["stop", &id[..12]]), id[..12]);
    assert_eq!(status(&place, "web"), "exited");
    assert_eq!(works(&place, &["wait", "web"]), "7");
    assert_eq!(works(&place, &["ps", "--quiet"]), "");
    let listed = works(&place, &["ps", "--all"]);
    assert!(
        listed.starts_with("CONTAINER ID   IMAGE") && listed.contains("Exited (7)"),
        "{listed}"
    );
    assert_eq!(works(&place, &["rm", "web"]), "web");
    assert_eq!(works(&place, &["ps", "--all", "--quiet"]), "");
    place.nothing_is_left();
}

#[test]
fn files_written_before_are_there_at_the_next_start() {
    let place = Place::new();
    let script =
        "cat /note 2>/dev/null; echo again >> /note; rm -f /bin/true; ls /bin | grep -c '^true$'";
    let id = works(
        &place,
        &place.kept(&["create"], script).iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(status(&place, &id), "created");
    assert_eq!(place.usnea(&["start", "--attach", &id]).exits(1), "0");
    assert_eq!(place.usnea(&["start", "--attach", &id]).exits(1), "again\n0");
    assert_eq!(works(&place, &["start", &id]), id);
    assert_eq!(works(&place, &["wait", &id]), "1");
    assert_eq!(works(&place, &["logs", &id]), "0\nagain\n0\nagain\nagain\n0");
    clean(&place);
}

#[test]
fn a_foreground_run_without_rm_is_kept_with_log_and_status() {
    let place = Place::new();
    let ran = place.run_kept(&["--name", "once"], "echo out; echo err >&2; exit 3");
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (3, "out\n", "err\n"));
    let logs = place.usnea(&["logs", "once"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(field(&place, "once", "{{.State.ExitCode}} {{.Name}}"), "3 /once");
    clean(&place);
}

#[test]
fn rm_at_the_end_leaves_nothing_however_it_ran() {
    let place = Place::new();
    for options in [&["-d", "--rm"][..], &["--rm", "--label", "a=b"], &["--rm"]] {
        place.run_kept(&[options, &["--name", "gone"]].concat(), "exit 0").works();
        assert!(
            within(Duration::from_secs(5), || works(&place, &["ps", "-aq"]).is_empty()),
            "{options:?}"
        );
    }
    place.run_kept(&["-d", "--rm"], "exec nothing-like-this").works();
    place
        .usnea(&["run", "-d", "--rm", &place.image(), "nothing-like-this"])
        .fails_with(127, &["nothing-like-this"]);
    place.nothing_is_left();
}

#[test]
fn a_command_that_cannot_run_is_reported_and_its_container_keeps_the_reason() {
    let place = Place::new();
    let ran = place.usnea(&["run", "-d", "--name", "bad", &place.image(), "nothing-like-this"]);
    ran.fails_with(127, &["nothing-like-this", "No such file"]);
    assert_eq!(status(&place, "bad"), "exited");
    assert_eq!(field(&place, "bad", "{{.State.ExitCode}}"), "127");
    assert!(field(&place, "bad", "{{.State.Error}}").contains("nothing-like-this"));
    clean(&place);
}

#[test]
fn a_name_belongs_to_one_container() {
    let place = Place::new();
    place.run_kept(&["--name", "one"], "true").works();
    place.run_kept(&["--name", "one"], "true").fails_with(125, &["name one is in use"]);
    place.run_kept(&["--name", "one", "--replace"], "exit 4").exits(4);
    place.run(&["--name", "one"], "true").fails_with(125, &["one"]);
    works(&place, &["rename", "one", "two"]);
    assert_eq!(field(&place, "two", "{{.State.ExitCode}}"), "4");
    place.usnea(&["inspect", "one"]).exits(1);
    place.run_kept(&["--name", "one"], "true").works();
    place.usnea(&["rename", "one", "two"]).fails_with(125, &["in use"]);
    clean(&place);
}

#[test]
fn of_two_who_want_a_name_at_once_one_gets_it() {
    let place = Place::new();
    place.small_root();
    let words = place.kept(&["create", "--name", "wanted"], "true");
    let all: Vec<_> = (0..8).map(|_| Started::new(&mut place.command(&words), "")).collect();
    let ends: Vec<i32> = all.into_iter().map(|started| started.end().status).collect();
    assert_eq!(ends.iter().filter(|status| **status == 0).count(), 1, "{ends:?}");
    assert!(ends.iter().all(|status| [0, 125].contains(status)), "{ends:?}");
    assert_eq!(works(&place, &["ps", "--all", "--format", "{{.Names}}"]), "wanted");
    clean(&place);
}

#[test]
fn ids_may_be_shortened_as_long_as_they_mean_one() {
    let place = Place::new();
    let ids: Vec<String> = (0..17)
        .map(|_| {
            works(
                &place,
                &place.kept(&["create"], "true").iter().map(String::as_str).collect::<Vec<_>>(),
            )
        })
        .collect();
    // Seventeen of sixteen first digits: two are the same.
    let twice = ids
        .iter()
        .find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1)
        .expect("two");
    place.usnea(&["inspect", &twice[..1]]).exits(1);
    assert_eq!(field(&place, &twice[..20], "{{.Id}}"), *twice);
    place.usnea(&["rm", "no-such"]).fails_with(1, &["no container is called 'no-such'"]);
    place.usnea(&["rm", "--force", "no-such"]).works();
    clean(&place);
}

#[test]
fn a_command_that_ignores_the_stop_signal_is_killed_in_time() {
    let place = Place::new();
    let id =
        detached(&place, &["--stop-timeout", "1"], "trap '' TERM; while :; do sleep 0.05; done");
    let began = std::time::Instant::now();
    works(&place, &["stop", &id]);
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&began.elapsed()));
    assert_eq!(field(&place, &id, "{{.State.ExitCode}}"), "137");
    // One that runs is not removed without force.
    works(&place, &["start", &id]);
    place.usnea(&["rm", &id]).fails_with(1, &["is running"]);
    place.usnea(&["rm", "--force", &id]).works();
    place.nothing_is_left();
}

#[test]
fn signals_reach_the_command() {
    let place = Place::new();
    let id = detached(
        &place,
        &["--stop-signal", "USR1"],
        "trap 'exit 9' USR1; trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done",
    );
    assert!(within(Duration::from_secs(5), || place.usnea(&["logs", &id]).stdout == "up\n"));
    works(&place, &["kill", "--signal", "HUP", &id]);
    assert!(within(Duration::from_secs(5), || place.usnea(&["logs", &id]).stdout == "up\nhup\n"));
    works(&place, &["stop", &id]);
    assert_eq!(works(&place, &["wait", &id]), "9");
    place.usnea(&["kill", &id]).fails_with(1, &["not running"]);
    clean(&place);
}

#[test]
fn restart_policies_restart_a_container_until_it_is_stopped() {
    let place = Place::new();
    let id = detached(&place, &["--restart", "on-failure:2"], "echo x >> /count; exit 5");
    assert!(within(Duration::from_secs(10), || status(&place, &id) == "exited"));
    assert_eq!(field(&place, &id, "{{.RestartCount}} {{.State.ExitCode}}"), "2 5");
    clean(&place);

    let id = detached(&place, &["--restart", "always"], "echo run; sleep 0.05");
    assert!(within(Duration::from_secs(10), || works(&place, &["logs", &id]).lines().count() >= 3));
    works(&place, &["stop", &id]);
    assert_eq!(status(&place, &id), "exited");
    let lines = works(&place, &["logs", &id]).lines().count();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(works(&place, &["logs", &id]).lines().count(), lines);
    clean(&place);
}

#[test]
fn a_killed_monitor_takes_its_container_with_it_and_ps_tells_the_truth() {
    let place = Place::new();
    let id = detached(&place, &["--name", "orphan"], "sleep 100");
    kill(&place, &id, "MonitorPid", Signal::KILL);
    assert!(within(Duration::from_secs(5), || status(&place, &id) == "exited"));
    assert!(field(&place, &id, "{{.State.Error}}").contains("monitor was killed"));
    works(&place, &["start", &id]);
    assert_eq!(status(&place, &id), "running");
    kill(&place, &id, "Pid", Signal::KILL);
    assert_eq!(works(&place, &["wait", &id]), "137");
    clean(&place);
}

#[test]
fn the_loss_of_the_runtime_folder_loses_no_container() {
    let place = Place::new();
    let runtime = place.folder("runtime");
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("its mode");
    let usnea = |words: &[&str]| -> Ran {
        let mut command = place.command(words);
        command.env("XDG_RUNTIME_DIR", &runtime);
        crate::support::finish(&mut command, "")
    };
    let words = place.kept(
        &["run", "-d", "--name", "stays"],
        "trap 'exit 6' TERM; while :; do sleep 0.05; done",
    );
    usnea(&words.iter().map(String::as_str).collect::<Vec<_>>()).works();
    std::fs::remove_dir_all(&runtime).expect("the runtime folder");
    assert!(usnea(&["ps"]).works().contains("stays"));
    let waiting =
        Started::new(place.command(&["attach", "stays"]).env("XDG_RUNTIME_DIR", &runtime), "");
    std::thread::sleep(Duration::from_millis(300));
    usnea(&["stop", "stays"]).works();
    assert_eq!(waiting.end().status, 6);
    clean(&place);
}

#[test]
fn records_of_another_boot_are_ends() {
    let place = Place::new();
    let id = detached(&place, &[], "sleep 100");
    let path = place.store().join("containers").join(&id).join("state.json");
    works(&place, &["kill", &id]);
    let text = std::fs::read_to_string(&path).expect("a state");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    std::fs::remove_file(path.with_file_name("exit.json")).expect("an exit");
    state["boot"] = "11111111-2222-3333-4444-555555555555".into();
    // This process, which lives: only its boot is another.
    state["process"]["pid"] = std::process::id().into();
    std::fs::write(&path, state.to_string()).expect("a state");
    assert_eq!(status(&place, &id), "exited");
    assert_eq!(field(&place, &id, "{{.State.Error}}"), "the machine was restarted");
    clean(&place);
}

#[test]
fn filters_and_formats_say_which_and_what() {
    let place = Place::new();
    detached(&place, &["--name", "web", "--label", "tier=front"], "sleep 100");
    place.run_kept(&["--name", "job", "--label", "tier=back"], "exit 3").exits(3);
    let names =
        |words: &[&str]| works(&place, &[&["ps", "--format", "{{.Names}}"], words].concat());
    assert_eq!(names(&[]), "web");
    assert_eq!(names(&["-a"]), "job\nweb");
    assert_eq!(names(&["-a", "--filter", "label=tier=front"]), "web");
    assert_eq!(names(&["--filter", "exited=3"]), "job");
    assert_eq!(names(&["--filter", "status=exited", "--filter", "status=running"]), "job\nweb");
    assert_eq!(names(&["-a", "--filter", "before=job"]), "web");
    assert_eq!(names(&["--latest"]), "job");
    assert_eq!(names(&["--last", "1"]), "job");
    let json: Value =
        serde_json::from_str(&works(&place, &["ps", "-a", "--format", "json"])).expect("JSON");
    assert_eq!(json[0]["Names"], "job");
    assert_eq!(json[0]["Labels"], "tier=back");
    place.usnea(&["ps", "--filter", "nope=1"]).fails_with(125, &["no filter nope"]);
    place.usnea(&["container", "prune", "--force"]).works();
    assert_eq!(names(&["-a"]), "web");
    clean(&place);
}

#[test]
fn many_start_at_once() {
    let place = Place::new();
    place.small_root();
    let words = place.kept(&["run", "-d"], "sleep 100");
    let all: Vec<_> = (0..20).map(|_| Started::new(&mut place.command(&words), "")).collect();
    for started in all {
        let ran = started.end();
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(works(&place, &["ps", "--quiet"]).lines().count(), 20);
    assert_eq!(works(&place, &["stop", "--all", "--time", "0"]).lines().count(), 20);
    clean(&place);
}

#[test]
fn files_tell_the_id_and_the_process() {
    let place = Place::new();
    let (cid, pid) = (place.path("cid"), place.path("pid"));
    let (cid, pid) = (cid.to_str().expect("a path"), pid.to_str().expect("a path"));
    let id = detached(&place, &["--cidfile", cid, "--pidfile", pid], "sleep 100");
    assert_eq!(place.read("cid"), id);
    assert_eq!(place.read("pid").trim(), field(&place, &id, "{{.State.Pid}}"));
    place.run_kept(&["--cidfile", cid], "true").fails_with(125, &["is there already"]);
    assert!(works(&place, &["top", &id]).lines().any(|line| line.contains("sleep 100")));
    works(&place, &["rm", "--force", "--cidfile", cid]);
    place.nothing_is_left();
}

#[test]
fn a_restart_policy_is_changed_while_it_runs() {
    let place = Place::new();
    let id = detached(&place, &["--name", "web"], "read line < /dev/zero & wait; sleep 60");
    assert_eq!(works(&place, &["update", "--restart", "on-failure:1", "web"]), "web");
    assert_eq!(field(&place, &id, "{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
    kill(&place, &id, "Pid", Signal::KILL);
    assert!(within(Duration::from_secs(20), || field(&place, &id, "{{.RestartCount}}") == "1"));
    place.usnea(&["update", "--restart", "no", "web"]).works();
    clean(&place);
    detached(&place, &["--name", "brief", "--rm"], "sleep 60");
    let refused = place.usnea(&["update", "--restart", "always", "brief"]);
    refused.fails_with(1, &["brief", "--rm"]);
    place.usnea(&["update", "--restart", "often", "brief"]).fails_with(125, &["--restart"]);
    clean(&place);
}

#[test]
fn resource_usage_of_containers_is_shown() {
    let place = Place::new();
    let script =
        "head -c 8000000 /dev/zero | tail -c 8000000 > /tmp/a; echo busy; while :; do :; done";
    let id = detached(&place, &["--name", "busy", "--network", "none"], script);
    let is_busy = || place.usnea(&["logs", "busy"]).stdout.contains("busy");
    assert!(within(Duration::from_secs(20), is_busy));
    detached(&place, &["--name", "idle"], "exec sleep 60");
    let template = "{{.Name}}/{{.CPUPerc}}/{{.PIDs}}/{{.NetIO}}/{{.ID}}";
    // One that has only just begun may still have used some.
    let mut shown = String::new();
    let is_idle = || {
        shown = works(&place, &["stats", "--no-stream", "--format", template]);
        shown.lines().any(|line| line.starts_with("idle/0.00%/1/"))
    };
    assert!(within(Duration::from_secs(20), is_idle), "{shown}");
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_unstable();
    let [busy, idle] = lines[..] else { panic!("{shown}") };
    let busy: Vec<&str> = busy.splitn(4, '/').collect();
    let percent: f64 = busy[1].trim_end_matches('%').parse().expect("a number");
    assert!(percent > 1.0, "{shown}");
    assert_eq!((busy[2], busy[3]), ("1", &*format!("0B / 0B/{}", &id[..12])));
    assert!(idle.starts_with("idle/0.00%/1/"), "{shown}");
    let table = works(&place, &["stats", "--no-stream", "idle"]);
    assert!(table.starts_with("CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT"), "{table}");
    place.usnea(&["stop", "--time", "0", "idle"]).works();
    place.usnea(&["stats", "--no-stream", "idle"]).fails_with(125, &["idle is not running"]);
    let all = works(&place, &["stats", "--all", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    assert!(all.contains("idle --"), "{all}");
    clean(&place);
}

#[test]
fn after_a_restart_of_the_machine_those_that_always_run_are_started_by_one_command() {
    let place = Place::new();
    for (name, policy) in [("one", "always"), ("two", "no"), ("three", "always")] {
        detached(&place, &["--name", name, "--restart", policy], "exec sleep 1000");
        kill(&place, name, "MonitorPid", Signal::KILL);
        assert!(within(Duration::from_secs(10), || status(&place, name) == "exited"));
        // What is left of a container by a power cut: a record of another boot.
        let id = field(&place, name, "{{.Id}}");
        let path = place.store().join("containers").join(id).join("state.json");
        let text = std::fs::read(&path).unwrap();
        let mut state: Value = serde_json::from_slice(&text).unwrap();
        state["boot"] = "another".into();
        std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(field(&place, name, "{{.State.Error}}"), "the machine was restarted");
    }
    assert_eq!(
        works(&place, &["ps", "--all", "--format", "{{.Status}}"]).matches("Exited (137)").count(),
        3
    );
    works(&place, &["start", "--all", "--filter", "restart-policy=always"]);
    let running = ["one", "two", "three"].map(|name| status(&place, name));
    assert_eq!(running, ["running", "exited", "running"]);
    clean(&place);
}

/// docker's: whoever knows its name finds it, also where another terminal waits for it and it is thrown away.
#[test]
fn a_disposable_container_is_found_by_its_name() {
    let place = Place::new();
    let words = ["run", "--rm", "--name", "brief"];
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut started = Started::new(&mut place.command(&place.kept(&words, script)), "");
    started.wait_for("ready");
    assert_eq!(place.usnea(&["ps", "--format", "{{.Names}} {{.State}}"]).works(), "brief running");
    assert_eq!(place.usnea(&["exec", "brief", "echo", "inside"]).works(), "inside");
    place.usnea(&["stop", "brief"]).works();
    assert_eq!(started.end().exits(5), "");
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    place.nothing_is_left();
}

#[test]
fn an_id_file_goes_with_the_container_that_is_removed_by_it() {
    let place = Place::new();
    let file = place.path("id");
    let name = format!("--cidfile={}", text(&file));
    for _ in 0..2 {
        place.run_kept(&["-d", "--rm", "--name", "box", &name], "sleep 1000").works();
        assert!(file.exists());
        place.usnea(&["rm", "--force", "--ignore", "--time", "0", &name]).works();
        assert!(!file.exists());
    }
    place.usnea(&["rm", "--force", "--ignore", &name]).works();
}
