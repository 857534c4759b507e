//! The FUSE overlay beside the kernel's: the same operations on the same layers must answer the same and leave the same.
//!
//! What mounts runs in a user namespace of its own, which a process with threads cannot make: this program starts itself
//! again under unshare(1), to run one of its ignored tests alone.

use std::process::Command;

use crate::support::{Place, Ran, binary, finish, kernel_is, need, need_subids, not_applicable};

/// Says to an ignored test that it runs inside.
const INSIDE: &str = "USNEA_TEST_INSIDE";

/// Runs an ignored test of this program as root of a user namespace with its own mounts.
pub fn inside(test: &str) {
    if !need("unshare") {
        return;
    }
    let itself = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(itself)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("USNEA_BIN", binary())
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a script as root of a user namespace with its own mounts, in a folder of its own with `lower`, `upper`, `work` and
/// the mount point `m`; `mount OPTIONS` mounts these. The first failure ends it.
pub fn script(place: &Place, text: &str) -> Ran {
    script_under(place, &["--user", "--map-root-user", "--mount"], text)
}

/// [`script`], with all subordinate IDs of the user.
pub fn script_with_all_ids(place: &Place, text: &str) -> Ran {
    script_under(place, &["--user", "--map-root-user", "--map-auto", "--mount"], text)
}

fn script_under(place: &Place, namespaces: &[&str], text: &str) -> Ran {
    let start = "set -e; mkdir lower upper work m; usnea=$USNEA_BIN
        fails() { said=$(\"$@\" 2>&1) && { echo \"should have failed: $*\"; exit 1; }; true; }
        says() { echo \"$said\" | grep -q \"$1\" || { echo \"no '$1' in: $said\"; exit 1; }; }
        is() { test \"$1\" = \"$2\" || { echo \"'$1' is not '$2'\"; exit 1; }; }
        mount_with() { $usnea mount overlay -o lowerdir=lower,upperdir=upper,workdir=work$1 m; }
        unmount() { umount m; until flock -n work true; do sleep 0.01; done; }\n";
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-c", &format!("{start}{text}")])
        .current_dir(place.folder("layers"))
        .env("USNEA_BIN", binary())
        .env("LC_ALL", "C");
    finish(&mut command, "")
}

/// Whether we are the process that [`inside`] started; an ignored test that is run by hand does nothing.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

#[test]
fn invalid_options_are_reported_and_nothing_is_mounted() {
    let place = Place::new();
    for name in ["lower", "upper", "upper/work", "work", "target"] {
        place.folder(name);
    }
    place.write("file", "no image");
    for (options, said) in [
        ("upperdir=upper,workdir=work", "lowerdir is missing"),
        ("lowerdir=nope", "cannot open nope"),
        ("lowerdir=lower,upperdir=upper", "needs workdir"),
        ("lowerdir=lower,upperdir=upper,workdir=upper/work", "overlap"),
        ("lowerdir=upper,upperdir=upper,workdir=work", "overlap"),
        ("lowerdir=lower,bogus=1", "'bogus' is no option"),
        ("lowerdir=lower,image_offset=1:0", "there are 1 lower layers"),
        ("lowerdir=lower,image_offset=0:4096", "lower is no regular file"),
        ("lowerdir=file", "cannot open file"),
    ] {
        let mut command = Command::new(binary());
        command.args(["mount", "overlay", "-o", options, "target"]);
        command.current_dir(place.path("."));
        finish(&mut command, "").fails_with(125, &[said]);
    }
    let mut command = Command::new(binary());
    command.args(["mount", "overlay", "-o", "lowerdir=lower", "nowhere"]);
    command.current_dir(place.path("."));
    finish(&mut command, "").fails_with(125, &["cannot open nowhere"]);
}

#[test]
fn an_ordinary_user_mounts_by_fusermount3() {
    if !need("fusermount3") {
        return;
    }
    let place = Place::new();
    place.write("lower/file", "lower");
    for name in ["upper", "work", "target"] {
        place.folder(name);
    }
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let mut command = Command::new(binary());
    command.args(["mount", "overlay", "-o", options, "target"]).current_dir(place.path("."));
    finish(&mut command, "").works();
    let read = std::fs::read_to_string(place.path("target/file"));
    let written = std::fs::write(place.path("target/file"), "new");
    let mut unmount = Command::new("fusermount3");
    finish(unmount.arg("-u").arg(place.path("target")), "").works();
    assert_eq!(read.expect("the lower file"), "lower");
    written.expect("written");
    assert_eq!(place.read("upper/file"), "new");
    assert_eq!(place.read("lower/file"), "lower");
}

/// By the mount where the kernel can (6.12), by the server anywhere: both show and make the same owners.
#[test]
fn ids_are_moved_without_a_copy() {
    // util-linux before 2.38 cannot map them.
    if std::env::var_os("USNEA_TEST_MACHINE").is_some() && !unshare_maps_ids() {
        return not_applicable("this machine's unshare has no --map-auto");
    }
    if !need("unshare") || !need("setpriv") || !need_subids() {
        return;
    }
    let place = Place::new();
    let script = "set -e; trap 'kill $ns' EXIT; mkdir lower upper work m; chmod 755 .; echo x > lower/f; chown 3:4 lower/f; chown 1:1 upper
        unshare -U sleep 60 & ns=$!
        until [ $(readlink /proc/$ns/ns/user) != $(readlink /proc/self/ns/user) ]; do sleep 0.01; done
        echo 0 5 10 > /proc/$ns/uid_map; echo 0 50 10 > /proc/$ns/gid_map
        how=$(echo $1 | sed s/NS/$ns/)
        $USNEA_BIN mount overlay -o lowerdir=lower,upperdir=upper,workdir=work,$how m
        stat -c %u:%g m/f
        setpriv --reuid 6 --regid 51 --clear-groups touch m/new
        stat -c %u:%g m/new upper/new
        chown 7:52 m/f; stat -c %u:%g m/f upper/f
        touch m/none 2> /dev/null || test -e upper/none || echo none
        umount m";
    let moved_by = |how: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--map-auto", "--mount", "sh", "-c", script, "sh"])
            .arg(how)
            .current_dir(place.folder(if how.starts_with('X') { "kernel" } else { "server" }))
            .env("USNEA_BIN", binary());
        finish(&mut command, "")
    };
    let moved = "8:54\n6:51\n1:1\n7:52\n2:2\nnone";
    assert_eq!(moved_by("uidmapping=0:5:10,gidmapping=0:50:10").works(), moved);
    let by_the_kernel = moved_by("X-mount.idmap=/proc/NS/ns/user");
    if kernel_is(6, 12) {
        assert_eq!(by_the_kernel.works(), moved);
    } else {
        by_the_kernel.fails_with(125, &["cannot map the IDs of a FUSE mount"]);
        by_the_kernel.hints();
    }
}

fn unshare_maps_ids() -> bool {
    let help = Command::new("unshare").arg("--help").output().expect("unshare");
    String::from_utf8_lossy(&help.stdout).contains("--map-auto")
}
