//! What shows images: the list with its filters and formats, inspect beside what skopeo says, history, tree, exists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::stocked::Stocked;
use crate::support::{Ran, need};

fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(ran.works()).expect("JSON")
}

fn lines(ran: &Ran) -> Vec<String> {
    ran.works().lines().map(str::to_owned).collect()
}

#[test]
fn images_are_listed_as_docker_lists_them() {
    let place = Stocked::new();
    assert_eq!(
        place.usnea(&["images"]).works(),
        "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"
    );
    assert_eq!(place.usnea(&["images", "-n"]).works(), "");
    let id = place.import("docker.io/library/one:1", &[("f", "12345")], &[]);
    let short = &id["sha256:".len()..][..12];
    let seen = lines(&place.usnea(&["images"]));
    let columns: Vec<&str> =
        seen[1].split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        seen[0].split_whitespace().collect::<Vec<_>>(),
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    );
    assert_eq!(columns[..3], ["one", "1", short]);
    assert!(columns[3].ends_with(" ago") && columns[4] == "5B", "{columns:?}");
    for words in [&["image", "ls"][..], &["image", "list"], &["images", "-a"]] {
        assert!(place.usnea(words).works().contains(short), "{words:?}");
    }
    assert_eq!(place.usnea(&["images", "-q"]).works(), short);
    assert_eq!(place.usnea(&["images", "-q", "--no-trunc"]).works(), id);
    let digest = place.field("one:1", "{{.Digest}}");
    assert!(place.usnea(&["images", "--digests"]).works().contains(&digest));
    let row = parsed(&place.usnea(&["images", "--format", "json"]));
    assert_eq!((&row[0]["Repository"], &row[0]["ReadOnly"]), (&json!("one"), &json!(false)));
    assert_eq!(
        place.usnea(&["images", "--format", "table {{.Repository}}\t{{.Size}}"]).works(),
        "REPOSITORY   SIZE\none          5B"
    );
    place.usnea(&["images", "--format", "{{.Nothing}}"]).fails_with(125, &["Nothing"]);
}

#[test]
fn filters_choose() {
    let place = Stocked::new();
    place.import("q.io/a/tool:1", &[("f", "1")], &["-c", "LABEL kind=tool", "-c", "LABEL x=y"]);
    place.import("other:2", &[("f", "22")], &["-c", "LABEL kind=other"]);
    let tarball = place.tarball("nameless", &[("f", "333")]);
    place.usnea(&["import", crate::support::text(&tarball)]).works();
    let names = |words: &[&str]| {
        let format = ["--format", "{{.Repository}}:{{.Tag}}"];
        lines(&place.usnea(&[&["images"], words, &format].concat()))
    };
    let (tool, other, none) = ("q.io/a/tool:1", "localhost/other:2", "<none>:<none>");
    assert_eq!(names(&[]), [none, other, tool]);
    for (filters, expected) in [
        (&["reference=*/*/tool"][..], &[tool][..]),
        (&["reference=other"], &[other]),
        (&["reference=other:[0-9]", "reference=q.io/a/*"], &[other, tool]),
        (&["dangling=true"], &[none]),
        (&["dangling=false"], &[other, tool]),
        (&["label=kind"], &[other, tool]),
        (&["label=kind=tool"], &[tool]),
        (&["label=kind=tool", "label=x=z"], &[]),
        (&["before=other:2"], &[tool]),
        (&["since=q.io/a/tool:1"], &[none, other]),
        (&["since=q.io/a/tool:1", "dangling=false"], &[other]),
    ] {
        let words: Vec<&str> = filters.iter().flat_map(|filter| ["-f", filter]).collect();
        assert_eq!(names(&words), expected, "{filters:?}");
    }
    assert_eq!(names(&["q.io/a/tool"]), [tool]);
    assert_eq!(names(&["--sort", "size"]), [none, other, tool]);
    assert_eq!(names(&["--sort", "repository"]), [none, other, tool]);
    let ran = place.usnea(&["images", "-f", "color=red"]);
    ran.fails_with(125, &["color=red"]);
    ran.hints();
    let ran = place.usnea(&["images", "-f", "before=nothing"]);
    ran.fails_with(125, &["no image 'nothing'"]);
    ran.hints();
}

