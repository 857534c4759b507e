//! What a short name means: whatever gives it, whatever looks for it (podman-compose#1446, podman#12761); and names with
//! a digest, for which the digest alone counts (docker/cli#3021, podman#10551).

use serde_json::Value;

use crate::layout_registry::serve;
use crate::stocked::Stocked;
use crate::support::text;

/// The short name that every verb is given.
const NAME: &str = "deb:12";

/// A place with an image of a registry called [`NAME`], whose file `v` says `old`, and the image `new:1`.
fn with_old() -> Stocked {
    let place = Stocked::new();
    place.import("docker.io/library/deb:12", &[("v", "old")], &[]);
    place.import("new:1", &[("v", "new")], &[]);
    place
}

/// What the file `v` of the image says.
fn version(place: &Stocked, image: &str) -> String {
    let said = place.shell(&format!("usnea export '{image}' | tar -xO v"));
    said.works().to_owned()
}

/// Gives [`NAME`] to the image `new`, by each verb that gives names.
/// How a name is given.
type Give = fn(&Stocked);

/// Gives [`NAME`] to the image `new`, by each verb that gives names.
fn giving() -> Vec<(&'static str, Give)> {
    vec![
        ("tag", |place| {
            place.usnea(&["tag", "new:1", NAME]).works();
        }),
        ("import", |place| {
            let tar = place.tarball("again", &[("v", "new"), ("more", "x")]);
            place.usnea(&["import", text(&tar), NAME]).works();
        }),
        ("commit", |place| {
            place.usnea(&["create", "--name", "box", "new:1", "/x"]).works();
            place.usnea(&["commit", "box", NAME]).works();
            place.usnea(&["rm", "box"]).works();
        }),
        ("load", |place| {
            place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "new:1"]).works();
            name_in_layout(place, NAME);
            place.usnea(&["load", "-i", "layout"]).works();
        }),
        ("pull", |place| {
            place.usnea(&["save", "--format", "oci-dir", "-o", "deb", "new:1"]).works();
            place.usnea(&["pull", "-q", "oci:deb"]).works();
            place.usnea(&["tag", "localhost/deb", NAME]).works();
        }),
    ]
}

/// Calls the image of the layout so.
fn name_in_layout(place: &Stocked, name: &str) {
    let mut index: Value = serde_json::from_str(&place.place.read("layout/index.json")).unwrap();
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = name.into();
    place.place.write("layout/index.json", index.to_string());
}

#[test]
fn a_name_means_what_it_was_last_given_to_for_every_verb() {
    for (verb, give) in giving() {
        let place = with_old();
        assert_eq!(version(&place, NAME), "old", "before {verb}");
        give(&place);
        let id = place.field("localhost/deb:12", "{{.Id}}");
        assert_eq!(version(&place, NAME), "new", "{verb}, then export");
        assert_eq!(place.field(NAME, "{{.Id}}"), id, "{verb}, then inspect");
        let config = place.usnea(&["inspect", "-f", "{{.Id}}", NAME]);
        assert_eq!(config.works(), id, "{verb}, then inspect of either");
        let short = &id["sha256:".len()..][..12];
        let tree = place.usnea(&["image", "tree", NAME]);
        assert!(tree.works().contains(short), "{verb}, then tree: {tree:?}");
        let history = place.usnea(&["history", "-q", "--no-trunc", NAME]);
        let of_id = place.usnea(&["history", "-q", "--no-trunc", &id]);
        assert_eq!(history.works(), of_id.works(), "{verb}, then history");
        place.usnea(&["create", "--name", "made", NAME, "/x"]).works();
        let of = place.usnea(&["inspect", "-f", "{{.Image}}", "made"]);
        assert!(of.works().contains(short), "{verb}, then create: {of:?}");
        place.usnea(&["rm", "made"]).works();
        place.usnea(&["save", "-o", "saved.tar", NAME]).works();
        let names = place.shell("tar -xOf saved.tar manifest.json");
        assert!(names.works().contains("localhost/deb:12"), "{verb}, then save: {names:?}");
        let pushed = place.usnea(&["push", NAME]);
        pushed.fails_with(125, &["localhost/deb:12", "this machine alone"]);
        place.usnea(&["push", "-q", NAME, "oci:pushed"]).works();
        place.usnea(&["tag", NAME, "third"]).works();
        assert_eq!(place.field("third", "{{.Id}}"), id, "{verb}, then tag");
        place.usnea(&["rmi", "third"]).works();
        place.usnea(&["untag", NAME, NAME]).works();
        assert_eq!(version(&place, NAME), "old", "{verb}, then untag");
        place.usnea(&["tag", &id, NAME]).works();
        let gone = place.usnea(&["rmi", NAME]);
        assert!(gone.works().contains("Untagged: localhost/deb:12"), "{verb}, then rmi: {gone:?}");
        assert_eq!(version(&place, NAME), "old", "{verb}, then rmi");
    }
}

