//! `--security-opt`: what each option takes away, and that what cannot be applied is an error before the command runs.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::support::{Place, need_that, text, within};

/// A place in which a kernel with landlock was found.
fn with_landlock() -> Option<Place> {
    let has = usnea::sys::probe::landlock_version().is_ok();
    need_that(has, "landlock").then(Place::new)
}

#[test]
fn proc_has_the_options_that_were_asked_for() {
    let place = Place::new();
    let look = "grep ' /proc ' /proc/self/mountinfo; ls /proc | grep -c '^[0-9]'; ls /proc/sys";
    let plain = place.run(&[], look);
    assert!(plain.works().contains("kernel"), "{plain:?}");
    let subset = place.run(&["--security-opt", "proc-opts=hidepid=2,subset=pid"], look);
    let (line, _) = subset.stdout.split_once('\n').expect("lines");
    assert!(line.contains("hidepid=invisible") || line.contains("hidepid=2"), "{subset:?}");
    assert!(line.contains("subset=pid"), "{subset:?}");
    assert!(subset.stderr.contains("/proc/sys"), "/proc/sys is there: {subset:?}");
    let host = ["--pid", "host", "--security-opt", "proc-opts=hidepid=2"];
    place.run(&host, "true").fails_with(125, &["proc-opts", "--pid host"]);
    place
        .run(&["--security-opt", "proc-opts=gid=99999999"], "true")
        .fails_with(125, &["99999999", "not mapped"]);
}

#[test]
fn no_user_namespace_can_be_made_where_they_are_forbidden() {
    let place = Place::new();
    let script = "unshare -U true && echo made; echo 9 > /proc/sys/user/max_user_namespaces; \
                  cat /proc/sys/user/max_user_namespaces";
    // Without the filter, which denies them too.
    let unfiltered = ["--security-opt", "no-userns", "--security-opt", "seccomp=unconfined"];
    for options in [&unfiltered[..2], &unfiltered] {
        let ran = place.run(options, script);
        assert_eq!(ran.stdout, "0\n", "{ran:?}");
    }
    // With /proc/sys writable and the capabilities of a mount, the limit stays all the same.
    let more =
        ["--security-opt", "no-userns", "--security-opt", "unmask=ALL", "--cap-add", "SYS_ADMIN"];
    let ran = place.run(&more, script);
    assert_eq!(ran.stdout, "0\n", "{ran:?}");
    for capable in [&["--privileged"][..], &["--cap-add", "SYS_RESOURCE"], &["--cap-add", "ALL"]] {
        let options = [&["--security-opt", "no-userns"], capable].concat();
        place.run(&options, "true").fails_with(125, &["no-userns", "exclude each other"]);
    }
}

#[test]
fn no_user_namespace_can_be_made_in_exec_where_they_are_forbidden() {
    let place = Place::new();
    let forbidden = ["--security-opt", "no-userns", "--security-opt", "seccomp=unconfined"];
    let options = [&["run", "-d", "--name", "cc"], &forbidden[..]].concat();
    place.usnea(&place.kept(&options, "sleep 100")).works();
    let ran = place.usnea(&["exec", "cc", "unshare", "-U", "true"]);
    assert!(ran.status != 0, "{ran:?}");
    let options = place.usnea(&["inspect", "-f", "{{.HostConfig.SecurityOpt}}", "cc"]);
    assert_eq!(options.works(), "[seccomp=unconfined no-userns]");
    place.usnea(&["rm", "-f", "-t", "0", "cc"]).works();
}

#[test]
fn a_profile_or_label_that_cannot_be_applied_is_an_error() {
    let place = Place::new();
    let is_there = fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with('Y'));
    let missing = ["--security-opt", "apparmor=usnea-test-that-is-not-loaded"];
    let ran = place.run(&missing, "echo ran");
    match is_there {
        true => ran.fails_with(125, &["process.apparmorProfile"]),
        false => ran.fails_with(125, &["this kernel has no AppArmor"]),
    }
    assert!(!ran.stdout.contains("ran"));
    for wrong in ["label=type:container_t", "label=user:x", "nonsense", "landlock=/nowhere"] {
        let ran = place.run(&["--security-opt", wrong], "echo ran");
        assert!(ran.status == 125 || ran.status == 2, "{wrong}: {ran:?}");
        assert!(!ran.stdout.contains("ran"), "{wrong}: {ran:?}");
    }
}

