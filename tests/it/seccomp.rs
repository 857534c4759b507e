//! The filter of system calls: docker's default profile, profiles of one's own, none, and the agent of a profile.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use usnea::sys::seccomp::{Answer, Listener};

use crate::bundle::Bundle;
use crate::support::{Place, Ran, Started, finish, need, text};

const UNCONFINED: [&str; 2] = ["--security-opt", "seccomp=unconfined"];
const ADMIN: [&str; 2] = ["--cap-add", "SYS_ADMIN"];

/// Writes a profile; returns its option.
fn profile(place: &Place, name: &str, profile: &str) -> String {
    format!("seccomp={}", text(&place.write(name, profile)))
}

/// A profile that allows all but these calls.
fn denying(place: &Place, names: &[&str]) -> String {
    let names = serde_json::to_string(names).expect("JSON");
    let text = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":{names},"action":"SCMP_ACT_ERRNO","errnoRet":1}}]}}"#
    );
    profile(place, "denying.json", &text)
}

/// The mode of the command's filter, and the number of its filters.
fn filters(place: &Place, options: &[&str]) -> String {
    let ran = place.run(options, "grep ^Seccomp /proc/self/status");
    ran.works().split_whitespace().filter(|word| !word.ends_with(':')).collect::<Vec<_>>().join(" ")
}

/// Runs a script of python, which can make any call.
fn python(place: &Place, options: &[&str], script: &str) -> Ran {
    place.usnea(&[&["run", "--rm"], options, &["host:python3", "python3", "-c", script]].concat())
}

/// Prints the errno of each of these calls with these arguments.
const ERRNOS: &str = "
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *[ctypes.c_ulong(one) for one in arguments])
    print(errno.errorcode.get(ctypes.get_errno(), 'none'))
";

#[test]
fn system_calls_that_docker_denies_are_denied() {
    let place = Place::new();
    for script in [
        "unshare -U true",
        "unshare -m true",
        "mkdir -p /m; mount -t tmpfs none /m",
        "hostname changed",
    ] {
        let ran = place.run(&[], script);
        assert_ne!(ran.status, 0, "{script}: {ran:?}");
        let said = ran.stderr.to_lowercase();
        assert!(said.contains("not permitted") || said.contains("denied"), "{script}: {ran:?}");
    }
    for options in [&ADMIN, &UNCONFINED] {
        place.run(options, "unshare -U true && unshare -U -r -m mount -t tmpfs none /tmp").works();
    }
    place.run(&ADMIN, "mkdir -p /m; mount -t tmpfs none /m && hostname changed").works();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_fail_as_docker_has_them_fail() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    // clone3, unshare, keyctl, add_key, io_uring_setup, bpf, userfaultfd; personality with ADDR_NO_RANDOMIZE, and with
    // UNAME26; socket of AF_VSOCK, AF_ALG and AF_INET; a call that no kernel has, and one younger than the profile.
    let calls = "
for arguments in ((435, 0, 0), (272, 0x10000000), (250, 0, 0), (248, 0, 0), (425, 1, 0), (321, 0), (323, 0), \
    (135, 0x40000), (135, 0x20000), (41, 40, 1, 0), (41, 38, 5, 0), (41, 2, 1, 0), (999, 0), (467, 0)):
    call(*arguments)
";
    let expected =
        "ENOSYS EPERM EPERM EPERM EPERM EPERM EPERM EPERM none EPERM EPERM none ENOSYS ENOSYS";
    for options in [
        &[][..],
        &["--init"],
        &["--cap-drop", "ALL"],
        &["--user", "1000:1000", "--userns", "keep-id:uid=1000,gid=1000"],
    ] {
        let ran = python(&place, options, &format!("{ERRNOS}{calls}"));
        assert_eq!(
            ran.works().split_whitespace().collect::<Vec<_>>().join(" "),
            expected,
            "{options:?}"
        );
    }
}

#[test]
fn threads_and_everyday_programs_work() {
    let place = Place::new();
    let script = "echo a | sort > f && gzip f && tar -cf f.tar f.gz && touch -d 2020-01-01 f.tar && ls -l f.tar | wc -l";
    assert_eq!(place.run(&[], script).works(), "1");
    if need("python3") {
        let script = "
import socket, subprocess, sys, threading, multiprocessing.shared_memory
threads = [threading.Thread(target=print, args=(number,)) for number in range(3)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))
print(subprocess.run([sys.executable, '-c', 'print(4)'], capture_output=True).stdout)
";
        let ran = python(&place, &[], script);
        let mut lines: Vec<&str> = ran.works().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["0", "1", "2", "b'4\\n'", "b'x'"]);
    }
}

