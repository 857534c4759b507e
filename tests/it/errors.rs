//! Bad input: each gives one line that says what, on what and why, the right exit status, and leaves nothing behind
//! (every [`Place`] checks that when it goes).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::{Place, Ran, binary, finish, need, need_that, text};

const NO_SUCH_FILE: &str = "No such file or directory";

/// `usnea run OPTIONS dir:ROOT true` must be refused, with a line that names each phrase.
#[track_caller]
fn refused(options: &[&str], phrases: &[&str]) {
    let place = Place::new();
    place.usnea(&place.arguments(options, &["true"])).fails_with(125, phrases);
}

#[track_caller]
fn image_refused(place: &Place, image: &str, phrases: &[&str]) {
    place.usnea(&["run", "--rm", image, "true"]).fails_with(125, phrases);
}

#[test]
fn a_program_that_the_host_lacks() {
    image_refused(&Place::new(), "host:nosuchprogram", &["nosuchprogram"]);
    image_refused(&Place::new(), "host:sh,nosuchprogram", &["nosuchprogram"]);
    image_refused(&Place::new(), "host:/no/such/program", &["/no/such/program"]);
    image_refused(&Place::new(), "host:", &["host:"]);
}

#[test]
fn a_program_for_another_machine() {
    let place = Place::new();
    let mut program = fs::read(place.small_root().join("bin/busybox")).expect("busybox");
    // e_machine of the ELF header: EM_S390, which no machine of ours is.
    program[18..20].copy_from_slice(&22_u16.to_le_bytes());
    let program = executable(&place, "foreign", &program);
    image_refused(&place, &format!("host:{program}"), &["foreign"]);
}

#[test]
fn a_broken_program() {
    let place = Place::new();
    let whole = fs::read(place.small_root().join("bin/busybox")).expect("busybox");
    for (name, content) in [("junk", &b"\x7fELFjunk"[..]), ("torn", &whole[..60]), ("empty", b"")] {
        let program = executable(&place, name, content);
        image_refused(&place, &format!("host:{program}"), &[name]);
    }
}

#[test]
fn a_program_whose_library_is_not_found() {
    if !need("gcc") {
        return;
    }
    let place = Place::new();
    place.write("lib.c", "int answer(void) { return 42; }\n");
    place.write("main.c", "int answer(void); int main(void) { return answer(); }\n");
    for arguments in [
        &["-shared", "-o", "libgone.so", "lib.c"][..],
        &["-o", "program", "main.c", "-L.", "-lgone"],
    ] {
        let mut command = Command::new("gcc");
        place.prepare(command.args(arguments));
        assert!(command.status().expect("gcc").success());
    }
    fs::remove_file(place.path("libgone.so")).expect("the library");
    image_refused(
        &place,
        &format!("host:{}", text(&place.path("program"))),
        &["libgone.so", "program"],
    );
}

#[test]
fn a_program_that_may_not_be_run() {
    let place = Place::new();
    let file = place.write("plain", "not executable");
    image_refused(&place, &format!("host:{}", text(&file)), &["plain"]);
}

