//! Owners of the files of a single-file image in what is made of its containers. unsquashfs tells those of the image.

use crate::composed::{Composed, file, folder, layer, link, small_root};
use crate::stocked::Stocked;
use crate::support::need;

/// Names of the files whose owners are compared.
const NAMES: &str = "'^(kept|folder|folder/inner|folder/link|tool|bin/sh)$'";

/// A place with `image.sqsh` and the stopped container `made` of it, and the owners in the image.
fn place(options: &[&str]) -> Option<(Stocked, String)> {
    if !need("unsquashfs") {
        return None;
    }
    let place = Stocked::new();
    let top = layer(&[
        file("kept", "image\n").owner(7, 8),
        folder("folder").owner(9, 10),
        file("folder/inner", "image\n").owner(13, 14),
        link("folder/link", "inner").owner(5, 6),
        file("tool", "image\n").owner(11, 12).mode(0o4711),
        file("changed", "image\n").owner(7, 8),
    ]);
    Composed::of(&[small_root(&place), top]).write(&place, "layout");
    place.usnea(&["pull", "-q", "--to", "image.sqsh", "oci:layout"]).works();
    let run = [&["run", "--name", "made"], options, &["sqsh:image.sqsh", "sh", "-c"]].concat();
    place.usnea(&[&run[..], &["echo new > /new"]].concat()).works();
    let owners = of_squashfs(&place, "image.sqsh");
    assert_eq!(owners.lines().count(), 6, "{owners}");
    assert!(owners.contains("-rw-r--r-- 7/8 kept"), "{owners}");
    Some((place, owners))
}

/// Sorted lines `MODE USER/GROUP NAME` of a listing.
fn owners_in(place: &Stocked, listing: &str) -> String {
    let script = format!(
        "{listing} | sed -E 's,squashfs-root/?,,; s, -> .*,,; s,/$,,' | awk '$6 ~ names {{print $1, $2, $6}}' names={NAMES} | sort -k 3"
    );
    place.shell(&script).works().to_owned()
}

fn of_squashfs(place: &Stocked, name: &str) -> String {
    owners_in(place, &format!("unsquashfs -lln {name}"))
}

#[test]
fn an_exported_container_has_the_owners_of_the_image() {
    let Some((place, owners)) = place(&[]) else { return };
    place.usnea(&["export", "-o", "container.tar", "made"]).works();
    place.usnea(&["export", "-o", "image.tar", "sqsh:image.sqsh"]).works();
    for name in ["container.tar", "image.tar"] {
        assert_eq!(
            owners_in(&place, &format!("tar -tvf {name} --numeric-owner")),
            owners,
            "{name}"
        );
    }
    assert!(place.shell("tar -tf container.tar").works().lines().any(|line| line == "new"));
    place.usnea(&["save", "--format", "squashfs", "-o", "saved.sqsh", "made"]).works();
    assert_eq!(of_squashfs(&place, "saved.sqsh"), owners);
    place.usnea(&["rm", "made"]).works();
}

#[test]
fn a_committed_container_has_the_owners_of_the_image() {
    let Some((place, owners)) = place(&[]) else { return };
    place.usnea(&["commit", "made", "localhost/made:1"]).works();
    place.usnea(&["save", "-o", "made.tar", "localhost/made:1"]).works();
    let listing = "mkdir made; tar -xf made.tar -C made
        for layer in $(find made -type f); do tar -tvf $layer --numeric-owner 2> listing || :; done";
    assert_eq!(owners_in(&place, &format!("({listing})")), owners);
    place.usnea(&["rm", "made"]).works();
}
