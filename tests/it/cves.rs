//! The holes that container runtimes had, each with the test that ours has not. One test, one class; the numbers are
//! those of the peers' reports.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use crate::support::{Place, binary, finish, need_no_subids, need_subids, source, text};

/// CVE-2019-5736 (runc): the container starts `/proc/self/exe`, which is the runtime, and writes to it.
#[test]
fn the_runtime_is_never_the_command() {
    let place = Place::new();
    place.small_root();
    symlink("/proc/self/exe", place.path("root/bin/link")).expect("a link");
    let script = place.write("root/bin/script", "#!/proc/self/exe\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("executable");
    for command in ["/proc/self/exe", "/bin/link", "/bin/script"] {
        for options in [&[][..], &["--init"]] {
            let ran = place.usnea(&place.arguments(options, &[command, "--version"]));
            ran.fails_with(126, &[command]);
        }
    }
}

/// CVE-2019-5736 again: with `--init`, process 1 is our binary.
#[test]
fn the_runtime_cannot_be_overwritten() {
    let place = Place::new();
    let copy = place.path("usnea");
    fs::copy(binary(), &copy).expect("a copy of usnea");
    let before = fs::read(&copy).expect("the copy");
    let mut command = Command::new(&copy);
    let script = "for i in 1 2 3; do (echo bad > /proc/1/exe) 2> /dev/null; \
                  (echo bad > /proc/$PPID/exe) 2> /dev/null; done; chmod 777 /proc/1/exe 2> /dev/null; echo tried";
    command.args(place.arguments(&["--init", "--cap-add", "ALL"], &["sh", "-c", script]));
    place.prepare(&mut command);
    assert_eq!(finish(&mut command, "").works(), "tried");
    assert!(fs::read(&copy).expect("the copy") == before, "usnea was overwritten from inside");
    assert_eq!(fs::metadata(&copy).expect("the copy").permissions().mode() & 0o022, 0);
}

/// CVE-2024-21626 (runc): a working folder of `/proc/self/fd/N` with a leaked descriptor leads to the host.
#[test]
fn the_working_folder_is_never_a_leaked_descriptor() {
    let place = Place::new();
    let outside = place.folder("outside");
    place.write("outside/host-marker", "");
    for number in 3..14 {
        let options = ["-w", &format!("/proc/self/fd/{number}")];
        let words =
            place.arguments(&options, &["sh", "-c", "ls; ls ..; cat host-marker && echo host"]);
        let mut command = Command::new("bash");
        command
            .args(["-c", "exec 9< \"$0\"; exec \"$@\"", text(&outside)])
            .arg(binary())
            .args(&words);
        place.prepare(&mut command);
        let ran = finish(&mut command, "");
        assert!(ran.status != 0 && !ran.stdout.contains("host-marker"), "{number}: {ran:?}");
    }
}

/// CVE-2023-27561, CVE-2023-28642 (runc): an image whose /proc or /sys is a link moves what hides the kernel.
/// CVE-2026-41579 and CVE-2026-47766: the same with /dev.
#[test]
fn a_root_whose_proc_sys_or_dev_is_a_link_is_refused() {
    for name in ["proc", "sys", "dev"] {
        for target in ["/tmp", "tmp", "/nowhere"] {
            let place = Place::new();
            let path = place.small_root().join(name);
            fs::remove_dir(&path).expect("an empty folder");
            symlink(target, &path).expect("a link");
            place.usnea(&place.arguments(&[], &["true"])).fails_with(125, &[&format!("/{name}")]);
        }
    }
}

/// CVE-2019-16884 (runc), CVE-2025-52881: a volume over /proc makes writes to it go elsewhere.
#[test]
fn a_volume_cannot_be_put_over_the_kernel_s_files() {
    for target in ["/proc", "/proc/sys", "/proc/self/attr", "/proc/../proc/sys"] {
        let place = Place::new();
        let volume = format!("{}:{target}", text(&place.folder("data")));
        place.usnea(&place.arguments(&["-v", &volume], &["true"])).fails_with(125, &["/proc"]);
    }
}

/// CVE-2021-30465 (runc): a link on the way of a mount point leads the mount onto the host.
#[test]
fn a_link_on_the_way_of_a_mount_point_stays_inside() {
    let place = Place::new();
    let root = place.small_root();
    let outside = place.folder("outside");
    let data = place.folder("data");
    symlink("../../../../../../../../..".to_owned() + text(&outside), root.join("climb"))
        .expect("a link");
    for target in ["/climb", "/climb/deeper", "/tmp/../climb/deeper"] {
        let volume = format!("{}:{target}", text(&data));
        // Inside the root that place does not exist, so an error is right; success must have stayed inside.
        let ran = place.usnea(&place.arguments(&["-v", &volume], &["echo", "inside"]));
        assert!(ran.status == 125 || ran.works() == "inside", "{ran:?}");
        assert_eq!(
            fs::read_dir(&outside).expect("the folder").count(),
            0,
            "{target} was made outside"
        );
    }
}

/// CVE-2025-31133 (runc): what hides files is /dev/null, if the image can exchange that for something else.
#[test]
fn masked_files_are_the_real_null_device() {
    let place = Place::new();
    place.small_root();
    symlink("/proc/sysrq-trigger", place.path("root/dev/null")).expect("a link");
    for file in ["/proc/keys", "/proc/kcore"] {
        let ran = place.run(&[], &format!("test ! -e {file} || stat -c %t:%T {file}; echo tried"));
        assert!(["tried", "1:3\ntried"].contains(&ran.works()), "{file}: {ran:?}");
    }
}

/// CVE-2022-29162, CVE-2022-27649, CVE-2022-27650: inheritable capabilities that an exec turns into powers.
#[test]
fn no_capability_is_inheritable_or_ambient() {
    let place = Place::new();
    for options in [&[][..], &["--cap-add", "ALL"], &["--init"]] {
        let ran = place.run(options, "grep -E '^Cap(Inh|Amb)' /proc/self/status");
        assert_eq!(ran.works().lines().count(), 2, "{options:?} {ran:?}");
        assert!(
            ran.works().lines().all(|line| line.ends_with("\t0000000000000000")),
            "{options:?} {ran:?}"
        );
    }
}

/// CVE-2023-25809 (runc): without a cgroup namespace, /sys/fs/cgroup was the host's and writable.
#[test]
fn the_cgroup_tree_cannot_be_written() {
    let place = Place::new();
    let ran = place
        .run(&["--cap-add", "ALL"], "mkdir /sys/fs/cgroup/usnea-was-here && echo made; echo tried");
    assert_eq!(ran.stdout, "tried\n", "{ran:?}");
}

/// CVE-2018-7169 (shadow): who may drop a group in a namespace opens what that group was kept out of.
#[test]
fn groups_cannot_be_dropped_with_a_map_of_one() {
    if !need_no_subids() {
        return;
    }
    let place = Place::new();
    assert_eq!(place.run(&[], "cat /proc/self/setgroups").works(), "deny");
}

/// CVE-2018-7169 again: newuidmap and newgidmap are run from the system's folders, whatever PATH says.
#[test]
fn newuidmap_is_not_taken_from_the_caller_s_path() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let path = format!("{}:{}", text(&place.folder("bin")), std::env::var("PATH").expect("PATH"));
    for name in ["newuidmap", "newgidmap"] {
        let file = place.write(
            &format!("bin/{name}"),
            format!("#!/bin/sh\ntouch {}\n", text(&place.path("taken"))),
        );
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let ran = finish(place.command(&place.arguments(&[], &["id", "-u"])).env("PATH", path), "");
    assert_eq!(ran.works(), "0");
    assert!(!place.path("taken").exists(), "a newuidmap from PATH was run");
}

/// CVE-2016-2568, CVE-2017-5226 (bubblewrap): TIOCSTI types into the caller's terminal through an inherited /dev/tty.
#[test]
fn the_caller_s_terminal_is_not_the_command_s() {
    let place = Place::new();
    let words = place.arguments(
        &[],
        &["sh", "-c", "(echo reached > /dev/tty) 2> /dev/null && echo open || echo closed"],
    );
    // script(1) is not everywhere; python3 gives usnea a controlling terminal as well.
    let mut command = Command::new("python3");
    command.args([
        "-c",
        "import pty, sys, os; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
    ]);
    command.arg(binary()).args(&words);
    place.prepare(&mut command);
    let ran = finish(&mut command, "");
    assert_eq!(ran.works(), "closed");
}

/// CVE-2024-9676 (podman): /etc/passwd as a link out of the root, or as a FIFO that is never written to.
#[test]
fn the_passwd_file_of_a_root_is_read_with_care() {
    let place = Place::new();
    let passwd = place.small_root().join("etc/passwd");
    let outside = place.write("outside", "evil:x:0:0::/:/bin/sh\n");
    fs::remove_file(&passwd).expect("passwd");
    symlink(&outside, &passwd).expect("a link");
    place.usnea(&place.arguments(&["-u", "evil"], &["true"])).fails_with(125, &["evil"]);
    fs::remove_file(&passwd).expect("the link");
    assert!(Command::new("mkfifo").arg(&passwd).status().expect("mkfifo").success());
    place.usnea(&place.arguments(&["-u", "worker"], &["true"])).fails_with(125, &[]);
    fs::remove_file(&passwd).expect("the FIFO");
    assert!(
        Command::new("truncate")
            .args(["-s", "1T"])
            .arg(&passwd)
            .status()
            .expect("truncate")
            .success()
    );
    place.usnea(&place.arguments(&["-u", "worker"], &["true"])).fails_with(125, &[]);
}

/// CVE-2025-65105 (apptainer): a security option that is not carried out must not be taken.
#[test]
fn a_security_option_that_cannot_be_carried_out_is_an_error() {
    for option in [
        "no-such-option",
        "apparmor=nosuchprofile",
        "seccomp=/no/such/profile.json",
        "label=type:nosuch",
    ] {
        let place = Place::new();
        let words = place.arguments(&["--security-opt", option], &["true"]);
        place.usnea(&words).fails_with(125, &[option.split(['=', ':']).next().expect("a name")]);
    }
}

/// The folders of many users of one machine: ours are closed to all others, whatever the umask; one that its owner has
/// opened (a store of images for all) can be looked into and never be written to.
#[test]
fn the_store_is_closed_to_others() {
    let place = Place::new();
    let store = place.store();
    let mode = || fs::metadata(&store).expect("the store").permissions().mode() & 0o777;
    place.run(&[], "true").works();
    assert_eq!(mode(), 0o700);
    for (given, left) in [(0o777, 0o755), (0o770, 0o750), (0o702, 0o700)] {
        fs::set_permissions(&store, fs::Permissions::from_mode(given)).expect("an open folder");
        place.run(&[], "true").works();
        assert_eq!(mode(), left);
        let inner = fs::metadata(store.join("tmp")).expect("a folder of it").permissions().mode();
        assert_eq!(inner & 0o777, 0o700);
    }
}

/// CVE-2025-52565 (runc): an image's /dev/console as a link, onto which the terminal is mounted.
#[test]
fn the_console_is_the_container_s_terminal_whatever_the_image_has() {
    let place = Place::new();
    place.small_root();
    let victim = place.write("root/victim", "untouched");
    symlink("/victim", place.path("root/dev/console")).expect("a link");
    let script = "test -c /dev/console && test ! -L /dev/console && echo terminal; cat /victim";
    let ran = place.run(&["-t"], script);
    assert_eq!(ran.works().replace('\r', ""), "terminal\nuntouched", "{ran:?}");
    assert_eq!(fs::read_to_string(victim).expect("the file"), "untouched");
}

/// CVE-2024-45310 (runc): a link in a shared volume leads the making of a mount point onto the host.
#[test]
fn a_link_in_a_volume_makes_no_mount_point_on_the_host() {
    let place = Place::new();
    let outside = place.folder("outside");
    let (shared, data) = (place.folder("shared"), place.folder("data"));
    symlink(&outside, shared.join("absolute")).expect("a link");
    symlink("../outside", shared.join("relative")).expect("a link");
    let first = format!("{}:/shared", text(&shared));
    for name in ["absolute", "relative"] {
        let second = format!("{}:/shared/{name}/new", text(&data));
        let ran =
            place.usnea(&place.arguments(&["-v", &first, "-v", &second], &["echo", "inside"]));
        assert!(ran.status == 125 || ran.works() == "inside", "{ran:?}");
        assert_eq!(fs::read_dir(&outside).expect("the folder").count(), 0, "{name}: {ran:?}");
    }
}

/// CVE-2022-1227 (podman): `top` ran the container's own ps in the host's namespaces.
#[test]
fn top_runs_nothing_of_the_container() {
    let place = Place::new();
    let trap = place.folder("trap");
    for name in ["ps", "nsenter"] {
        let path = place.small_root().join("bin").join(name);
        let _ = fs::remove_file(&path);
        let script = format!("#!/bin/sh\necho ran > /trap/ran; echo ran > {}/ran\n", text(&trap));
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let volume = format!("{}:/trap", text(&trap));
    place.usnea(&place.kept(&["run", "-d", "--name", "box", "-v", &volume], "sleep 100")).works();
    assert!(place.usnea(&["top", "box"]).works().contains("sleep 100"));
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    assert_eq!(fs::read_dir(&trap).expect("the folder").count(), 0);
}

/// CVE-2026-30892 (crun): a user that is parsed in another way becomes root.
#[test]
fn a_user_that_is_no_user_is_refused_by_run_and_exec() {
    let place = Place::new();
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "sleep 100")).works();
    for user in
        ["0x3e8", "+0", "-1", "4294967295", "4294967296", "1e3", ":", "0:-1", "no such", "1000\n"]
    {
        for words in [vec!["exec", "-u", user, "box", "id", "-u"], vec![]] {
            let ran = match words.is_empty() {
                false => place.usnea(&words),
                true => place.usnea(&place.arguments(&["-u", user], &["id", "-u"])),
            };
            assert!(ran.status != 0 && ran.stdout.is_empty(), "{user:?}: {ran:?}");
        }
    }
    for user in ["0", "000", "root", "0:0", "root:root"] {
        assert_eq!(place.usnea(&["exec", "-u", user, "box", "id", "-u"]).works(), "0", "{user}");
    }
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
}

