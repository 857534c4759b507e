//! containerd over our OCI runtime, in a user namespace of an ordinary user.

use std::os::unix::fs::symlink;

use crate::stocked::Stocked;
use crate::support::{binary, need, need_subids, text};

/// Starts containerd with its state on file systems of its own, then the script. There `ctr` is the client, and `run` its
/// `run` with our runtime. The process group of containerd's shims ends with the script.
const CONTAINERD: &str = r#"
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib || exit 1
cat > /run/config.toml << END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd.sock"
END
containerd --config /run/config.toml > "$HOME/containerd.log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT
ctr() { timeout 60 ctr --address /run/containerd.sock "$@"; }
run() { ctr run --snapshotter native --runc-binary "$RUNTIME" "$@"; }
until ctr version > /run/version 2>&1; do sleep 0.1; done
ctr images import "$ARCHIVE" > /run/imported || exit 1
"#;

#[test]
fn containerd_runs_containers_and_commands_in_them() {
    let is_there = need("containerd") && need("ctr") && need("buildah");
    if !is_there || !need_subids() {
        return;
    }
    let stocked = Stocked::new();
    let place = &stocked.place;
    crate::small_root::make(&place.path("small"));
    let tarball = stocked.tarball("small", &[]);
    let image = "localhost/small:1";
    place.usnea(&["import", text(&tarball), image]).works();
    let archive = place.path("small.oci");
    let runtime = place.path("usnea-oci");
    symlink(binary(), &runtime).expect("a link");
    let saved = ["save", "--format", "oci-archive", "-o", text(&archive), image];
    place.usnea(&saved).works();
    let script = format!(
        "{CONTAINERD}
        image=$(ctr images list -q)
        run --rm $image one sh -c 'echo here; id -u; exit 5'; echo $?
        run --rm --env A=b --cwd /tmp $image two sh -c 'echo $A; pwd'
        run --detach $image three sleep 4718; echo $?
        ctr tasks list | tail -n 1 | awk '{{ print $1, $3 }}'
        ctr tasks exec --exec-id first three sh -c 'echo inside; exit 9'; echo $?
        ctr tasks kill --signal KILL three
        while ctr tasks list | grep -q RUNNING; do sleep 0.1; done
        ctr tasks delete three 2> /dev/null; echo $?
        ctr containers delete three
        ctr containers list -q
        run --rm --memory-limit 1000000 $image four true 2>&1 | grep -o 'linux[.].*' "
    );
    let file = place.write("script", script);
    let variables = format!("RUNTIME='{}' ARCHIVE='{}'", text(&runtime), text(&archive));
    let ran = stocked.shell(&format!("{variables} exec buildah unshare sh '{}'", text(&file)));
    let said = "here\n0\n5\nb\n/tmp\n0\nthree RUNNING\ninside\n9\n0\n";
    assert!(ran.stdout.starts_with(said), "{ran:?}\n{}", place.read("home/containerd.log"));
    assert!(ran.stdout[said.len()..].starts_with("linux."), "{ran:?}");
}
