//! Life cycle of an OCI runtime's containers (runtime-spec, runtime.md): create, start, state, kill, delete, run, exec,
//! and their errors.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::support::{Ran, Started, binary, finish, need, processes_with, text};

const SLEEP: &str = "echo started > /tmp/out; exec sleep 4711";

#[test]
fn a_container_is_created_started_killed_and_deleted_with_its_state_in_between() {
    let bundle = Bundle::new(SLEEP);
    bundle.oci(&["create", "c"]).works();
    let state = bundle.state("c");
    assert_eq!((state["status"].as_str(), state["id"].as_str()), (Some("created"), Some("c")));
    assert_eq!(state["bundle"].as_str(), bundle.path().to_str());
    assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1) && state["ociVersion"].is_string());
    assert!(!bundle.path().join("rootfs/tmp/out").exists(), "its command ran before start");
    bundle.oci(&["delete", "c"]).fails_with(1, &["cannot delete", "created, not stopped"]);
    bundle.oci(&["start", "c"]).works();
    bundle.becomes("c", "running");
    bundle.has_begun();
    bundle.oci(&["start", "c"]).fails_with(1, &["cannot start", "running, not created"]);
    bundle.oci(&["delete", "c"]).fails_with(1, &["cannot delete", "running, not stopped"]);
    assert_eq!(bundle.status("c"), "running");
    bundle.oci(&["kill", "c", "KILL"]).works();
    bundle.becomes("c", "stopped");
    assert_eq!(bundle.state("c")["pid"], 0);
    bundle.oci(&["kill", "c"]).fails_with(1, &["cannot kill", "not running"]);
    bundle.oci(&["start", "c"]).fails_with(1, &["cannot start", "stopped"]);
    bundle.oci(&["exec", "c", "true"]).fails_with(1, &["cannot exec", "stopped"]);
    bundle.oci(&["delete", "c"]).works();
    bundle.oci(&["state", "c"]).fails_with(1, &["c does not exist"]);
    bundle.has_no_state();
}

#[test]
fn run_ends_with_the_command_s_status_and_leaves_nothing() {
    let bundle = Bundle::new("cat; echo out; echo err >&2; exit 7");
    let ran = finish(&mut bundle.command(&["run", "c"]), "in\n");
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (7, "in\nout\n", "err\n"));
    bundle.has_no_state();
    bundle.oci(&["run", "--keep", "c"]).exits(7);
    assert_eq!(bundle.status("c"), "stopped");
    bundle.oci(&["delete", "c"]).works();
}

#[test]
fn signals_to_run_are_the_command_s() {
    let bundle = Bundle::new("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done");
    let mut run = Started::new(&mut bundle.command(&["run", "c"]), "");
    run.wait_for("ready");
    run.signal(rustix::process::Signal::USR1);
    run.end().exits(9);
}

#[test]
fn the_command_outlives_create_and_has_no_process_of_usnea_beside_it() {
    let bundle = Bundle::new(SLEEP);
    bundle.oci(&["run", "--detach", "--pid-file", "pid", "c"]).works();
    let pid: i32 = bundle.place.read("bundle/pid").parse().expect("a number, and nothing else");
    assert_eq!(bundle.state("c")["pid"].as_i64(), Some(pid.into()));
    let states = bundle.place.path("states");
    assert!(processes_with(text(&states)).is_empty(), "a process of the runtime stays");
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.has_no_state();
}

#[test]
fn of_creates_of_one_id_exactly_one_wins() {
    let bundle = Bundle::new(SLEEP);
    let states: Vec<_> =
        (0..6).map(|number| bundle.place.path(&format!("said-{number}"))).collect();
    let start = |path: &std::path::PathBuf| {
        let file = std::fs::File::create(path).expect("a file");
        let mut command = bundle.command(&["create", "c"]);
        // A container that stays has these streams: no pipes.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("usnea")
    };
    let all: Vec<_> = states.iter().map(|path| (start(path), path)).collect();
    let ended: Vec<_> = all
        .into_iter()
        .map(|(mut child, path)| {
            let status = child.wait().expect("its end").code().expect("a status");
            let stderr = std::fs::read_to_string(path).expect("a file");
            Ran { status, stdout: String::new(), stderr }
        })
        .collect();
    let (won, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|ran| ran.status == 0);
    assert_eq!(won.len(), 1, "{ended:?}");
    lost.iter().for_each(|ran| ran.fails_with(1, &["c already exists"]));
    assert_eq!(bundle.status("c"), "created");
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.has_no_state();
}

