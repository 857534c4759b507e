//! The state of the process that calls usnea: what of it must not come into a container, and must not confuse usnea.
//! Signals, umask, limits, descriptors, keys, the environment's folders; and what of usnea's command line other users see.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Place, Ran, Started, binary, finish, need, need_subids, processes, processes_with, within,
};

/// Puts the calling process in a state that no shell leaves a program in, then becomes usnea.
const ODD_CALLER: &str = r#"
import os, resource, signal, sys
os.umask(0o077)
catchable = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]
for number in catchable:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, catchable)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
for number in range(60, 70):
    os.dup2(1, number, inheritable=True)
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// usnea, called by [`ODD_CALLER`].
fn oddly<S: AsRef<str>>(place: &Place, words: &[S]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-c", ODD_CALLER]).arg(binary());
    command.args(words.iter().map(AsRef::as_ref));
    place.prepare(&mut command);
    command
}

/// What a command that [`ODD_CALLER`] has started must find.
fn assert_clean(shown: &str, how: &str) {
    let hard = nix_hard_limit().min(1 << 20);
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "Umask:\t0022"] {
        assert!(shown.contains(line), "{how}: no {line} in {shown}");
    }
    let limit = shown.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let limit: Vec<_> = limit.split_whitespace().collect();
    assert_eq!(limit.get(3).copied(), Some(hard.to_string().as_str()), "{how}: {shown}");
}

fn nix_hard_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

#[test]
fn signals_umask_and_limits_of_the_caller_stay_outside() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    let image = place.image();
    let look = ["cat", "/proc/self/status", "/proc/self/limits"];
    let run = |words: &[&str]| -> Ran { finish(&mut oddly(&place, words), "") };
    for flags in [&[][..], &["--init"], &["--pid", "host"], &["--root-emulation", "off"]] {
        let words = [&["run", "--rm"], flags, &[&image], &look].concat();
        assert_clean(run(&words).works(), &format!("run {flags:?}"));
    }
    run(&[&["run", "-d", "--name", "once", &image], &look[..]].concat()).works();
    run(&["wait", "once"]).works();
    assert_clean(run(&["logs", "once"]).works(), "run -d");
    assert_clean(run(&["start", "-a", "once"]).works(), "start -a");
    run(&["rm", "once"]).works();
    // Started again by its policy: by a monitor.
    let script = "test -e /again && sleep 100; touch /again; exit 1";
    run(&["run", "-d", "--name", "again", "--restart", "always", &image, "sh", "-c", script])
        .works();
    let mut entered = None;
    within(Duration::from_secs(20), || {
        entered =
            Some(run(&[&["exec", "again"], &look[..]].concat())).filter(|ran| ran.status == 0);
        entered.is_some()
    });
    assert_clean(entered.expect("it runs again").works(), "exec");
    run(&["rm", "-f", "-t", "0", "again"]).works();
}

#[test]
fn a_limit_of_open_files_that_is_asked_for_counts() {
    let place = Place::new();
    assert_eq!(place.run(&["--ulimit", "nofile=100:200"], "ulimit -n").works(), "100");
}

#[test]
fn every_verb_works_from_an_odd_caller() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    let image = place.image();
    place.write("file", "a file");
    let at = |name: &str| place.path(name).display().to_string();
    let (file, archive) = (at("file"), at("archive"));
    let to = format!("one:{}", "/tmp");
    let verbs: [&[&str]; 27] = [
        &["volume", "create", "vol"],
        &["create", "--name", "one", "-v", "vol:/vol", &image, "sleep", "100"],
        &["start", "one"],
        &["ps"],
        &["inspect", "one"],
        &["top", "one"],
        &["exec", "one", "true"],
        &["cp", &file, &to],
        &["diff", "one"],
        &["rename", "one", "two"],
        &["port", "two"],
        &["restart", "-t", "0", "two"],
        &["kill", "two"],
        &["wait", "two"],
        &["logs", "two"],
        &["commit", "two", "image"],
        &["export", "two", "-o", &archive],
        &["rm", "two"],
        &["images"],
        &["history", "image"],
        &["run", "--rm", "localhost/image", "true"],
        &["rmi", "image"],
        &["volume", "rm", "vol"],
        &["system", "df"],
        &["info"],
        &["version"],
        &["check"],
    ];
    for words in verbs {
        finish(&mut oddly(&place, words), "").works();
    }
}

