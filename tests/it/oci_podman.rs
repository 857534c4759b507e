//! podman and buildah over our OCI runtime, beside runc on the same machine: the same output and the same exit status.

use std::os::unix::fs::symlink;

use crate::stocked::Stocked;
use crate::support::{Ran, binary, need, need_subids, need_that, text};

/// A place where podman has the small root as the image `localhost/small`. `None`: it does not run here, which was said.
fn with_image() -> Option<Stocked> {
    if !need("podman") || !need("buildah") || !need("runc") {
        return None;
    }
    let place = Stocked::new();
    let runs = with_runtime(&place, "runc", "p info").status == 0;
    if !need_that(runs, "a podman that runs here") {
        return None;
    }
    symlink(binary(), place.place.path("usnea-oci")).expect("a link");
    let root = place.place.small_root();
    let tarball = place.place.path("root.tar");
    let (root, tarball) = (text(&root), text(&tarball));
    place
        .shell(&format!("tar --owner=0 --group=0 --numeric-owner -C '{root}' -cf '{tarball}' ."))
        .works();
    with_runtime(&place, "runc", &format!("p import -q '{tarball}' localhost/small")).works();
    Some(place)
}

/// Runs a script in which `p` is podman with this runtime. All of it runs in one user namespace of buildah's: podman's own
/// would have a process that stays. Containers that the script leaves are removed.
fn with_runtime(place: &Stocked, runtime: &str, script: &str) -> Ran {
    let whole = format!(
        "p() {{ podman --root \"$HOME/.local/share/containers/storage\" --cgroup-manager cgroupfs \
            --events-backend file --runtime '{runtime}' \"$@\"; }}
        trap '{{ p pod rm -f -a; p rm -f -t 0 -a; }} > end 2>&1' EXIT
        {script}"
    );
    let file = place.place.write("script", whole);
    let folder = place.place.folder("work");
    place.shell(&format!("cd '{}'; exec buildah unshare sh '{}'", text(&folder), text(&file)))
}

fn ours(place: &Stocked) -> String {
    text(&place.place.path("usnea-oci")).to_owned()
}

/// Asserts that a script says the same with our runtime as with runc, and that it works.
#[track_caller]
fn as_with_runc(place: &Stocked, script: &str) -> String {
    let theirs = with_runtime(place, "runc", script);
    let ran = with_runtime(place, &ours(place), script);
    assert_eq!(
        (ran.status, &ran.stdout),
        (theirs.status, &theirs.stdout),
        "{script}\n{ran:?}\n{theirs:?}"
    );
    ran.stdout
}

#[test]
fn podman_runs_containers_as_over_runc() {
    let Some(place) = with_image() else { return };
    let run = "p run --rm --network none";
    for (options, command, expected) in [
        ("", "sh -c 'id -u; ls /; exit 5'", "echo"),
        ("--hostname name", "hostname", "name"),
        ("-e A=b -w /tmp", "sh -c 'echo $A; pwd'", "b\n/tmp"),
        (
            "-v /usr/share:/mnt:ro",
            "sh -c 'test -d /mnt/doc && ! touch /mnt/x && echo kept'",
            "kept",
        ),
        (
            "--tmpfs /mnt:size=64k",
            "sh -c 'echo a > /mnt/a && grep \" /mnt \" /proc/mounts | cut -d\" \" -f1-3'",
            "tmpfs /mnt tmpfs",
        ),
        ("--cap-drop all", "grep CapEff /proc/self/status", "0000000000000000"),
        ("--ulimit nofile=100:100", "sh -c 'ulimit -n'", "100"),
        ("--pid host --uts host", "true", ""),
        ("-i", "cat", ""),
    ] {
        let script = format!("echo in | {run} {options} localhost/small {command}; echo status $?");
        let said = as_with_runc(&place, &script);
        if expected != "echo" {
            assert!(said.contains(expected), "{options}: {said}");
        }
    }
}

#[test]
fn podman_understands_our_errors() {
    let Some(place) = with_image() else { return };
    for (command, status) in [("nope", 127), ("/nope/nope", 127), ("/etc/passwd", 126)] {
        let script =
            format!("p run --rm --network none localhost/small {command} 2> /dev/null; echo $?");
        assert_eq!(as_with_runc(&place, &script).trim(), status.to_string(), "{command}");
    }
}

#[test]
fn podman_keeps_a_container_in_the_background_and_runs_commands_in_it() {
    let Some(place) = with_image() else { return };
    let script = "
        p run -d --name c --network none localhost/small sh -c 'echo started; trap \"exit 3\" TERM; while :; do sleep 0.1; done' > id
        p exec -e A=b -w /tmp c sh -c 'echo $A; pwd; exit 9'; echo $?
        echo input | p exec -i c cat
        p exec c nope 2> /dev/null; echo $?
        p inspect -f '{{.State.Status}}' c
        p stop -t 60 c; p inspect -f '{{.State.Status}} {{.State.ExitCode}}' c
        p logs c; p rm c; p ps -aq";
    let said = as_with_runc(&place, script);
    assert_eq!(said, "b\n/tmp\n9\ninput\n127\nrunning\nc\nexited 3\nstarted\nc\n");
}

#[test]
fn podman_gives_a_terminal() {
    let Some(place) = with_image() else { return };
    let script = "p run --rm -t --network none localhost/small tty
        p run -d --name c --network none localhost/small sleep 4715 > id; p exec -t c tty; p rm -f -t 0 c";
    let said = as_with_runc(&place, script);
    assert!(said.starts_with("/dev/pts/0"), "{said}");
}

#[test]
fn podman_makes_pods() {
    let Some(place) = with_image() else { return };
    let script = "
        p pod create --name pod --network none --infra-image localhost/small --infra-command 'sleep 4716' > id
        p run -d --name one --pod pod localhost/small sleep 4717 > id
        p run --rm --pod pod localhost/small sh -c 'for n in ipc net uts; do readlink /proc/self/ns/$n; done' > theirs
        p exec one sh -c 'for n in ipc net uts; do readlink /proc/self/ns/$n; done' > first
        cmp theirs first && echo shared
        p pod ps --format '{{.Name}} {{.Status}}'
        p pod stop -t 0 pod > id; p pod rm -f pod > id; p ps -aq; p pod ps -q";
    assert_eq!(as_with_runc(&place, script), "shared\npod Running\n");
}

#[test]
fn buildah_runs_and_builds_as_over_runc() {
    if !need_subids() {
        return;
    }
    let Some(place) = with_image() else { return };
    place.place.write(
        "Dockerfile",
        "FROM localhost/small\nRUN id -u && echo made > /made\nRUN cat /made\n",
    );
    // Not chroot, which starts no runtime.
    let build = |runtime: &str| {
        let script = format!(
            "export BUILDAH_ISOLATION=oci; B='buildah --root '$HOME/.local/share/containers/storage' --runroot '$HOME/runroot
            $B bud --isolation oci --runtime {runtime} --network none --pull-never --no-cache -t localhost/built . 2>&1 | grep -v '^[0-9a-f]*$\\|Getting\\|Copying\\|Writing\\|Storing\\|-->'
            c=$($B from --pull-never localhost/built); $B run --isolation oci --runtime {runtime} --network none $c cat /made; echo $?
            $B rm $c > id"
        );
        place.shell(&script)
    };
    let (theirs, ran) = (build("runc"), build(&ours(&place)));
    assert_eq!((ran.status, &ran.stdout), (theirs.status, &theirs.stdout), "{ran:?} {theirs:?}");
    assert!(ran.stdout.ends_with("made\n0\n"), "{ran:?}");
}