#[test]
fn a_container_that_cannot_be_created_leaves_nothing() {
    let bundle = Bundle::new(SLEEP);
    for id in ["", "..", "a/b", "a b"] {
        bundle.oci(&["create", id]).fails_with(1, &["is no container ID"]);
    }
    bundle.oci(&["create", "--bundle", "/nope", "c"]).fails_with(1, &["/nope", "no such file"]);
    bundle.oci(&["create", "--pid-file", "gone/pid", "c"]).fails_with(1, &["gone/pid"]);
    bundle.oci(&["run", "--pid-file", "gone/pid", "c"]).fails_with(1, &["gone/pid"]);
    bundle.oci(&["create", "--console-socket", "s", "c"]).fails_with(1, &["process.terminal"]);
    bundle.change(|config| config["process"]["terminal"] = true.into());
    bundle.oci(&["create", "c"]).fails_with(1, &["process.terminal"]);
    bundle.oci(&["create", "--console-socket", "s", "c"]).fails_with(1, &["console socket s"]);
    bundle.change(|config| {
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(["nope"]);
    });
    let ran = bundle.oci(&["create", "c"]);
    ran.fails_with(1, &["cannot run nope", "no such file or directory"]);
    bundle.oci(&["run", "c"]).fails_with(1, &["cannot run nope", "no such file or directory"]);
    bundle.change(|config| config["process"]["args"] = json!(["/etc/passwd"]));
    bundle.oci(&["create", "c"]).fails_with(1, &["/etc/passwd", "permission denied"]);
    bundle.has_no_state();
}

#[test]
fn a_wrong_config_is_a_line_with_its_json_path() {
    let bundle = Bundle::new("true");
    let good = bundle.place.read("bundle/config.json");
    let wrong = |change: fn(&mut Value), phrases: &[&str]| {
        bundle.place.write("bundle/config.json", &good);
        bundle.change(change);
        bundle.oci(&["create", "c"]).fails_with(1, phrases);
    };
    wrong(|config| config["process"]["args"] = 7.into(), &["config.json: process.args"]);
    wrong(|config| config["ociVersion"] = "2.0.0".into(), &["ociVersion"]);
    wrong(
        |config| config["mounts"][0]["options"] = json!(["bind", "a\nb"]),
        &[r"a bind mount has no option 'a\nb'"],
    );
    wrong(|config| config["root"]["path"] = "nope".into(), &["root.path", "nope is no folder"]);
    wrong(|config| config["linux"]["uidMappings"] = json!([]), &["linux.uidMappings"]);
    wrong(
        |config| config["linux"]["uidMappings"][0]["hostID"] = 0.into(),
        &["linux.uidMappings", "not all of these are yours"],
    );
    wrong(
        |config| {
            let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
            list.retain(|namespace| namespace["type"] != "user");
        },
        &["linux.namespaces", "no user namespace"],
    );
    bundle.place.write("bundle/config.json", "{");
    bundle.oci(&["create", "c"]).fails_with(1, &["config.json"]);
    bundle.place.write("bundle/config.json", &good);
    bundle.change(|config| config["unknown"] = json!({ "a": [1] }));
    bundle.oci(&["run", "c"]).works();
    bundle.has_no_state();
}

#[test]
fn a_folder_of_states_that_is_another_user_s_is_refused() {
    let bundle = Bundle::new("true");
    let mut command = bundle.place.command(&["oci", "--root", "/usr/share", "create", "c"]);
    finish(command.current_dir(bundle.path()), "").fails_with(1, &["/usr/share belongs to user 0"]);
}

#[test]
fn errors_go_to_the_log_as_runc_writes_them() {
    let bundle = Bundle::new("true");
    let words = ["--log", "log", "--log-format", "json", "state", "nope"];
    bundle.oci(&words).fails_with(1, &["nope does not exist"]);
    let entry: Value = serde_json::from_str(&bundle.place.read("bundle/log")).expect("one line");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().is_some_and(|text| text.contains("does not exist")));
    assert!(entry["time"].is_string());
    bundle.oci(&["--log", "text", "state", "nope"]).exits(1);
    let line = bundle.place.read("bundle/text");
    assert!(line.contains("level=error msg=\"container nope does not exist\""), "{line}");
}

