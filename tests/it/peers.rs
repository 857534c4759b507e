//! Images on their way between usnea, podman and buildah, through a registry and through archives: the same digests, and
//! the same files in what runs.

use serde_json::Value;

use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{need, need_that, text};

const PLAIN: &str = "--tls-verify=false";
/// podman in buildah's user namespace, so that no process of podman's stays to hold one of its own.
const PODMAN: &str = "buildah unshare podman --root $HOME/.local/share/containers/storage";
/// What the layers make together.
const MERGED: &str = "d/b 2\nd/new 3\no/late 3\ntop 1";
/// Shows it.
const LOOK: &str = "cd /; for file in $(find d o gone top -type f 2> /dev/null | sort); do echo $file $(cat $file); done";

/// A place where podman and buildah have an image `localhost/made` of three layers, with a whiteout, an opaque folder and
/// a file that was changed. `None`: they do not run here, which was said.
fn with_made() -> Option<Stocked> {
    if !need("podman") || !need("buildah") || !need("skopeo") {
        return None;
    }
    let place = Stocked::new();
    let usable = place.shell(&format!("{PODMAN} info")).status == 0;
    if !need_that(usable, "a podman that runs here") {
        return None;
    }
    let root = place.place.small_root();
    for (file, content) in
        [("d/a", "1"), ("d/b", "1"), ("gone/z", "1"), ("o/early", "1"), ("top", "1")]
    {
        place.place.write(&format!("{}/{file}", text(&root)), content);
    }
    let layer = |from: &str, change: &str, name: &str| {
        format!(
            "c=$(buildah from --pull-never {from})\n{change}\nbuildah commit -q $c {name}; buildah rm $c\n"
        )
    };
    let script = [
        layer("scratch", &format!("buildah copy -q $c {} /", text(&root)), "first"),
        layer("localhost/first", &inside("rm -r /d/a /gone; echo 2 > /d/b"), "second"),
        layer(
            "localhost/second",
            &format!(
                "{}buildah config --env X=y --cmd 'cat /d/new' --label made=by-buildah $c",
                inside("echo 3 > /d/new; rm -r /o; mkdir /o; echo 3 > /o/late")
            ),
            "made",
        ),
    ];
    place.shell(&script.concat()).works();
    Some(place)
}

/// The words of a shell that run a script in buildah's container `$c`. Not `buildah run`, which needs subordinate IDs.
fn inside(script: &str) -> String {
    format!(
        "C=$c buildah unshare sh -c 'chroot $(buildah mount $C) sh; buildah umount $C > /dev/null' << 'END'\n{script}\nEND\n"
    )
}

fn registry_digest(place: &Stocked, there: &str) -> String {
    let there = format!("docker://{there}");
    let words = ["inspect", PLAIN, "--format", "{{.Digest}}", &there];
    place.other("skopeo", &words).works().to_owned()
}

/// Asserts that the image runs here with all that its layers make.
fn runs(place: &Stocked, image: &str) {
    assert_eq!(place.usnea(&["run", "--rm", image]).works(), "3");
    assert_eq!(place.usnea(&["run", "--rm", image, "sh", "-c", LOOK]).works(), MERGED);
    assert_eq!(place.usnea(&["run", "--rm", image, "sh", "-c", "echo $X"]).works(), "y");
    assert_eq!(
        place.field(image, "{{len .RootFS.Layers}} {{.Config.Labels.made}}"),
        "3 by-buildah"
    );
}

#[test]
fn images_pushed_by_podman_run_here_and_ours_run_there() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let Some(place) = with_made() else { return };
    for format in ["oci", "v2s2"] {
        let theirs = format!("{}/theirs/{format}:1", registry.host);
        let push = format!("{PODMAN} push -q {PLAIN} --format {format} localhost/made {theirs}");
        place.shell(&push).works();
        let digest = registry_digest(&place, &theirs);
        place.usnea(&["pull", "-q", PLAIN, &theirs]).works();
        assert_eq!(place.field(&theirs, "{{.Digest}}"), digest, "{format}");
        runs(&place, &theirs);

        let ours = format!("{}/ours/{format}:1", registry.host);
        place.usnea(&["push", "-q", PLAIN, &theirs, &ours]).works();
        assert_eq!(registry_digest(&place, &ours), digest, "{format}");
        let script = format!(
            "{PODMAN} pull -q {PLAIN} {ours} > /dev/null; {PODMAN} image inspect -f '{{{{.RepoDigests}}}}' {ours}\n\
             c=$(buildah from --pull-never {ours})\n{}buildah rm $c > /dev/null",
            inside(LOOK)
        );
        let said = place.shell(&script);
        // One image, by all its digests.
        let (digests, merged) = said.works().split_once('\n').expect("lines");
        assert!(digests.contains(&format!("/ours/{format}@{digest}")), "{digests}, {digest}");
        assert_eq!(merged, MERGED, "{format}");
    }
}

#[test]
fn archives_of_podman_are_loaded_here() {
    let Some(place) = with_made() else { return };
    let script = format!("{PODMAN} image inspect -f '{{{{.Id}}}}' localhost/made");
    let id = place.shell(&script).works().trim_start_matches("sha256:").to_owned();
    for format in ["docker-archive", "oci-archive"] {
        let save = format!("{PODMAN} save -q --format {format} -o {format}.tar localhost/made");
        place.shell(&save).works();
        let loaded = place.usnea(&["load", "-i", &format!("{format}.tar")]);
        assert_eq!(loaded.works(), "Loaded image: localhost/made:latest");
        // One line for each layer.
        let lines: Vec<&str> = loaded.stderr.lines().collect();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.contains(": ")), "{loaded:?}");
        let name = "localhost/made";
        // docker's form of the config is another one, of the same layers.
        let is_same = place.field(name, "{{.Id}}") == format!("sha256:{id}");
        assert!(is_same || format == "docker-archive");
        runs(&place, name);
        place.usnea(&["rmi", name]).works();
    }
}

#[test]
fn saved_images_are_loaded_and_run_by_podman_and_buildah() {
    let Some(place) = with_made() else { return };
    let save = format!("{PODMAN} save -q --format oci-archive -o in.tar localhost/made");
    place.shell(&save).works();
    place.usnea(&["load", "-q", "-i", "in.tar"]).works();
    place.usnea(&["tag", "localhost/made", "localhost/ours"]).works();
    for format in ["docker-archive", "oci-archive"] {
        let archive = format!("{format}.tar");
        place.usnea(&["save", "--format", format, "-o", &archive, "localhost/ours"]).works();
        let script = format!(
            "{PODMAN} load -q -i {archive} > /dev/null; {PODMAN} image inspect localhost/ours > there.json\n\
             c=$(buildah from --pull-never localhost/ours)\n{}buildah rm $c > /dev/null\n\
             {PODMAN} rmi localhost/ours > /dev/null",
            inside(LOOK)
        );
        assert_eq!(place.shell(&script).works(), MERGED, "{format}");
        let theirs: Value = serde_json::from_str(&place.place.read("there.json")).expect("JSON");
        let ours = place.usnea(&["image", "inspect", "localhost/ours"]);
        let ours: Value = serde_json::from_str(ours.works()).expect("JSON");
        assert_eq!(ours[0]["RootFS"], theirs[0]["RootFS"], "{format}");
    }
}