#[test]
fn files_made_for_containers_have_the_same_modes_with_every_umask() {
    let place = Place::new();
    for umask in ["000", "027", "077"] {
        let name = format!("vol{umask}");
        let words = place.arguments(
            &["-v", &format!("{name}:/vol"), "-v", &format!("{name}a:/other/vol")],
            &["stat", "-c", "%a", "/", "/etc", "/vol", "/other", "/other/vol", "/dev/shm"],
        );
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(binary());
        place.prepare(command.args(words));
        let shown = finish(&mut command, "").works().replace('\n', " ");
        assert_eq!(shown, "755 755 755 755 755 1777", "umask {umask}");
        place.usnea(&["volume", "rm", &name, &format!("{name}a")]).works();
    }
}

#[test]
fn streams_that_the_caller_closed_are_empty() {
    let place = Place::new();
    place.run_kept(&["-d", "--name", "lives"], "sleep 100").works();
    let image = place.image();
    let out = place.folder("out").display().to_string() + ":/out";
    let script =
        "for i in 0 1 2; do readlink /proc/self/fd/$i; done > /tmp/seen; mv /tmp/seen /out/seen";
    let script = script.replace("mv /tmp/seen", "cp /tmp/seen");
    let ways: [&[&str]; 2] = [&["run", "--rm", "-i", "-v", &out, &image], &["exec", "-i", "lives"]];
    for (way, close) in ways.iter().zip(["<&- >&- 2>&-", "<&- >&- 2>&-"]) {
        let script = match way[0] {
            "run" => script.as_str(),
            _ => {
                "test $(readlink /proc/self/fd/0) = /dev/null && test $(readlink /proc/self/fd/2) = /dev/null"
            }
        };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {close}")]).arg(binary());
        place.prepare(command.args(*way).args(["sh", "-c", script]));
        finish(&mut command, "").works();
    }
    let seen = place.read("out/seen");
    assert_eq!(seen.lines().collect::<Vec<_>>()[..1], ["/dev/null"], "{seen}");
    assert!(seen.ends_with("/dev/null\n"), "{seen}");
    place.usnea(&["rm", "-f", "-t", "0", "lives"]).works();
}

#[test]
fn a_working_folder_that_was_removed_is_no_obstacle() {
    let place = Place::new();
    place.run_kept(&["-d", "--name", "lives"], "sleep 100").works();
    let run = place.arguments(&[], &["echo", "ran"]);
    let run: Vec<_> = run.iter().map(String::as_str).collect();
    let ways: [&[&str]; 4] = [&run, &["exec", "lives", "echo", "ran"], &["ps"], &["logs", "lives"]];
    for (number, words) in ways.iter().enumerate() {
        let folder = place.folder(&format!("gone{number}"));
        let mut command = Command::new("sh");
        command.args(["-c", "cd \"$0\" && rmdir \"$0\" && exec \"$@\""]).arg(folder).arg(binary());
        command.args(*words).env("USNEA_ROOT", place.store());
        finish(&mut command, "").works();
    }
    place.usnea(&["rm", "-f", "-t", "0", "lives"]).works();
}

#[test]
fn relative_folders_in_the_environment_are_ignored() {
    let place = Place::new();
    let names = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];
    for relative in ["relative", "./relative", "."] {
        let folder = place.folder("here");
        let mut command = Command::new(binary());
        command.args(["info", "--format", "{{.Store.GraphRoot}}"]).current_dir(&folder);
        command.env_remove("USNEA_ROOT").envs(names.map(|name| (name, relative)));
        let shown = finish(&mut command, "");
        let root = PathBuf::from(shown.works());
        assert!(root.ends_with(".local/share/usnea"), "{shown:?}");
        assert!(!root.starts_with(&folder), "{shown:?}");
        let left = std::fs::read_dir(&folder).expect("the folder").count();
        assert_eq!(left, 0, "{relative}");
    }
}