#[test]
fn exec_runs_in_the_container_by_flags_and_by_a_process() {
    let bundle = Bundle::new(SLEEP);
    bundle.oci(&["run", "--detach", "c"]).works();
    let exec = |words: &[&str]| bundle.oci(&[&["exec"], words].concat());
    bundle.has_begun();
    assert_eq!(exec(&["c", "cat", "/tmp/out"]).works(), "started");
    assert_eq!(exec(&["c", "ps", "-o", "args"]).works().lines().nth(1), Some("sleep 4711"));
    let words = ["--env", "A=b", "--cwd", "/tmp", "c", "sh", "-c", "echo $A; pwd; exit 5"];
    assert_eq!(exec(&words).exits(5), "b\n/tmp");
    assert_eq!(finish(&mut bundle.command(&["exec", "c", "cat"]), "in").works(), "in");
    exec(&["c", "nope"]).fails_with(1, &["cannot run nope", "no such file"]);
    let mut process: Value = serde_json::from_str(&bundle.place.read("bundle/config.json"))
        .map(|config: Value| config["process"].clone())
        .expect("JSON");
    process["args"] = json!(["sh", "-c", "echo of-a-file; exec sleep 4712"]);
    bundle.place.write("bundle/process.json", process.to_string());
    let words = ["--process", "process.json", "--detach", "--pid-file", "pid", "c"];
    let output = std::fs::File::create(bundle.path().join("output")).expect("a file");
    let mut command = bundle.command(&[&["exec"], &words[..]].concat());
    // The command inherits the streams: a pipe of the test would stay open.
    let status = command.stdout(output).status().expect("usnea");
    assert!(status.success());
    let pid: i32 = bundle.place.read("bundle/pid").parse().expect("a number");
    let pids: Vec<i32> =
        serde_json::from_str(bundle.oci(&["ps", "--format", "json", "c"]).works()).expect("JSON");
    assert!(pids.contains(&pid) && pids.len() == 2, "{pids:?} {pid}");
    bundle.oci(&["delete", "--force", "c"]).works();
    assert_eq!(bundle.place.read("bundle/output"), "of-a-file\n");
    bundle.place.write("bundle/process.json", "{\"args\": 1}");
    bundle.oci(&["run", "--detach", "c"]).works();
    exec(&["--process", "process.json", "c"]).fails_with(1, &["process.json", "args"]);
    bundle.oci(&["delete", "--force", "c"]).works();
}

#[test]
fn the_console_socket_gets_the_terminal_of_create_and_exec() {
    let bundle = Bundle::new("stty size; tty; exec sleep 4713");
    bundle.change(|config| {
        config["process"]["terminal"] = true.into();
        config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    });
    let listener = UnixListener::bind(bundle.path().join("s")).expect("a socket");
    let receive = || {
        let (socket, _) = listener.accept().expect("a connection");
        let mut name = [0; 64];
        let (_, master) = usnea::sys::fd::receive(&socket, &mut name).expect("a message");
        std::fs::File::from(master.expect("a descriptor"))
    };
    bundle.oci(&["create", "--console-socket", "s", "c"]).works();
    let mut master = receive();
    bundle.oci(&["start", "c"]).works();
    let read_until = |master: &mut std::fs::File, mark: &str| {
        let mut seen = String::new();
        let mut room = [0; 512];
        while !seen.contains(mark) {
            let length = master.read(&mut room).expect("output");
            seen.push_str(&String::from_utf8_lossy(&room[..length]));
        }
        seen
    };
    let seen = read_until(&mut master, "/dev/pts/0");
    assert!(seen.contains("33 77"), "{seen}");
    let words =
        ["exec", "--tty", "--detach", "--console-socket", "s", "c", "sh", "-c", "tty; sleep 4714"];
    bundle.oci(&words).works();
    read_until(&mut receive(), "/dev/pts/1");
    bundle.oci(&["delete", "--force", "c"]).works();
}

#[test]
fn descriptors_of_the_caller_are_passed_and_no_others() {
    let bundle = Bundle::new("cat <&3; echo \"$LISTEN_FDS $LISTEN_PID\"; ls /proc/self/fd | wc -l");
    bundle.place.write("bundle/given", "given\n");
    let run = |more: &str, flags: &str| {
        let states = bundle.place.path("states");
        let script = format!(
            "{more} exec '{}' oci --root '{}' run {flags} c 3<given 4<given",
            text(&binary()),
            text(&states)
        );
        let mut command = Command::new("sh");
        bundle.place.prepare(command.args(["-c", &script]));
        finish(command.current_dir(bundle.path()), "")
    };
    // 0 to 2, what is given, and that of ls itself.
    assert_eq!(run("", "--preserve-fds 1").works(), "given\n \n5");
    assert_eq!(run("LISTEN_FDS=1", "").works(), "given\n1 1\n5");
    let ran = run("exec 4<&-;", "--preserve-fds 3");
    assert!(ran.status == 1 && ran.stderr.contains("descriptor"), "{ran:?}");
}