#[test]
fn a_thousand_images_are_listed_and_found() {
    let place = Stocked::new();
    let digest =
        |kind: &str, at: usize| usnea::digest::Digest::of(format!("{kind} {at}").as_bytes());
    let image = |at: usize| {
        json!({
            "manifest": digest("manifest", at),
            "config": digest("config", at),
            "layers": [{"blob": digest("blob", at % 7), "packed": 10, "diff_id": digest("layer", at % 7), "size": 1000}],
            "platform": {"os": "linux", "architecture": "amd64"},
            "names": [format!("docker.io/library/image-{at}:1")],
            "added": "2024-05-01T00:00:00Z",
        })
    };
    let images: Vec<Value> = (0..1000).map(image).collect();
    place.place.write("store/images.json", json!({"version": 1, "images": images}).to_string());
    assert_eq!(lines(&place.usnea(&["images", "-n"])).len(), 1000);
    let ids: BTreeSet<String> =
        lines(&place.usnea(&["images", "-q", "--no-trunc"])).into_iter().collect();
    assert_eq!(ids.len(), 1000);
    let named = ["images", "--format", "{{.Repository}} {{.Size}}", "image-77?"];
    assert_eq!(lines(&place.usnea(&named)).len(), 10);
    assert_eq!(place.usnea(&["image", "exists", "image-999:1"]).exits(0), "");
    let id = digest("config", 500).hex()[..16].to_owned();
    assert_eq!(place.usnea(&["image", "exists", &id]).exits(0), "");
    assert!(
        place
            .usnea(&["image", "tree"])
            .works()
            .ends_with("7kB unpacked, 70B packed; sharing saves 993kB")
    );
}

#[test]
fn inspect_says_what_skopeo_says() {
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let changes = [
        r#"CMD ["/bin/x","y"]"#,
        "ENV A=b",
        "USER 5:6",
        "WORKDIR /w",
        "EXPOSE 80",
        "LABEL k=v",
        "VOLUME /v",
        "ENTRYPOINT /e",
        "STOPSIGNAL SIGQUIT",
    ];
    let more: Vec<&str> = changes.iter().flat_map(|change| ["-c", change]).collect();
    let id = place.import("x:1", &[("f", "12345")], &[&more[..], &["-m", "why"]].concat());
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "x:1"]).works();
    let theirs = parsed(&place.other("skopeo", &["inspect", "--config", "oci:layout"]));
    let digest = place.other("skopeo", &["inspect", "--format", "{{.Digest}}", "oci:layout"]);
    let all = parsed(&place.usnea(&["image", "inspect", "x:1"]));
    let ours = &all[0];
    assert_eq!((&ours["Id"], &ours["Digest"]), (&json!(id), &json!(digest.works())));
    assert_eq!(ours["RepoTags"], json!(["localhost/x:1"]));
    for (name, value) in theirs["config"].as_object().expect("a config") {
        assert_eq!(&ours["Config"][name], value, "{name}");
    }
    assert_eq!(ours["RootFS"]["Layers"], theirs["rootfs"]["diff_ids"]);
    assert_eq!(ours["Architecture"], theirs["architecture"]);
    assert_eq!((&ours["Comment"], &ours["Size"]), (&json!("why"), &json!(5)));
    assert_eq!(place.field(&id, "{{index .Config.Cmd 0}} {{.Config.User}}"), "/bin/x 5:6");
    // As docker: what was found is printed, what was not fails.
    let ran = place.usnea(&["image", "inspect", "x:1", "nope"]);
    assert_eq!(serde_json::from_str::<Value>(ran.exits(1)).expect("JSON"), all);
    assert!(ran.stderr.contains("no image 'nope' in"), "{ran:?}");
    assert_eq!(place.usnea(&["image", "inspect", "nope"]).exits(1), "[]");
}

