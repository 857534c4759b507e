//! Layers in stores whose file system cannot hold the whiteouts of the kernel's overlay: an overlay, NFS
//! (containers/storage#1095, buildah#1709).

use crate::stocked::Stocked;
use crate::support::{Ran, drivers, has_kernel_overlay, has_subids, need, need_that, text};

/// What is seen of the image `changed`.
const LOOK: &str =
    "ls /d /o; cat /o/new; ls -d /gone /file 2> /dev/null; cat /file/x; stat -c %a /o";
const SEEN: &str = "/d:\nb\n\n/o:\nnew\nnew\n/file\nx\n711";

/// A place with the layout `layout`, whose image has three layers: in each some of what was below is gone.
fn place() -> Stocked {
    let place = Stocked::new();
    let root = place.place.small_root();
    for (file, content) in
        [("d/a", "a"), ("d/b", "b"), ("o/old", "old"), ("gone/x", "x"), ("file", "f")]
    {
        place.place.write(&format!("root/{file}"), content);
    }
    let tar = place.place.path("root.tar");
    place.other("tar", &["-C", text(&root), "-cf", text(&tar), "."]).works();
    place.usnea(&["import", "-q", text(&tar), "base"]).works();
    for (from, script) in [
        ("base", "rm -r /gone /d/a; mkdir /gone; echo y > /gone/y"),
        (
            "step",
            "rm -r /gone /o /file; mkdir /o /file; chmod 711 /o; echo new > /o/new; echo x > /file/x",
        ),
    ] {
        place.usnea(&["run", "--name", "box", from, "sh", "-c", script]).works();
        place.usnea(&["commit", "-q", "box", "step"]).works();
        place.usnea(&["rm", "box"]).works();
    }
    place.usnea(&["tag", "step", "changed"]).works();
    assert_eq!(seen(&place.usnea(&["run", "--rm", "changed", "sh", "-c", LOOK])), SEEN);
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "changed"]).works();
    place
}

fn seen(ran: &Ran) -> &str {
    ran.exits(0)
}

#[test]
fn layers_whose_whiteouts_are_names_are_read_by_everything() {
    let place = place();
    // As if it had been tried: the file system of the tests holds the others.
    let kind = place.shell("echo $((0x$(stat -f -c %t .)))").works().to_owned();
    place
        .place
        .write("names/whiteouts", format!("{{\"whiteouts\":\"names\",\"file_system\":{kind}}}"));
    place.shell("chmod 700 names").works();
    let usnea = |words: &[&str]| place.usnea_in("names", words);
    usnea(&["load", "-q", "-i", "layout"]).works();
    let marks = place.shell("find names/layers -name '.wh.*' 2> /dev/null | wc -l");
    assert_ne!(marks.works(), "0");
    assert_eq!(place.shell("find names/layers -type c 2> /dev/null | wc -l").works(), "0");
    let image = "localhost/changed";
    for driver in drivers() {
        let words = ["run", "--rm", "--storage-driver", driver, image, "sh", "-c", LOOK];
        if driver == "overlay" {
            let ran = usnea(&words);
            ran.fails_with(125, &["--storage-driver overlay", "no whiteouts"]);
            ran.hints();
            continue;
        }
        assert_eq!(seen(&usnea(&words)), SEEN, "{driver}");
        let name = format!("box-{driver}");
        let script = "rm /d/b; echo more > /o/more";
        let words = ["run", "--name", &name, "--storage-driver", driver, image, "sh", "-c", script];
        usnea(&words).works();
        let diff = usnea(&["diff", &name]);
        let lines: Vec<&str> = diff.works().lines().collect();
        assert!(lines.contains(&"D /d/b") && lines.contains(&"A /o/more"), "{driver}: {lines:?}");
        assert!(!diff.stdout.contains(".wh."), "{driver}: {diff:?}");
        usnea(&["commit", "-q", &name, "made"]).works();
        let ran = usnea(&["run", "--rm", "made", "sh", "-c", "ls /d /o /gone 2> /dev/null; true"]);
        assert_eq!(ran.works(), "/d:\n\n/o:\nmore\nnew", "{driver}");
        usnea(&["export", "-o", "exported.tar", &name]).works();
        assert!(!place.shell("tar -tf exported.tar").works().contains(".wh."), "{driver}");
        usnea(&["rm", &name]).works();
    }
    assert_eq!(seen(&usnea(&["run", "--rm", image, "sh", "-c", LOOK])), SEEN);
    let listed = |store: &str| {
        place.usnea_in(store, &["image", "export", "-o", "image.tar", "localhost/changed"]).works();
        place.shell("tar -tvf image.tar | sort -k6").works().to_owned()
    };
    assert_eq!(listed("names"), listed("store"));
    usnea(&["check"]).works();
}

/// Runs usnea in a store on the file system that `mount` makes on `m`, as root of a user namespace with `ids`.
fn in_store_on(place: &Stocked, ids: &[&str], mount: &str) -> Ran {
    let top = place.place.folder("top");
    let script = format!(
        "set -e; mount -t tmpfs none '{top}'; cd '{top}'; mkdir l u w m; {mount} || exit 77
         export USNEA_ROOT='{top}/m/store'; usnea() {{ '{usnea}' \"$@\"; }}
         usnea load -q -i '{layout}'; usnea run --rm localhost/changed sh -c '{LOOK}' < /dev/null
         usnea doctor 2> /dev/null | grep -i whiteouts > said || true; grep -c degraded said
         usnea check >&2
         for driver in '' --storage-driver=copy; do
             usnea run --name box $driver localhost/changed \\
                 sh -c 'rm -r /d /file; mkdir /d; echo c > /d/c; mv /o /moved' < /dev/null >&2
             usnea diff box | grep -q 'D /file'; usnea commit -q box made >&2
             usnea rm box >&2
             usnea run --rm made sh -c 'test ! -e /file && test ! -e /o && cat /d/* /moved/*' > said < /dev/null
             test \"$(tr -d '\\n' < said)\" = cnew; usnea rmi made > said
         done
         usnea rmi localhost/changed > said; umount m || umount -l m",
        top = text(&top),
        usnea = text(&crate::support::binary()),
        layout = text(&place.place.path("layout")),
    );
    // The server of the mount ends with the namespace of processes.
    let own = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script];
    let words = [&["--user", "--map-root-user"], ids, &own].concat();
    place.other("unshare", &words)
}

#[test]
fn a_store_on_an_overlay_takes_images_with_whiteouts() {
    if !need_that(has_kernel_overlay(), "a kernel overlay for ordinary users") {
        return;
    }
    let mount = "mount -t overlay -o userxattr,lowerdir=l,upperdir=u,workdir=w overlay m";
    let ran = in_store_on(&place(), &[], mount);
    assert_eq!(ran.exits(0), format!("{SEEN}\n1"), "{ran:?}");
}

/// It takes opaque folders and devices 0:0 and forgets them, and refuses names that begin with `.wh.`: whiteouts are
/// attributes of usnea's own there.
#[test]
fn a_store_on_fuse_overlayfs_takes_images_with_whiteouts() {
    if !need("fuse-overlayfs") {
        return;
    }
    let mount = "{ fuse-overlayfs -f -o lowerdir=l,upperdir=u,workdir=w m > log 2>&1 &
         for i in $(seq 100); do mountpoint -q m && break; sleep 0.1; done; mountpoint -q m; }";
    let ids: &[&str] = if has_subids() { &["--map-auto"] } else { &[] };
    let ran = in_store_on(&place(), ids, mount);
    assert_eq!(ran.exits(0), format!("{SEEN}\n1"), "{ran:?}");
}