/// CVE-2022-29162 again: neither a command of `exec` nor another user's has any.
#[test]
fn no_capability_is_inheritable_or_ambient_in_exec_or_for_another_user() {
    let place = Place::new();
    let script = "grep -E '^Cap(Inh|Amb)' /proc/self/status | grep -v 0000000000000000";
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "sleep 100")).works();
    for options in [&["exec"][..], &["exec", "--privileged"]] {
        let ran = place.usnea(&[options, &["box", "sh", "-c", script]].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{options:?}: {ran:?}");
    }
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    if need_subids() {
        let ran = place.run(&["-u", "worker"], script);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
    }
}

/// CVE-2020-15257 (containerd): abstract sockets of the host, reachable by their name alone.
#[test]
fn the_host_s_abstract_sockets_are_out_of_reach() {
    let name = format!("usnea-test-{}-abstract", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
    let _socket = UnixListener::bind_addr(&address).expect("a socket");
    let place = Place::new();
    let script = format!(
        "import socket\ntry:\n socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('connected')\n\
         except ConnectionRefusedError: print('nobody')"
    );
    for network in ["none", "private"] {
        let words = ["run", "--rm", "--network", network, "host:python3", "python3", "-c", &script];
        assert_eq!(place.usnea(&words).works(), "nobody", "{network}");
    }
}

/// The table of usnea-security(7): each class of holes with tests that exist.
#[test]
fn every_test_that_the_security_guide_names_exists() {
    let guide = fs::read_to_string(source().join("man/usnea-security.7")).expect("the guide");
    let lines = guide.lines().filter_map(|line| line.strip_prefix("Tests: "));
    let plain = lines.map(|line| line.replace("\\fB", "").replace("\\fR", "").replace("\\-", "-"));
    let named: Vec<String> = plain
        .flat_map(|line| {
            line.trim_end_matches('.').split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(named.len() > 40, "{named:?}");
    let mut tests = String::new();
    let mut folders = vec![source().join("tests/it"), source().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                tests.push_str(&fs::read_to_string(path).expect("source"));
            }
        }
    }
    let missing: Vec<_> =
        named.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let entries = guide.matches("\n.TP\n\\fBCVE").count();
    let with_tests = guide.matches("\nTests: ").count();
    assert!(entries > 15 && with_tests >= entries, "{entries} classes, {with_tests} with tests");
}
