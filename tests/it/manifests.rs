//! Manifest lists, searches in registries, and the differences of images.

use serde_json::{Value, json};

use crate::fault_registry::{FaultRegistry, answer};
use crate::layout_registry::missing;
use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::stocked::Stocked;
use crate::support::need;

const PLAIN: &str = "--tls-verify=false";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A place with two images of the same kind, `one` and `two`.
fn two() -> Stocked {
    let place = Stocked::new();
    place.import("one", &[("etc/name", "one")], &[]);
    place.import("two", &[("etc/name", "two")], &[]);
    place
}

#[test]
fn a_manifest_list_is_made_changed_and_removed() {
    let place = two();
    let id = place.usnea(&["manifest", "create", "all:1", "one"]).works().to_owned();
    place.usnea(&["manifest", "create", "all:1"]).fails_with(125, &["already"]);
    assert_eq!(place.usnea(&["manifest", "create", "--amend", "all:1"]).works(), id);
    let add = ["manifest", "add", "--arch", "arm", "--variant", "v7", "all:1", "two"];
    assert_eq!(place.usnea(&add).works(), id);
    place.usnea(&["manifest", "add", "all:1", "oci:somewhere"]).fails_with(125, &["oci:somewhere"]);

    let [one, two] = ["one", "two"].map(|name| place.field(name, "{{.Digest}}"));
    let list = parsed(place.usnea(&["manifest", "inspect", &id[..12]]).works());
    assert_eq!(list["manifests"][0]["digest"], one);
    assert_eq!(list["manifests"][1]["digest"], two);
    let platform = json!({"architecture": "arm", "os": "linux", "variant": "v7"});
    assert_eq!(list["manifests"][1]["platform"], platform);

    let annotate =
        ["manifest", "annotate", "--os-version", "10", "--annotation", "a=b", "all:1", &two];
    place.usnea(&annotate).works();
    let index = ["manifest", "annotate", "--index", "--annotation", "c=d", "all:1"];
    place.usnea(&index).works();
    let list = parsed(place.usnea(&["manifest", "inspect", "localhost/all:1"]).works());
    assert_eq!(list["manifests"][1]["platform"]["os.version"], "10");
    assert_eq!(list["manifests"][1]["annotations"]["a"], "b");
    assert_eq!(list["annotations"], json!({"c": "d"}));

    place.usnea(&["manifest", "remove", "all:1", "one"]).works();
    place.usnea(&["manifest", "remove", "all:1", &one]).fails_with(125, &["not in"]);
    let list = parsed(place.usnea(&["manifest", "inspect", "all:1"]).works());
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(place.usnea(&["manifest", "exists", "all:1"]).exits(0), "");
    let removed = place.usnea(&["manifest", "rm", "all:1"]);
    assert!(removed.works().starts_with("Untagged: localhost/all:1\nDeleted: "), "{removed:?}");
    assert_eq!(place.usnea(&["manifest", "exists", "all:1"]).exits(1), "");
    place.usnea(&["manifest", "rm", "all:1"]).fails_with(125, &["no manifest list"]);
    assert_eq!(place.usnea(&["image", "exists", "two"]).exits(0), "");
}

#[test]
fn a_pushed_list_gives_each_machine_its_image() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let place = two();
    let there = format!("{}/a/all:1", registry.host);
    place.usnea(&["manifest", "create", "all", "one"]).works();
    place.usnea(&["manifest", "add", "--arch", "s390x", "all", "two"]).works();
    place.usnea(&["manifest", "push", "all"]).fails_with(125, &["this machine alone"]);
    for format in [None, Some("--format=oci"), Some("--format=v2s2")] {
        let words = ["manifest", "push", PLAIN, "--digestfile", "digest", "all", &there];
        let words: Vec<&str> = words.into_iter().chain(format).collect();
        let digest = place.usnea(&words).works().to_owned();
        assert_eq!(place.place.read("digest"), digest);
        let list = parsed(place.usnea(&["manifest", "inspect", PLAIN, &there]).works());
        let is_docker = list["mediaType"].as_str().is_some_and(|kind| kind.contains("docker"));
        assert_eq!(is_docker, format == Some("--format=v2s2"), "{list}");
        for (platform, content) in [("linux/s390x", "two"), ("linux/amd64", "one")] {
            let pull = ["pull", "-q", PLAIN, "--platform", platform, &there];
            place.usnea_in("other", &pull).works();
            let tar = place.place.path("x.tar");
            let tar = crate::support::text(&tar);
            place.usnea_in("other", &["image", "export", "-o", tar, &there]).works();
            assert_eq!(place.other("tar", &["-xOf", tar, "etc/name"]).works(), content);
        }
        place.usnea_in("other", &["rmi", "-af"]).works();
    }
    if need("skopeo") {
        let words = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{there}")];
        assert!(place.other("skopeo", &words).works().contains("s390x"));
    }

    // A list of what is in a registry, which goes to another repository.
    let by_name = format!("docker://{there}");
    place.usnea(&["manifest", "create", PLAIN, "--all", "again", &by_name]).works();
    let copy = format!("{}/b/all:1", registry.host);
    place.usnea(&["manifest", "push", "--rm", "-q", PLAIN, "again", &copy]).works();
    place.usnea(&["manifest", "exists", "again"]).exits(1);
    place.usnea_in("third", &["pull", "-q", PLAIN, "--platform", "linux/s390x", &copy]).works();
    // One of it for this machine alone, and its platform changed.
    place.usnea(&["manifest", "create", PLAIN, "single", &by_name]).works();
    let list = parsed(place.usnea(&["manifest", "inspect", "single"]).works());
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(1));

    // Into a layout, whose index has one entry: the list.
    place.usnea(&["manifest", "push", "all", "oci:layout:1"]).works();
    place.usnea_in("fourth", &["pull", "-q", "oci:layout:1"]).works();
    place.usnea(&["manifest", "push", "all", "docker-archive:x"]).fails_with(125, &["archive"]);
    // An image that is gone meanwhile.
    place.usnea(&["rmi", "two"]).works();
    place.usnea(&["manifest", "push", PLAIN, "all", &there]).fails_with(125, &["not here"]);
    place.usnea(&["manifest", "push", PLAIN, "--all=false", "all", &there]).works();
}