#[test]
fn there_is_one_filter_with_and_without_root_emulation() {
    let place = Place::new();
    for emulation in ["off", "seccomp", "owners"] {
        let options = ["--root-emulation", emulation];
        assert_eq!(filters(&place, &options), "2 1", "{emulation}");
        let mut none = options.to_vec();
        none.extend(UNCONFINED);
        let expected = if emulation == "off" { "0 0" } else { "2 1" };
        assert_eq!(filters(&place, &none), expected, "{emulation}");
    }
    // A call that the profile denies is denied with root emulation too.
    let ran = place.run(&["--root-emulation", "seccomp"], "chown 5 /tmp && unshare -U true");
    assert_ne!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("unshare"), "{ran:?}");
    let option = denying(&place, &["chown", "fchownat", "lchown", "fchown"]);
    let ran =
        place.run(&["--root-emulation", "seccomp", "--security-opt", &option], "chown 5 /tmp");
    assert_ne!(ran.status, 0, "{ran:?}");
}

#[test]
fn privileged_containers_have_no_filter_unless_one_is_named() {
    let place = Place::new();
    let off = ["--root-emulation", "off"];
    let with = |options: &[&str]| filters(&place, &[&off, options].concat());
    assert_eq!(with(&["--privileged"]), "0 0");
    assert_eq!(with(&["--privileged", "--security-opt", "seccomp=builtin"]), "2 1");
    assert_eq!(with(&["--security-opt", "seccomp:unconfined"]), "0 0");
    assert_eq!(
        with(&["--security-opt", "seccomp=unconfined", "--security-opt", "seccomp=builtin"]),
        "2 1"
    );
    assert_eq!(with(&["--security-opt", "no-new-privileges"]), "2 1");
}

#[test]
fn exec_has_the_filter_of_the_container() {
    let place = Place::new();
    let option = denying(&place, &["mkdir", "mkdirat"]);
    let options = ["run", "-d", "--name", "box", "--security-opt", &option];
    place.usnea(&place.kept(&options, "exec sleep 1000")).works();
    // The profile is in the container's config: its file is not needed again.
    std::fs::remove_file(place.path("denying.json")).expect("the profile");
    for words in [&["exec"][..], &["exec", "--privileged"], &["exec", "-t"]] {
        let script = "mkdir /tmp/new || unshare -U echo made";
        let ran = place.usnea(&[words, &["box", "sh", "-c", script]].concat());
        assert!(ran.works().contains("made"), "{words:?} {ran:?}");
    }
    place.usnea(&["restart", "-t", "0", "box"]).works();
    assert_ne!(place.usnea(&["exec", "box", "mkdir", "/tmp/new"]).status, 0);
    let shown = place.usnea(&["inspect", "--format", "{{json .HostConfig.SecurityOpt}}", "box"]);
    assert_eq!(shown.works(), format!("[\"{option}\"]"));
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();

    place.run_kept(&["-d", "--name", "box"], "exec sleep 1000").works();
    let ran = place.usnea(&["exec", "--privileged", "box", "unshare", "-U", "true"]);
    assert_ne!(ran.status, 0, "{ran:?}");
    let shown = place.usnea(&["inspect", "--format", "{{json .HostConfig.SecurityOpt}}", "box"]);
    assert_eq!(shown.works(), "[]");
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    place.nothing_is_left();
}

#[test]
fn a_profile_may_deny_all_that_usnea_itself_calls() {
    let place = Place::new();
    let option = denying(
        &place,
        &[
            "sendmsg",
            "sendto",
            "recvmsg",
            "recvfrom",
            "capset",
            "prctl",
            "poll",
            "ppoll",
            "wait4",
            "waitid",
            "rt_sigaction",
            "rt_sigprocmask",
            "rt_sigtimedwait",
            "close_range",
            "unshare",
            "setns",
            "mount",
            "kill",
            "pidfd_send_signal",
            "setsid",
            "ioctl",
        ],
    );
    for more in [&[][..], &["--init"], &["--security-opt", "no-new-privileges"], &["-t"]] {
        let options = [&["--root-emulation", "off", "--security-opt", &option], more].concat();
        place.usnea(&place.arguments(&options, &["true"])).works();
    }
    place.nothing_is_left();
}