/// Calls of keyctl(2) by number: the program of that name is not on every machine.
const KEYS: &str = r#"
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL, SESSION = (217, 219, -3) if os.uname().machine == "aarch64" else (248, 250, -3)
def call(*words):
    answer = libc.syscall(*[ctypes.c_long(word) if isinstance(word, int) else word for word in words])
    return answer if answer >= 0 else -ctypes.get_errno()
def join(): return call(KEYCTL, 1, None)
def add(name): return call(ADD_KEY, b"user", name, b"TOPSECRET", 9, SESSION)
def search(): return call(KEYCTL, 10, SESSION, b"user", b"usnea-test", 0)
"#;

#[test]
fn the_caller_s_keys_stay_outside() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    let inside = format!("{KEYS}\nprint(search())");
    let outside = format!(
        r#"{KEYS}
assert join() > 0 and add(b"usnea-test") > 0 and search() > 0
usnea, inside = sys.argv[1:]
def run(*words): return subprocess.run([usnea, *words, "python3", "-c", inside], capture_output=True, text=True)
# docker's default profile denies the calls for keys whatever keys there are.
assert run("run", "--rm", "host:python3").stdout.strip() == "-1"
all_calls = ["--security-opt", "seccomp=unconfined"]
image = "host:python3,sleep"
def look(*flags):
    ran = run("run", "--rm", *all_calls, *flags, image)
    assert ran.returncode == 0, ran
    print(*flags, ran.stdout.strip())
look()
look("--init")
look("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
look("--userns", "keep-id")
subprocess.run([usnea, "run", "-d", *all_calls, "--name", "lives", image, "sleep", "100"], check=True, stdout=subprocess.DEVNULL)
print("exec", run("exec", "lives").stdout.strip())
subprocess.run([usnea, "rm", "-f", "-t", "0", "lives"], check=True, stdout=subprocess.DEVNULL)
# The quota of keys is spent: no new keyring, so no keys at all.
# (Keyrings of containers that have ended are given back a little later.)
number = 0
for attempt in range(50):
    while add(b"%d" % number) > 0:
        number += 1
        assert number < 100000
    ran = run("run", "--rm", *all_calls, image)
    if ran.stdout.strip() == "-38":
        break
print("spent", ran.stdout.strip())
"#
    );
    let mut command = Command::new("python3");
    command.args(["-c", &outside]).arg(binary()).arg(&inside);
    place.prepare(&mut command);
    let ran = finish(&mut command, "");
    let shown = ran.works();
    // ENOKEY (126); ENOSYS (38) where another test has spent the quota, or this one has.
    for line in shown.lines() {
        assert!(line.ends_with("-126") || line.ends_with("-38"), "{line} in {ran:?}");
    }
    assert_eq!(shown.lines().count(), 6, "{ran:?}");
    assert!(shown.ends_with("-38"), "{ran:?}");
}

#[test]
fn no_process_that_stays_shows_the_command_line() {
    let secret = format!("secret-{}", std::process::id());
    let variable = format!("WORD={secret}");
    for driver in ["auto", "fuse"] {
        let place = Place::new();
        let flags = ["run", "-d", "--init", "--name", "quiet", "-e", &variable];
        let flags = match driver {
            "auto" => flags.to_vec(),
            _ => [&flags[..], &["--storage-driver", driver]].concat(),
        };
        place.usnea(&place.kept(&flags, "sleep 100")).works();
        let with_secret = || processes_with(&secret).len();
        assert_eq!(with_secret(), 0, "{driver}");
        let titles: Vec<_> = processes()
            .iter()
            .map(|process| process.text("cmdline"))
            .filter(|line| line.starts_with("usnea: ") && line.contains("of quiet"))
            .collect();
        let has =
            |role: &str| titles.iter().any(|title| title.starts_with(&format!("usnea: {role}")));
        assert!(has("monitor") && has("init"), "{driver}: {titles:?}");
        assert!(has("keeper") || has("root emulation"), "{driver}: {titles:?}");
        assert!(driver == "auto" || has("file server"), "{driver}: {titles:?}");
        let inside = place.usnea(&["exec", "quiet", "cat", "/proc/1/cmdline"]);
        assert!(inside.works().starts_with("usnea: init of quiet"), "{driver}: {inside:?}");
        place.usnea(&["rm", "-f", "-t", "0", "quiet"]).works();
    }
}