#[test]
fn root_of_another_user_namespace_needs_no_further_one() {
    let bundle =
        Bundle::new("id -u; cat /proc/self/uid_map | tr -s ' '; readlink /proc/self/ns/user");
    bundle.change(|config| {
        let linux = config["linux"].as_object_mut().expect("an object");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        let list = linux["namespaces"].as_array_mut().expect("a list");
        list.retain(|namespace| namespace["type"] != "user");
    });
    let script = format!(
        "readlink /proc/self/ns/user; exec '{}' oci --root '{}' run c",
        text(&binary()),
        text(&bundle.place.path("states"))
    );
    let mut command = Command::new("unshare");
    bundle.place.prepare(command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
    ]));
    let ran = finish(command.current_dir(bundle.path()), "");
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!((lines[1], lines[0]), ("0", lines[3]), "{lines:?}");
    // Below it, one that the config asks for, of IDs that this namespace has.
    bundle.change(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
        list.push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 5, "hostID": 0, "size": 1 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["process"]["user"] = json!({ "uid": 5, "gid": 5 });
    });
    let mut command = Command::new("unshare");
    bundle.place.prepare(command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
    ]));
    let ran = finish(command.current_dir(bundle.path()), "");
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!((lines[1], lines[2].trim()), ("5", "5 0 1"), "{lines:?}");
    assert_ne!(lines[0], lines[3]);
}

#[test]
fn namespaces_with_a_path_are_entered() {
    let bundle = Bundle::new(SLEEP);
    bundle.oci(&["run", "--detach", "one"]).works();
    let pid = bundle.state("one")["pid"].clone();
    let namespace = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        std::fs::read_link(path).expect("a namespace").display().to_string()
    };
    let expected: Vec<String> = ["user", "ipc", "uts", "pid"].map(namespace).to_vec();
    bundle.change(|config| {
        config["process"]["args"] =
            json!(["sh", "-c", "for n in user ipc uts pid; do readlink /proc/self/ns/$n; done"]);
        config["linux"]["namespaces"] = json!([
            { "type": "mount" },
            { "type": "user", "path": format!("/proc/{pid}/ns/user") },
            { "type": "ipc", "path": format!("/proc/{pid}/ns/ipc") },
            { "type": "uts", "path": format!("/proc/{pid}/ns/uts") },
            { "type": "pid", "path": format!("/proc/{pid}/ns/pid") }
        ]);
    });
    let ran = bundle.oci(&["run", "two"]);
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), expected);
    bundle.oci(&["delete", "--force", "one"]).works();
}

#[test]
fn lists_have_runc_s_columns_and_fields() {
    let bundle = Bundle::new(SLEEP);
    assert_eq!(bundle.oci(&["list", "--format", "json"]).works(), "[]");
    bundle.oci(&["create", "b"]).works();
    bundle.oci(&["create", "a"]).works();
    assert_eq!(bundle.oci(&["list", "--quiet"]).works(), "a\nb");
    let table = bundle.oci(&["list"]);
    let heading = table.works().lines().next().expect("a line");
    let words: Vec<&str> = heading.split_whitespace().collect();
    assert_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let all: Vec<Value> =
        serde_json::from_str(bundle.oci(&["list", "-f", "json"]).works()).expect("JSON");
    assert!(all.iter().all(|state| state["status"] == "created"), "{all:?}");
    bundle.oci(&["delete", "-f", "a"]).works();
    bundle.oci(&["delete", "-f", "b"]).works();
}

#[test]
fn hooks_run_at_their_points_with_the_state() {
    let bundle = Bundle::new("true");
    let log = bundle.place.path("hooks");
    let script = |point: &str| {
        let text = format!("echo {point} $(grep -o '\"status\":\"[a-z]*\"') >> {}", text(&log));
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", text] }])
    };
    bundle.change(|config| {
        for point in ["prestart", "createRuntime", "poststart", "poststop"] {
            config["hooks"][point] = script(point);
        }
    });
    let so_far = || bundle.place.read("hooks").replace("\"status\":", "").replace('"', "");
    bundle.oci(&["create", "c"]).works();
    assert_eq!(so_far(), "prestart creating\ncreateRuntime creating\n");
    bundle.oci(&["start", "c"]).works();
    assert!(so_far().ends_with("poststart running\n"), "{}", so_far());
    bundle.becomes("c", "stopped");
    bundle.oci(&["delete", "c"]).works();
    assert!(so_far().ends_with("poststop stopped\n"), "{}", so_far());
    bundle.change(|config| {
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/false" }]);
    });
    bundle.oci(&["create", "c"]).fails_with(1, &["hooks.createRuntime[0]"]);
    bundle.has_no_state();
}