#[test]
fn a_registry_without_a_search_is_asked_for_its_catalog() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = two();
    let creds = format!("{USERNAME}:{PASSWORD}");
    for name in ["a/one:1", "a/one:2", "a/other:1", "b/one:1"] {
        let there = format!("{}/{name}", registry.host);
        place.usnea(&["push", "-q", PLAIN, "--creds", &creds, "one", &there]).works();
    }
    let search = |more: &[&str]| {
        let words = ["search", PLAIN, "--creds", &creds];
        place.usnea(&[&words[..], more].concat()).works().to_owned()
    };
    let term = format!("{}/one", registry.host);
    let names = search(&["--format", "{{.Name}}", &term]);
    assert_eq!(names, format!("{0}/a/one\n{0}/b/one", registry.host));
    assert_eq!(search(&["--limit", "1", "--format", "{{.Name}}", &term]).lines().count(), 1);
    assert!(search(&[&term]).starts_with("NAME"));
    assert_eq!(search(&["--filter", "is-official=true", "--format", "{{.Name}}", &term]), "");
    let tags =
        search(&["--list-tags", "--format", "{{.Tag}}", &format!("{}/a/one", registry.host)]);
    let mut tags: Vec<&str> = tags.lines().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["1", "2"]);
    place.usnea(&["search", PLAIN, &term]).fails_with(125, &["login"]);
    place.usnea(&["search", "--filter", "x=y", "z"]).fails_with(125, &["stars=NUMBER"]);
    place.usnea(&["image", "search", "--limit", "0", "z"]).fails_with(125, &["--limit"]);
}

#[test]
fn dockers_search_is_asked_first() {
    let registry = FaultRegistry::start(|request, _| {
        if !request.path.starts_with("/v1/search?q=a%20b&n=25") {
            return missing();
        }
        let one = json!({"name": "lib/x", "description": "d".repeat(60), "star_count": 3,
                         "is_official": true, "is_automated": false});
        let two = json!({"name": "y", "description": null, "star_count": 1});
        answer("200 OK", &[], json!({"results": [one, two]}).to_string().as_bytes())
    });
    let place = Stocked::new();
    let term = format!("{}/a b", registry.host);
    let words = |more: &[&str]| {
        let words = ["search", PLAIN, "--format", "{{.Name}} {{.Stars}}{{.Official}}"];
        place.usnea(&[&words[..], more, &[&*term]].concat()).works().to_owned()
    };
    assert_eq!(words(&[]), format!("{0}/lib/x 3[OK]\n{0}/y 1", registry.host));
    assert_eq!(words(&["--filter", "stars=2"]), format!("{}/lib/x 3[OK]", registry.host));
    assert_eq!(words(&["-f", "is-official=false"]), format!("{}/y 1", registry.host));
    let table = place.usnea(&["search", PLAIN, &term]).works().to_owned();
    assert!(table.contains(&format!("{}…", "d".repeat(44))), "{table}");
}

#[test]
fn an_image_is_compared_with_its_parent_or_with_another() {
    let place = Stocked::new();
    place.import("base", &[("a/keep", "k"), ("a/gone", "g"), ("b", "1")], &[]);
    place.import("changed", &[("a/keep", "k"), ("b", "22"), ("c", "new")], &[]);
    let diff =
        |words: &[&str]| place.usnea(&[&["image", "diff"], words].concat()).works().to_owned();
    assert_eq!(diff(&["base"]), "A /a\nA /a/gone\nA /a/keep\nA /b");
    assert_eq!(diff(&["changed", "base"]), "C /a\nD /a/gone\nC /b\nA /c");
    assert_eq!(diff(&["base", "base"]), "");
    let json = parsed(&diff(&["--format", "json", "changed", "base"]));
    assert_eq!(json["deleted"], json!(["/a/gone"]));
    place.usnea(&["image", "diff", "nothing"]).fails_with(125, &["no image 'nothing'"]);
}