fn executable(place: &Place, name: &str, content: &[u8]) -> String {
    let path = place.write(name, content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    text(&path).to_owned()
}

#[test]
fn an_image_that_does_not_exist() {
    for image in ["dir:/no/such/root", "/no/such/root", "./no-such-root"] {
        let name = image.trim_start_matches("dir:").trim_start_matches('.');
        image_refused(&Place::new(), image, &[name, NO_SUCH_FILE]);
    }
}

#[test]
fn an_image_that_is_a_file() {
    let place = Place::new();
    let file = place.write("file", "");
    image_refused(&place, &format!("dir:{}", text(&file)), &[text(&file), "not a directory"]);
}

#[test]
fn an_image_that_cannot_be_read() {
    if !need_that(fs::read_dir("/root").is_err(), "a /root closed to this user") {
        return;
    }
    image_refused(&Place::new(), "dir:/root", &["/root", "Permission denied"]);
}

#[test]
fn an_image_of_an_unknown_kind() {
    image_refused(&Place::new(), "nosuchkind:thing", &["nosuchkind"]);
}

#[test]
fn a_command_that_is_not_found() {
    let place = Place::new();
    for command in ["nosuchcommand", "/no/such/command"] {
        place.usnea(&place.arguments(&[], &[command])).fails_with(127, &[command]);
        place.usnea(&place.arguments(&["--init"], &[command])).fails_with(127, &[command]);
    }
}

#[test]
fn a_command_that_cannot_be_run() {
    let place = Place::new();
    place.small_root();
    executable(&place, "root/bin/noformat", b"\x01\x02\x03 no program");
    for command in ["/etc/passwd", "/etc", "/bin/noformat"] {
        place.usnea(&place.arguments(&[], &[command])).fails_with(126, &[command]);
        place.usnea(&place.arguments(&["--init"], &[command])).fails_with(126, &[command]);
    }
}

#[test]
fn no_command_where_the_image_names_none() {
    let place = Place::new();
    place.usnea(&place.arguments(&[], &[])).fails_with(125, &["command"]);
}

#[test]
fn a_volume_whose_source_is_missing() {
    refused(&["-v", "/no/such/source:/data"], &["/no/such/source", NO_SUCH_FILE]);
    refused(
        &["--mount", "type=bind,source=/no/such/source,target=/data"],
        &["/no/such/source", NO_SUCH_FILE],
    );
}

#[test]
fn a_volume_whose_target_leads_out_of_the_root() {
    let place = Place::new();
    place.small_root();
    let outside = place.folder("outside");
    let data = place.folder("data");
    symlink(&outside, place.path("root/way-out")).expect("a link");
    for target in ["/way-out", "/way-out/new"] {
        let volume = format!("{}:{target}", text(&data));
        place.usnea(&place.arguments(&["-v", &volume], &["true"])).fails_with(125, &["/way-out"]);
    }
    assert_eq!(
        fs::read_dir(&outside).expect("the folder").count(),
        0,
        "something was made outside the root"
    );
}

#[test]
fn malformed_volumes() {
    refused(&["-v", "/tmp:data"], &["data"]);
    refused(&["-v", "/tmp:/data:nosuchoption"], &["nosuchoption"]);
    refused(&["-v", "/tmp:/data:ro,rw"], &["/data"]);
    refused(&["-v", "/tmp:/a:ro:more"], &["/a"]);
    refused(&["-v", ":/data"], &["/data"]);
    refused(&["-v", "/tmp:/data", "-v", "/etc:/data"], &["/data"]);
    refused(&["--mount", "type=bind,target=/data"], &["source"]);
    refused(&["--mount", "type=bind,source=/tmp"], &["target"]);
    refused(&["--mount", "type=nosuchtype,target=/data"], &["nosuchtype"]);
    refused(&["--mount", "type=tmpfs,target=/data,nosuchfield=1"], &["nosuchfield"]);
    refused(&["--tmpfs", "relative"], &["relative"]);
    refused(&["--tmpfs", "/data:size=lots"], &["lots"]);
    refused(&["--tmpfs", "/data:nosuchoption"], &["nosuchoption"]);
}

#[test]
fn a_user_or_a_group_that_the_root_does_not_know() {
    refused(&["-u", "nosuchuser"], &["nosuchuser"]);
    refused(&["-u", "0:nosuchgroup"], &["nosuchgroup"]);
    refused(&["--group-add", "nosuchgroup"], &["nosuchgroup"]);
}

#[test]
fn an_id_outside_the_map() {
    refused(&["-u", "4000000000"], &["4000000000"]);
    refused(&["-u", "0:4000000000"], &["4000000000"]);
    refused(&["-u", "4294967295"], &["4294967295"]);
    refused(&["-u", "-5"], &["-5"]);
    refused(&["-u", "99999999999"], &["99999999999"]);
}

#[test]
fn malformed_maps() {
    refused(&["--uidmap", "nonsense"], &["nonsense"]);
    refused(&["--uidmap", "0:0:0"], &["0:0:0"]);
    refused(&["--gidmap", "0:1:99999999999"], &["99999999999"]);
    refused(&["--uidmap", "0:4000000000:10"], &["--uidmap"]);
    refused(&["--uidmap", "0:0:1", "--uidmap", "0:1:1"], &[]);
    refused(&["--userns", "nosuchmode"], &["nosuchmode"]);
    refused(&["--userns", "keep-id:uid=x"], &["x"]);
    refused(&["--userns", "keep-id", "--uidmap", "0:0:1"], &["--userns", "--uidmap"]);
}

#[test]
fn malformed_sizes_limits_and_settings() {
    refused(&["--shm-size", "lots"], &["lots"]);
    refused(&["--shm-size", "-1"], &["-1"]);
    refused(&["--shm-size", "99999999999999999999g"], &["99999999999999999999g"]);
    refused(&["--ulimit", "nofile"], &["nofile"]);
    refused(&["--ulimit", "nofile=x"], &["x"]);
    refused(&["--ulimit", "nofile=20:10"], &["nofile"]);
    refused(&["--ulimit", "nosuchlimit=1"], &["nosuchlimit"]);
    refused(&["--ulimit", "nofile=999999999"], &["nofile"]);
    refused(&["--sysctl", "novalue"], &["novalue"]);
    refused(&["--sysctl", "vm.swappiness=1"], &["vm.swappiness"]);
    refused(&["--sysctl", "net.no.such=1"], &["such"]);
    refused(&["--sysctl", "net.ipv4.ip_forward=x"], &["ip_forward"]);
    refused(&["--sysctl", "net/../kernel/hostname=x"], &["net/../kernel/hostname"]);
}

#[test]
fn malformed_environments() {
    refused(&["--env-file", "no-such-file"], &["no-such-file", NO_SUCH_FILE]);
    refused(&["-e", "=value"], &["=value"]);
    refused(&["-e", ""], &[]);
    for line in ["=value", "two words=value"] {
        let place = Place::new();
        place.write("environment", format!("GOOD=1\n{line}\n"));
        let words = place.arguments(&["--env-file", "environment"], &["true"]);
        place.usnea(&words).fails_with(125, &["environment", "2"]);
    }
}

#[test]
fn unknown_names_of_all_kinds() {
    refused(&["--cap-add", "NOSUCHCAP"], &["NOSUCHCAP"]);
    refused(&["--cap-drop", "NOSUCHCAP"], &["NOSUCHCAP"]);
    refused(&["--network", "nosuchnetwork"], &["nosuchnetwork"]);
    refused(&["--pid", "nosuchmode"], &["nosuchmode"]);
    refused(&["--ipc", "nosuchmode"], &["nosuchmode"]);
    refused(&["--uts", "nosuchmode"], &["nosuchmode"]);
    refused(&["--device", "/dev/nosuchdevice"], &["/dev/nosuchdevice"]);
    refused(&["--device", "/etc/passwd"], &["/etc/passwd"]);
    refused(&["--log-level", "nosuchlevel"], &["nosuchlevel"]);
    refused(&["--no-such-flag"], &["--no-such-flag"]);
    refused(&["--name", "../escape"], &["../escape"]);
    refused(&["--name", "x y"], &[]);
    refused(&["--hostname", &"h".repeat(65)], &["hhh"]);
    refused(&["-w", "relative"], &["relative"]);
    refused(&["-w", "/etc/passwd"], &["/etc/passwd"]);
    refused(&["--preserve-fds", "40"], &[]);
    refused(&["--preserve-fds", "x"], &["x"]);
}

#[test]
fn two_wishes_that_exclude_each_other() {
    refused(&["--uts", "host", "--hostname", "box"], &["--hostname"]);
    refused(&["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], &["net.ipv4.ip_forward"]);
}

#[test]
fn a_store_that_cannot_be_used() {
    let place = Place::new();
    let file = place.write("file", "");
    for store in ["/proc/nowhere", text(&file)] {
        let words = [vec!["--root".into(), store.into()], place.arguments(&[], &["true"])].concat();
        place.usnea(&words).fails_with(125, &[store]);
    }
}

/// Runs a script in a user namespace of its own, where it is root over namespaces and mounts; `$USNEA` is the program.
fn in_namespace(place: &Place, flags: &[&str], script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-c", script]).env("USNEA", binary());
    place.prepare(&mut command);
    finish(&mut command, "")
}

#[test]
fn user_namespaces_that_are_forbidden() {
    let place = Place::new();
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$USNEA\" run --rm {} true",
        place.image()
    );
    let ran = in_namespace(&place, &["-Ur"], &script);
    ran.fails_with(125, &["user namespace"]);
    ran.hints();
    assert!(ran.stderr.contains("max_user_namespaces"), "{ran:?}");
}

#[test]
fn a_disk_that_is_full() {
    // Each more room than the one before: the failure comes ever later in the start.
    for (room, must_fail) in [
        ("nr_inodes=2", true),
        ("nr_inodes=5", false),
        ("nr_inodes=12", false),
        ("nr_inodes=40", false),
        ("size=8k", false),
        ("size=64k", false),
        ("size=1m", false),
    ] {
        let place = Place::new();
        let store = place.folder("store");
        let script = format!(
            "mount -t tmpfs -o mode=700,{room} none {store} || exit 99; \
             \"$USNEA\" run --rm host:sh,ls,python3 sh -c true; status=$?; \
             find {store}/tmp {store}/containers -mindepth 1 2> /dev/null | sed 's/^/usnea left /' >&2; exit $status",
            store = text(&store)
        );
        let ran = in_namespace(&place, &["-Urm"], &script);
        assert!(!ran.stderr.contains("usnea left"), "{room}: {ran:?}");
        if must_fail || ran.status != 0 {
            ran.fails_with(125, &["No space left on device"]);
        }
    }
}

#[test]
fn errors_of_archives_have_a_cause_and_a_hint() {
    let place = crate::stocked::Stocked::new();
    let old = place.tarball("old", &[("repositories", "{}"), ("0/layer.tar", "x")]);
    let load = |file: &std::path::Path| place.usnea(&["load", "-i", crate::support::text(file)]);
    let ran = load(&old);
    ran.fails_with(125, &["docker before 1.10"]);
    assert!(!ran.stderr.contains("usnea import"), "{ran:?}");
    place.place.write("page", "<html>".repeat(500));
    let page = place.place.path("page");
    for ran in [load(&page), place.usnea(&["import", crate::support::text(&page)])] {
        ran.fails_with(125, &["tar"]);
        assert!(!ran.stderr.contains("octal"), "{ran:?}");
    }
    place.import("relative", &[("etc/name", "x")], &["--change", "WORKDIR /usr"]);
    let ran = place.usnea(&["save", "-o", "/dev/full", "relative"]);
    ran.fails_with(125, &["/dev/full", "no space left"]);
    assert!(!ran.stderr.contains("--root"), "{ran:?}");
}