/// Where the sockets of monitors lie, with this runtime folder: whether that is in it. The container can be waited for.
fn listens_in(runtime: &Path) -> bool {
    let place = Place::new();
    let usnea = |words: &[&str]| -> Ran {
        finish(place.command(words).env("XDG_RUNTIME_DIR", runtime), "")
    };
    let words = place.kept(&["run", "-d", "--name", "heard"], "read line; exit 7");
    usnea(&words.iter().map(String::as_str).collect::<Vec<_>>()).works();
    let path = usnea(&["inspect", "-f", "{{.Id}}", "heard"]).works().to_owned();
    let state = place.read(&format!("store/containers/{path}/state.json"));
    usnea(&["wait", "heard"]).works();
    usnea(&["rm", "heard"]).works();
    state.contains(&format!("\"{}/usnea/", runtime.display()))
}

/// After su(1) the variable names another user's folder, and batch systems make some that all may write to.
#[test]
fn a_runtime_folder_that_others_may_enter_is_not_used() {
    for (mode, inside, is_used) in [
        (0o700, "", true),
        (0o755, "", false),
        (0o777, "", false),
        (0o1777, "", false),
        (0o700, "mkdir -m 700 $0/usnea;", true),
        (0o700, "mkdir -m 777 $0/usnea;", false),
        (0o700, "mkdir $0/else; ln -s else $0/usnea;", false),
        (0o700, "echo > $0/usnea;", false),
    ] {
        let place = tempfile::tempdir().expect("a folder");
        let runtime = place.path().join("runtime");
        std::fs::create_dir(&runtime).expect("a folder");
        std::fs::set_permissions(&runtime, Permissions::from_mode(mode)).expect("its mode");
        finish(Command::new("sh").args(["-c", &format!("umask 0; {inside} :")]).arg(&runtime), "");
        let inside = inside.replace("$0", "");
        assert_eq!(listens_in(&runtime), is_used, "{mode:o} {inside}");
    }
}

/// A socket of another user's where the container's monitor listened: what is typed is not for them.
#[test]
fn a_socket_of_another_user_s_is_not_talked_to() {
    if !need_subids() || !need("python3") || !need("unshare") || !need("setpriv") {
        return;
    }
    let place = Place::new();
    let open = tempfile::Builder::new().prefix("usnea-open-").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("its mode");
    let socket = open.path().join("fake");
    let listen = "import os, socket, sys\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1])\n\
        os.chmod(sys.argv[1], 0o777); s.listen(); print('ready', flush=True)\n\
        while True:\n    c = s.accept()[0]; print('heard', c.recv(100), flush=True)";
    let mut other = Command::new("unshare");
    other.args(["--map-root-user", "--map-auto", "setpriv", "--reuid", "1", "--clear-groups"]);
    other.args(["python3", "-c", listen]).arg(&socket);
    let mut other = Started::new(&mut other, "");
    other.wait_for("ready");

    let words =
        place.kept(&["run", "-d", "-i", "--name", "heard"], "read line; echo got $line; exit 7");
    place.usnea(&words).works();
    let id = place.usnea(&["inspect", "-f", "{{.Id}}", "heard"]).works().to_owned();
    let path = place.path(&format!("store/containers/{id}/state.json"));
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("a state")).expect("JSON");
    state["socket"] = socket.display().to_string().into();
    std::fs::write(&path, state.to_string()).expect("a state");
    // The monitor makes another socket when it is asked.
    let attached = finish(&mut place.command(&["attach", "heard"]), "secret\n");
    assert_eq!(attached.exits(7), "got secret");
    other.signal(rustix::process::Signal::KILL);
    let heard = other.end();
    assert!(!heard.stdout.contains("secret"), "{heard:?}");
    let _ = finish(
        Command::new("unshare").args(["--map-root-user", "--map-auto", "rm", "-f"]).arg(&socket),
        "",
    );
    place.usnea(&["rm", "heard"]).works();
}