/// A way out of the mount namespace as far as files are concerned: a descriptor of a folder of the host that is handed
/// on. Without landlock it leads everywhere.
#[test]
fn landlock_closes_the_host_s_files_even_to_who_has_a_descriptor_of_them() {
    let Some(place) = with_landlock() else { return };
    let secret = place.write("outside/secret", "secret");
    let folder = place.path("outside");
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let script = "cat /proc/self/fd/3/secret; echo x > /proc/self/fd/3/new; \
                  mount -t tmpfs none /tmp && echo mounted; \
                  echo kept > /data/file; cp /bin/busybox /tmp/busybox && /tmp/busybox true && echo runs";
    let run = |options: &[&str]| {
        let options = [options, &["--preserve-fds", "1", "--cap-add", "SYS_ADMIN", "-v", &volume]];
        let words = place.arguments(&options.concat(), &["sh", "-c", script]);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "exec 3< \"$0\"; exec \"$@\"", text(&folder)]);
        command.arg(crate::support::binary()).args(&words);
        place.prepare(&mut command);
        crate::support::finish(&mut command, "")
    };
    let open = run(&[]);
    assert_eq!(open.stdout, "secretmounted\nruns\n", "{open:?}");
    assert!(folder.join("new").exists());
    fs::remove_file(folder.join("new")).expect("removed");
    fs::remove_file(data.join("file")).expect("removed");
    let closed = run(&["--security-opt", "landlock=on"]);
    assert_eq!(closed.stdout, "runs\n", "{closed:?}");
    assert!(!folder.join("new").exists());
    assert_eq!(fs::read_to_string(&secret).expect("the file"), "secret");
    assert_eq!(fs::read_to_string(data.join("file")).expect("the volume's"), "kept\n");
}

#[test]
fn landlock_holds_for_init_for_another_user_and_for_commands_of_exec() {
    let Some(place) = with_landlock() else { return };
    let rules = place
        .write("rules.toml", "execute = ['/bin']\nread = ['/proc', '/root']\nwrite = ['/tmp']\n");
    let rules = format!("landlock={}", text(&rules));
    let script = "cat /etc/passwd && echo read; echo x > /root/x && echo written; \
                  echo x > /tmp/x && cat /tmp/x; ls /root > /dev/null && echo listed";
    for options in [&[][..], &["--init"], &["--user", "0:0", "--cap-drop", "ALL"]] {
        let options = [options, &["--security-opt", &rules]].concat();
        let ran = place.run(&options, script);
        assert_eq!(ran.stdout, "x\nlisted\n", "{options:?}: {ran:?}");
    }
    let options = ["run", "-d", "--name", "cc", "--security-opt", &rules];
    place.usnea(&place.kept(&options, "sleep 100")).works();
    let ran = place.usnea(&["exec", "cc", "sh", "-c", script]);
    assert_eq!(ran.stdout, "x\nlisted\n", "{ran:?}");
    // The file may be gone: the container has its rules.
    fs::remove_file(place.path("rules.toml")).expect("removed");
    place.usnea(&["restart", "-t", "0", "cc"]).works();
    let ran = place.usnea(&["exec", "cc", "sh", "-c", script]);
    assert_eq!(ran.stdout, "x\nlisted\n", "{ran:?}");
    place.usnea(&["rm", "-f", "-t", "0", "cc"]).works();
}

#[test]
fn rules_that_cannot_be_applied_are_an_error_before_the_command_runs() {
    let Some(place) = with_landlock() else { return };
    for (rules, phrase) in [
        ("execute = ['/bin', '/nowhere']", "/nowhere"),
        ("execute = ['bin']", "not an absolute path"),
        ("read = ['/']", "no path to execute"),
        ("exec = ['/bin']", "exec"),
        ("execute = [", "rules.toml"),
    ] {
        let file = place.write("rules.toml", rules);
        let option = format!("landlock={}", text(&file));
        let ran = place.run(&["--security-opt", &option], "echo ran");
        ran.fails_with(125, &[phrase]);
        assert!(!ran.stdout.contains("ran"), "{ran:?}");
    }
}

#[test]
fn landlock_scopes_abstract_sockets_on_the_host_s_network() {
    let Some(place) = with_landlock() else { return };
    let version = usnea::sys::probe::landlock_version().unwrap_or_default();
    if !need_that(version >= 6, "landlock of Linux 6.12") {
        return;
    }
    let name = format!("usnea-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
    let socket = UnixListener::bind_addr(&address).expect("a socket");
    socket.set_nonblocking(true).expect("not blocking");
    let script = format!(
        "import socket\ntry:\n socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('connected')\n\
         except PermissionError: print('refused')"
    );
    let run = |options: &[&str]| {
        let options = [&["run", "--rm", "--network", "host"], options].concat();
        let words = [&options[..], &["host:python3", "python3", "-c", &script]].concat();
        place.usnea(&words).works().to_owned()
    };
    assert_eq!(run(&[]), "connected");
    let took = || socket.accept().is_ok();
    assert!(within(std::time::Duration::from_secs(10), took));
    assert_eq!(run(&["--security-opt", "landlock=on"]), "refused");
}