#[test]
fn profiles_in_docker_s_format_are_applied() {
    let place = Place::new();
    let text = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
                    { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] }],
        "syscalls": [
            { "names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
              "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "name": "chroot", "action": "SCMP_ACT_ERRNO", "comment": "old form",
              "includes": { "minKernel": "4.8", "arches": ["amd64", "arm64"] } },
            { "names": ["symlinkat", "symlink"], "action": "SCMP_ACT_KILL_PROCESS", "args": [] }
        ]
    }"#;
    let option = profile(&place, "profile.json", text);
    let options = ["--security-opt", option.as_str()];
    let ran = place.run(&options, "mkdir /tmp/a");
    assert!(ran.status != 0 && ran.stderr.contains("No space left"), "{ran:?}");
    let admin = [&options[..], &ADMIN].concat();
    place.run(&admin, "mkdir /tmp/a").works();
    assert_ne!(place.run(&options, "chroot / true").status, 0);
    assert_ne!(place.run(&options, "ln -s a /tmp/b || exit 3").status, 0);
    // The path is taken from the working folder.
    let near = ["--security-opt", "seccomp=profile.json"];
    assert_ne!(place.run(&near, "mkdir /tmp/a").status, 0);
}

#[test]
fn profiles_that_cannot_be_applied_are_refused_before_anything_runs() {
    let place = Place::new();
    for (name, text, phrase) in [
        ("a.json", "{", "not JSON"),
        ("b.json", r#"{"syscalls": []}"#, "defaultAction: missing"),
        (
            "c.json",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NO"}]}"#,
            "syscalls[0].action: unknown word 'SCMP_ACT_NO'",
        ),
        (
            "d.json",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","include":{}}]}"#,
            "syscalls[0].include: unknown field",
        ),
        ("e.json", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "listenerPath"),
    ] {
        let option = profile(&place, name, text);
        for verb in [&["run", "--rm"][..], &["create"]] {
            let words = [verb, &["--security-opt", &option]].concat();
            place.usnea(&place.kept(&words, "touch /ran")).fails_with(125, &[name, phrase]);
        }
    }
    let missing = place.run(&["--security-opt", "seccomp=/no/such/file"], "true");
    missing.fails_with(125, &["/no/such/file"]);
    place.run(&["--security-opt", "seccomp="], "true").fails_with(125, &["seccomp"]);
    place.nothing_is_left();
}

#[test]
fn the_settings_name_the_filter_of_containers_without_the_option() {
    let place = Place::new();
    let script = "grep ^Seccomp: /proc/self/status";
    let options = ["--root-emulation", "off"];
    let run = |more: &[&str]| {
        let words = place.arguments(&[&options, more].concat(), &["sh", "-c", script]);
        finish(place.command(&words).env("XDG_CONFIG_HOME", place.path("config")), "")
    };
    let settings = |word: &str| {
        place.write("config/usnea/usnea.toml", format!("[security]\nseccomp = \"{word}\"\n"));
    };
    settings("unconfined");
    assert!(run(&[]).works().ends_with('0'));
    assert!(run(&["--security-opt", "seccomp=builtin"]).works().ends_with('2'));
    settings(text(&place.path("own.json")));
    run(&[]).fails_with(125, &["own.json"]);
    place.write("own.json", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}"#);
    assert!(run(&[]).works().ends_with('2'));
    assert!(run(&["--privileged"]).works().ends_with('0'));
    settings("own.json");
    run(&[]).fails_with(125, &["security.seccomp", "own.json"]);
}

#[test]
fn another_runtime_reads_the_rules_in_the_printed_config() {
    let place = Place::new();
    let image = place.image();
    let spec = |options: &[&str]| {
        let ran = place.usnea(&[&["spec"], options, &[image.as_str(), "true"]].concat());
        serde_json::from_str::<serde_json::Value>(ran.works()).expect("JSON")
    };
    let default = spec(&[]);
    let rules = default["linux"]["seccomp"]["syscalls"].as_array().expect("rules");
    assert_eq!(default["linux"]["seccomp"]["defaultErrnoRet"], 1);
    assert!(rules.iter().all(|rule| rule["action"] != "SCMP_ACT_NOTIFY"));
    let allows = |spec: &serde_json::Value, name: &str| {
        spec["linux"]["seccomp"].to_string().contains(&format!("\"{name}\""))
    };
    assert!(allows(&default, "read") && !allows(&default, "mount"));
    assert!(allows(&spec(&ADMIN), "mount"));
    assert!(spec(&UNCONFINED)["linux"]["seccomp"].is_null());
    let explained = place.usnea(&["run", "--explain", &image, "true"]);
    assert!(explained.works().contains("docker's default profile"), "{explained:?}");
    let info = place.usnea(&["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(info.works().contains("name=seccomp,profile=builtin"), "{info:?}");
}

/// Answers the calls of one container: each fails with EDQUOT. Returns the state that came with the listener.
fn answer(socket: &UnixListener, calls: usize) -> serde_json::Value {
    let (stream, _) = socket.accept().expect("the runtime");
    let mut room = vec![0; 64 << 10];
    let (length, listener) = usnea::sys::fd::receive(stream.as_fd(), &mut room).expect("a state");
    let state = serde_json::from_slice(&room[..length]).expect("JSON");
    let listener = Listener::from(listener.expect("a listener"));
    for _ in 0..calls {
        let call = loop {
            match listener.receive() {
                Ok(Some(call)) => break call,
                Ok(None) => {}
                Err(error) => panic!("no call: {error}"),
            }
        };
        listener.answer(&call, Answer::Errno(libc::EDQUOT)).expect("an answer");
    }
    state
}

fn agent_profile(place: &Place, socket: &Path) -> String {
    let text = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "some text",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
    });
    profile(place, "agent.json", &text.to_string())
}

#[test]
fn an_agent_decides_the_calls_of_a_profile() {
    let place = Place::new();
    let path = place.path("agent");
    let option = agent_profile(&place, &path);
    let socket = UnixListener::bind(&path).expect("a socket");
    let options = ["run", "--name", "box", "--root-emulation", "off", "--security-opt", &option];
    let script = "mkdir /tmp/new; echo $?; touch /tmp/ready; exec sleep 1000";
    let mut started = Started::new(&mut place.command(&place.kept(&options, script)), "");
    let state = answer(&socket, 1);
    started.wait_for("1");
    assert_eq!(state["fds"], serde_json::json!(["seccompFd"]));
    assert_eq!(state["metadata"], "some text");
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!(state["state"]["pid"], state["pid"]);
    let id = state["state"]["id"].as_str().expect("an ID");
    assert_eq!(id.len(), 64);
    assert!(state["state"]["bundle"].as_str().expect("a folder").contains(&id[..12]));

    let exec = Started::new(&mut place.command(&["exec", "box", "mkdir", "/tmp/other"]), "");
    let of_exec = answer(&socket, 1);
    assert_eq!(exec.end().status, 1);
    assert_eq!(of_exec["state"]["status"], "running");
    assert_eq!(of_exec["state"]["pid"], state["pid"]);
    assert_ne!(of_exec["pid"], state["pid"]);
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    started.end();
    place.nothing_is_left();
}

#[test]
fn an_agent_that_does_not_listen_ends_the_launch() {
    let place = Place::new();
    let path = place.path("agent");
    let option = agent_profile(&place, &path);
    let options = ["--root-emulation", "off", "--security-opt", &option];
    place.run(&options, "true").fails_with(125, &["listenerPath", text(&path)]);
    drop(UnixListener::bind(&path).expect("a socket"));
    place.run(&options, "true").fails_with(125, &["listenerPath", "refused"]);
    // A filter has one listener.
    let options = ["--root-emulation", "seccomp", "--security-opt", &option];
    let ran = place.run(&options, "true");
    ran.fails_with(125, &["listenerPath", "root emulation"]);
    ran.hints();
    place.nothing_is_left();
}

#[test]
fn a_bundle_has_the_filter_of_its_config_and_no_other() {
    let bundle = Bundle::new("grep ^Seccomp: /proc/self/status");
    assert!(bundle.oci(&["run", "c"]).works().ends_with('0'));
    bundle.change(|config| {
        config["linux"]["seccomp"] = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    });
    assert!(bundle.oci(&["run", "c"]).works().ends_with('2'));
}

#[test]
fn an_agent_decides_the_calls_of_a_bundle_whose_creator_has_left() {
    let script = "mkdir /tmp/new; echo $? > /tmp/out; exec sleep 4711";
    let bundle = Bundle::new(script);
    let path = bundle.path().join("agent");
    bundle.change(|config| {
        config["linux"]["seccomp"] = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    bundle.oci(&["create", "c"]).fails_with(1, &["listenerPath", text(&path)]);
    bundle.has_no_state();
    let socket = UnixListener::bind(&path).expect("a socket");
    let create = std::thread::spawn(move || (answer(&socket, 1), socket));
    bundle.oci(&["create", "c"]).works();
    bundle.oci(&["start", "c"]).works();
    let (state, socket) = create.join().expect("an agent");
    assert_eq!(
        (&state["state"]["status"], &state["state"]["id"]),
        (&"creating".into(), &"c".into())
    );
    assert_eq!(state["pid"], bundle.state("c")["pid"]);
    bundle.has_begun();
    assert_eq!(bundle.place.read("bundle/rootfs/tmp/out"), "1\n");
    let exec = std::thread::spawn(move || answer(&socket, 1));
    bundle.oci(&["exec", "c", "mkdir", "/tmp/other"]).exits(1);
    let state = exec.join().expect("an agent");
    assert_eq!(
        (&state["state"]["status"], &state["state"]["id"]),
        (&"running".into(), &"c".into())
    );
    bundle.oci(&["delete", "--force", "c"]).works();
    bundle.has_no_state();
}