#[test]
fn tag_moves_a_name_that_was_given_here() {
    let place = with_old();
    place.usnea(&["tag", NAME, "mine"]).works();
    assert_eq!(version(&place, "mine"), "old");
    place.usnea(&["tag", "new:1", "mine"]).works();
    assert_eq!(version(&place, "mine"), "new");
    assert_eq!(place.usnea(&["images", "-q", "mine"]).works().lines().count(), 1);
}

#[test]
fn a_shown_name_refers_to_that_image() {
    let place = with_old();
    let names = ["images", "--sort", "tag", "--format", "{{.Repository}}:{{.Tag}}", "deb"];
    assert_eq!(place.usnea(&names).works(), "deb:12");
    place.usnea(&["save", "-o", "old.tar", NAME]).works();
    place.usnea(&["tag", "new:1", NAME]).works();
    assert_eq!(place.usnea(&names).works(), "docker.io/library/deb:12\nlocalhost/deb:12");
    let loaded = place.usnea(&["load", "-q", "-i", "old.tar"]);
    assert_eq!(loaded.works(), "");
    let loaded = place.usnea(&["load", "-i", "old.tar"]);
    assert!(loaded.works().ends_with("docker.io/library/deb:12"), "{loaded:?}");
    assert_eq!(version(&place, "docker.io/library/deb:12"), "old");
    assert_eq!(version(&place, NAME), "new");
}

#[test]
fn no_registry_is_asked_for_a_name_that_was_given_here() {
    let place = with_old();
    place.usnea(&["tag", "new:1", NAME]).works();
    for words in [&["pull", NAME][..], &["run", "--pull", "always", "--rm", NAME, "/x"]] {
        let ran = place.usnea(words);
        ran.fails_with(125, &["localhost/deb:12 is an image that was named here"]);
        assert!(ran.stderr.contains("docker.io/library/deb:12"), "{ran:?}");
    }
    assert_eq!(version(&place, NAME), "new");
}

#[test]
fn a_pull_by_digest_gives_no_tag() {
    let place = Stocked::new();
    place.import("one:1", &[("v", "old")], &[]);
    place.import("two:1", &[("v", "new")], &[]);
    place.usnea(&["save", "--format", "oci-dir", "-o", "x", "one:1"]).works();
    let digest = place.field("one:1", "{{.Digest}}");
    let registry = serve(&place, |_, pieces| pieces);
    let name = format!("{}/x:2", registry.host);
    place.usnea(&["tag", "two:1", &name]).works();
    let by_digest = format!("{name}@{digest}");
    place.usnea(&["pull", "-q", "--tls-verify=false", &by_digest]).works();
    assert_eq!(version(&place, &name), "new");
    assert_eq!(version(&place, &by_digest), "old");
    let names = place.field(&by_digest, "{{.RepoTags}} {{.RepoDigests}}");
    assert!(!names.contains("/x:2") && names.contains(&digest), "{names}");
    // The digest alone is removed, whatever tag stands before it.
    place.usnea(&["tag", "one:1", &name]).works();
    let removed = place.usnea(&["rmi", &by_digest]);
    assert!(removed.works().starts_with("Untagged: "), "{removed:?}");
    assert!(removed.works().contains(&digest), "{removed:?}");
    assert_eq!(version(&place, &name), "old");
}