#[test]
fn a_failed_start_container_hook_ends_the_container_before_its_command() {
    let bundle = Bundle::new(SLEEP);
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    bundle.change(|config| config["hooks"]["startContainer"] = hook("exit 3"));
    bundle.oci(&["create", "c"]).works();
    assert_eq!(bundle.status("c"), "created");
    bundle.oci(&["start", "c"]).works();
    bundle.becomes("c", "stopped");
    assert!(!bundle.path().join("rootfs/tmp/out").exists(), "its command ran");
    bundle.oci(&["delete", "c"]).works();
    bundle.change(|config| config["hooks"]["startContainer"] = hook("echo hook > /tmp/hook"));
    bundle.oci(&["run", "--detach", "c"]).works();
    bundle.has_begun();
    assert_eq!(bundle.place.read("bundle/rootfs/tmp/hook"), "hook\n");
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.has_no_state();
}

#[test]
fn verbs_that_need_a_cgroup_say_so_and_checkpoint_is_refused() {
    let bundle = Bundle::new(SLEEP);
    bundle.oci(&["--cgroup-manager", "disabled", "run", "--detach", "c"]).works();
    for words in [
        &["pause", "c"][..],
        &["resume", "c"],
        &["events", "--stats", "c"],
        &["update", "--memory", "64m", "c"],
    ] {
        bundle.oci(words).fails_with(1, &["c has no cgroup of version 2"]);
    }
    bundle
        .oci(&["checkpoint", "c"])
        .fails_with(1, &["checkpoint", "privileges that an ordinary user does not have"]);
    bundle
        .oci(&["restore", "c"])
        .fails_with(1, &["restore", "privileges that an ordinary user does not have"]);
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.change(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 10 } }));
    bundle
        .oci(&["--cgroup-manager", "disabled", "create", "c"])
        .fails_with(1, &["linux.resources", "no cgroup"]);
    // A parent of config.json is named as there, not as the option of `usnea run`.
    bundle.change(|config| config["linux"]["cgroupsPath"] = "/system.slice/c".into());
    let refused = bundle.oci(&["create", "c"]);
    refused.fails_with(1, &["linux.cgroupsPath: the parent /system.slice: the cgroup does not"]);
}

#[test]
fn the_program_under_its_other_name_is_the_runtime_alone() {
    let bundle = Bundle::new("echo runs");
    let link = bundle.place.path("usnea-oci");
    std::os::unix::fs::symlink(binary(), &link).expect("a link");
    let run = |words: &[&str]| {
        let mut command = Command::new(&link);
        bundle.place.prepare(command.args(words));
        finish(command.current_dir(bundle.path()), "")
    };
    assert!(run(&["--version"]).works().starts_with("usnea-oci version "));
    let states = bundle.place.path("states");
    assert_eq!(run(&["--root", text(&states), "run", "c"]).works(), "runs");
    let features: Value = serde_json::from_str(run(&["features"]).works()).expect("JSON");
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["hooks"].as_array().map(Vec::len), Some(6));
    let mode = std::fs::metadata(&states).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_bundle_of_umoci_runs() {
    if !need("umoci") {
        return;
    }
    let bundle = Bundle::new("true");
    let place = &bundle.place;
    let umoci = |words: &[&str]| {
        let mut command = Command::new("umoci");
        place.prepare(command.args(words));
        finish(&mut command, "").works().to_owned()
    };
    umoci(&["init", "--layout", "layout"]);
    umoci(&["new", "--image", "layout:made"]);
    let root = bundle.path().join("rootfs");
    umoci(&["insert", "--rootless", "--image", "layout:made", text(&root), "/"]);
    umoci(&[
        "config",
        "--image",
        "layout:made",
        "--config.cmd",
        "/bin/echo",
        "--config.cmd",
        "of umoci",
    ]);
    umoci(&["unpack", "--rootless", "--image", "layout:made", "unpacked"]);
    bundle.place.write("bundle/config.json", place.read("unpacked/config.json"));
    bundle.change(|config| config["process"]["terminal"] = false.into());
    bundle.place.write("unpacked/config.json", place.read("bundle/config.json"));
    let unpacked = place.path("unpacked");
    assert_eq!(bundle.oci(&["run", "--bundle", text(&unpacked), "c"]).works(), "of umoci");
}