#[test]
fn history_and_tree_say_whose_the_layers_are() {
    if !need("umoci") {
        return;
    }
    let place = Stocked::new();
    let base = place.import("base:1", &[("f", "12345")], &["-m", "the base"]);
    place.usnea(&["save", "--format", "oci-dir", "-o", "l", "base:1"]).works();
    let image = "l:localhost/base:1";
    let words = [
        "config",
        "--image",
        image,
        "--tag",
        "v2",
        "--config.user",
        "7",
        "--history.comment",
        "only words",
    ];
    place.other("umoci", &words).works();
    place
        .other(
            "umoci",
            &[
                "raw",
                "add-layer",
                "--image",
                "l:v2",
                "--history.created_by",
                "RUN\tit",
                text_of(&place, &[("g", "123")]),
            ],
        )
        .works();
    place.usnea(&["load", "-i", "l"]).works();
    let rows = parsed(&place.usnea(&["image", "history", "--format", "json", "v2"]));
    let seen: Vec<(&str, &str, &str)> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("text");
            (text("CreatedBy"), text("Size"), text("Comment"))
        })
        .collect();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].0, seen[0].1), ("RUN it", "3B"));
    assert_eq!((seen[1].1, seen[1].2), ("0B", "only words"));
    assert_eq!((seen[2].1, seen[2].2), ("5B", "the base"));
    let ids = lines(&place.usnea(&["image", "history", "-q", "--no-trunc", "v2"]));
    assert_eq!(ids, [place.field("v2", "{{.Id}}"), "<missing>".into(), "<missing>".into()]);
    assert!(
        place
            .usnea(&["image", "history", "--human=false", "base:1"])
            .works()
            .contains("CREATED AT")
    );

    let tree = place.usnea(&["image", "tree"]);
    let tree = tree.works();
    assert!(
        tree.contains("shared with localhost/v2:latest")
            && tree.contains("shared with localhost/base:1"),
        "{tree}"
    );
    assert!(
        tree.contains("unique 3B, shared 5B") && tree.contains("unique 0B, shared 5B"),
        "{tree}"
    );
    assert!(tree.ends_with("sharing saves 5B"), "{tree}");
    let one = parsed(&place.usnea(&["image", "tree", "--no-trunc", "--format", "json", "base:1"]));
    assert_eq!((&one[0]["ID"], &one[0]["Unique"]), (&json!(base), &json!(0)));
    assert_eq!(one[0]["Layers"][0]["SharedWith"], json!(["localhost/v2:latest"]));
}

fn text_of<'a>(place: &Stocked, files: &[(&str, &str)]) -> &'a str {
    place.tarball("added", files);
    "added.tar"
}

#[test]
fn images_of_a_store_of_others_are_listed_and_not_changed() {
    let place = Stocked::new();
    place.import("shared:1", &[("f", "1")], &[]);
    let in_own = |words: &[&str]| {
        let mut command = place.place.command(words);
        place.at_home(&mut command);
        command.env("USNEA_ROOT", place.place.path("own"));
        command.env("USNEA_IMAGE_STORES", place.place.store());
        crate::support::finish(&mut command, "")
    };
    assert_eq!(
        in_own(&["images", "--format", "{{.Repository}} {{.ReadOnly}}"]).works(),
        "localhost/shared true"
    );
    in_own(&["image", "exists", "shared:1"]).works();
    let before = place.place.read("store/images.json");
    in_own(&["push", "shared:1", "oci:out:v1"]).works();
    in_own(&["export", "-o", "out.tar", "shared:1"]).works();
    assert_eq!(place.place.read("store/images.json"), before);
    let ran = in_own(&["image", "history", "nothing"]);
    ran.fails_with(125, &["no image 'nothing' in", "/own,", "/store"]);
    assert_eq!(in_own(&["image", "exists", "nothing"]).exits(1), "");
}