#[test]
fn an_id_is_one_image_however_it_came() {
    let place = Stocked::new();
    let id = place.import("one:1", &[("v", "old")], &[]);
    place.usnea(&["save", "-o", "one.tar", "one:1"]).works();
    place.usnea(&["tag", "one:1", "other"]).works();
    let digests = place.field("one:1", "{{.RepoDigests}}");
    place.usnea(&["load", "-q", "-i", "one.tar"]).works();
    assert_eq!(place.usnea(&["images", "-q"]).works().lines().count(), 1);
    assert_eq!(place.field("one:1", "{{.RepoDigests}}"), digests);
    let names = place.field(&id, "{{.RepoTags}}");
    assert!(names.contains("localhost/one:1") && names.contains("localhost/other"), "{names}");
    place.usnea(&["rmi", "-f", &id]).works();
    assert_eq!(place.usnea(&["images", "-q"]).works(), "");
    // The other way round: what was loaded first gets the registry's names.
    place.usnea(&["load", "-q", "-i", "one.tar"]).works();
    assert_eq!(place.field("one:1", "{{len .RepoDigests}}"), "0");
    place.import("again:1", &[("w", "x")], &[]);
    place.usnea(&["save", "--format", "oci-dir", "-o", "x", "one:1"]).works();
    let registry = serve(&place, |_, pieces| pieces);
    let name = format!("{}/x:1", registry.host);
    place.usnea(&["pull", "-q", "--tls-verify=false", &name]).works();
    assert_eq!(place.field(&name, "{{.Id}}"), id);
    let ids = place.usnea(&["images", "-q", "--no-trunc"]);
    assert_eq!(ids.works().lines().filter(|line| *line == id).count(), 1);
    let by_digest = place.field(&name, "{{index .RepoDigests 0}}");
    assert_eq!(place.field(&by_digest, "{{.Id}}"), id);
    place.usnea(&["run", "--rm", &name, "/x"]).exits(127);
    // A second manifest that was published stays as it is: a push sends it byte for byte.
    let manifest = place.field(&name, "{{.Digest}}");
    let blob = format!("x/blobs/sha256/{}", manifest.trim_start_matches("sha256:"));
    let other = place.place.read(&blob).replacen('{', "{ ", 1);
    let digest = usnea::digest::Digest::of(other.as_bytes()).to_string();
    place.place.write(&format!("x/blobs/sha256/{}", &digest["sha256:".len()..]), &other);
    let mut index: Value = serde_json::from_str(&place.place.read("x/index.json")).unwrap();
    index["manifests"][0]["digest"] = digest.clone().into();
    index["manifests"][0]["size"] = other.len().into();
    place.place.write("x/index.json", index.to_string());
    let second = format!("{}/x:2", registry.host);
    place.usnea(&["pull", "-q", "--tls-verify=false", &second]).works();
    assert_eq!(place.field(&second, "{{.Id}} {{.Digest}}"), format!("{id} {digest}"));
    assert_eq!(place.field(&name, "{{.Digest}}"), manifest);
    let names = place.field(&second, "{{.RepoTags}} {{.RepoDigests}}");
    assert!(names.contains(&name) && names.contains(&manifest), "{names}");
    place.usnea(&["rmi", &id]).fails_with(125, &["several names", &name, &second]);
    place.usnea(&["untag", &second]).works();
    let ids = place.usnea(&["images", "--format", "{{.ID}} {{.Tag}}", "--no-trunc"]);
    assert!(!ids.works().contains(&format!("{id} <none>")), "{ids:?}");
    let removed = place.usnea(&["rmi", "-f", &id]);
    assert!(removed.works().ends_with(&format!("Deleted: {id}")), "{removed:?}");
    assert!(!place.usnea(&["images", "-q", "--no-trunc"]).works().contains(&id));
}
