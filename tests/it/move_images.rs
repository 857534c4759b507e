//! What moves images, against those who move them too: a real registry, skopeo, buildah, podman, tar.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde_json::Value;
use usnea::config::LayerLimits;
use usnea::image::Reference;
use usnea::image::compose::{self, ImageDetails, LayerWriter, ParentImage};
use usnea::image::diff::{self, ChangeKind};
use usnea::image::endpoint::{RegistryCredentials, RegistryEndpoint, TransportSecurity};
use usnea::image::manifest::{ManifestDocument, Platform};
use usnea::image::owners::Owners;
use usnea::image::pull::{ImagePull, TransferOutcome, TransferProgress};
use usnea::image::registry_client::{Registry, RegistryAccess};
use usnea::image::store::Store;

use crate::composed::{Composed, file, layer};
use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::stocked::Stocked;
use crate::support::{need, need_that, text, within};
use crate::terminal::Screen;

const PLAIN: &str = "--tls-verify=false";
const FILES: &[(&str, &str)] = &[("bin/tool", "#!/bin/sh\n"), ("etc/name", "usnea\n")];

fn skopeo_digest(place: &Stocked, image: &str) -> String {
    let words = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", image];
    place.other("skopeo", &words).works().to_owned()
}

fn copied(place: &Stocked, from: &str, to: &str) {
    let words = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", from, to];
    place.other("skopeo", &words).works();
}

/// Pulls `name` into the store `other`.
fn pulled(place: &Stocked, endpoint: RegistryEndpoint, name: &str) {
    let name: Reference = name.parse().expect("a name");
    let registry = Registry::new(endpoint, name.which(), RegistryAccess::Pull).expect("a registry");
    let store = Store::open(&place.place.path("other")).expect("a store");
    let pull = ImagePull {
        action: "pull",
        store: &store,
        platform: &Platform::host(),
        names: &[name],
        owners: &Owners::Recorded,
        limits: &LayerLimits::default(),
        parallel: 2,
        progress: &Silent,
        approve: &|_| Ok(()),
    };
    pull.run(&registry).expect("an image");
}

#[test]
fn a_pushed_image_has_its_digest_in_the_registry() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let id = place.import("tool:1", FILES, &[]);
    let digest = place.field("tool:1", "{{.Digest}}");
    let there = format!("{}/a/tool:2", registry.host);
    let ran = place.usnea(&["push", PLAIN, "--digestfile", "digest", "tool:1", &there]);
    assert!(ran.works().starts_with(&format!("{there}: digest: {digest} size: ")), "{ran:?}");
    assert_eq!(place.place.read("digest"), digest);
    assert_eq!(skopeo_digest(&place, &format!("docker://{there}")), digest);
    // By its ID, quietly, and again: all is there.
    assert_eq!(place.usnea(&["push", PLAIN, "-q", &id, &there]).works(), there);
    let known = place.field("tool:1", "{{json .RepoDigests}}");
    assert!(known.contains(&format!("{}/a/tool@{digest}", registry.host)), "{known}");
    let by_digest = format!("{}/a/tool@{digest}", registry.host);
    assert_eq!(place.usnea(&["image", "exists", &by_digest]).exits(0), "");

    place.usnea(&["push", "tool:1"]).fails_with(125, &["localhost/tool:1", "this machine alone"]);
    place.usnea(&["push", &id]).fails_with(125, &["no name"]);
    place.usnea(&["push", PLAIN, "tool:1", &by_digest]).fails_with(125, &["digest"]);
    // No plain HTTP where TLS is asked for.
    place
        .usnea(&["push", "--tls-verify", "tool:1", &there])
        .fails_with(125, &["cannot push tool:1", &registry.host]);
    place.usnea(&["push", "nothing:1", &there]).fails_with(125, &["no image 'nothing:1'"]);
}

#[test]
fn a_pushed_image_comes_back_unchanged() {
    let Some(registry) = RealRegistry::start(Tls::On, Auth::Basic) else { return };
    let place = Stocked::new();
    place.import("tool:1", FILES, &["-c", "ENV A=b"]);
    let there = format!("{}/tool:1", registry.host);
    let certificates = registry.certificates();
    let creds = format!("{USERNAME}:{PASSWORD}");
    let known = ["--cert-dir", text(&certificates), "--creds", &creds];
    place.usnea(&[&["push"], &known[..], &["tool:1", &there]].concat()).works();
    let wrong = ["push", "--cert-dir", text(&certificates), "--creds", "x:y", "tool:1", &there];
    place.usnea(&wrong).fails_with(125, &["cannot push", "our user name or password is refused"]);
    let endpoint = RegistryEndpoint {
        host: registry.host.clone(),
        repository: "tool".into(),
        transport: TransportSecurity::Verified,
        credentials: Some(RegistryCredentials::Password {
            username: USERNAME.into(),
            password: PASSWORD.into(),
        }),
        certificates: vec![certificates.clone()],
        retries: usnea::image::endpoint::RetrySettings::default(),
    };
    pulled(&place, endpoint, &there);
    for template in ["{{.Id}}", "{{.Digest}}", "{{json .RootFS.Layers}}", "{{json .Config.Env}}"] {
        let there = place.usnea_in("other", &["image", "inspect", "-f", template, &there]);
        assert_eq!(there.works(), place.field("tool:1", template), "{template}");
    }
}

#[test]
fn images_pushed_by_others_are_passed_on_byte_for_byte() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") || !need("buildah") {
        return;
    }
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "tool:1"]).works();
    // skopeo writes both kinds of manifests; buildah has names, annotations and a history of its own.
    for format in ["oci", "v2s2"] {
        let name = format!("docker://{}/{format}:1", registry.host);
        let words =
            ["copy", "--quiet", "--format", format, "--dest-tls-verify=false", "oci:layout", &name];
        place.other("skopeo", &words).works();
    }
    let script = format!(
        "c=$(buildah from scratch); buildah copy -q $c tool-1 /; buildah config --env X=y --annotation a=b $c\n\
         buildah commit -q $c docker://{}/buildah:1 --tls-verify=false; buildah rm $c",
        registry.host
    );
    let built = place.shell(
        &script
            .replace(" --tls-verify=false", "")
            .replace("commit -q", "commit -q --tls-verify=false"),
    );
    built.works();
    for name in ["oci", "v2s2", "buildah"] {
        let (from, to) =
            (format!("{}/{name}:1", registry.host), format!("{}/on/{name}:1", registry.host));
        let digest = skopeo_digest(&place, &format!("docker://{from}"));
        let endpoint = RegistryEndpoint {
            host: registry.host.clone(),
            repository: name.into(),
            transport: TransportSecurity::Insecure,
            credentials: None,
            certificates: Vec::new(),
            retries: usnea::image::endpoint::RetrySettings::default(),
        };
        pulled(&place, endpoint, &from);
        place.usnea_in("other", &["push", PLAIN, &from, &to]).works();
        assert_eq!(skopeo_digest(&place, &format!("docker://{to}")), digest, "{name}");
        let raw = |name: &str| {
            place
                .other("skopeo", &["inspect", PLAIN, "--raw", &format!("docker://{name}")])
                .works()
                .to_owned()
        };
        assert_eq!(raw(&from), raw(&to), "{name}");
        // Others take from us what they take from themselves.
        copied(&place, &format!("docker://{to}"), &format!("oci:taken:{name}"));
    }
}

#[test]
fn layers_that_were_loaded_plain_are_packed_for_a_registry() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let large = "the same again and again\n".repeat(10_000);
    let id = place.import("tool:1", &[("f", &large), ("g", "2")], &[]);
    place.usnea(&["save", "-o", "tool.tar", "tool:1"]).works();
    place.usnea_in("other", &["load", "-i", "tool.tar"]).works();
    let pushed = |name: &str| {
        let there = format!("{}/{name}:1", registry.host);
        place.usnea_in("other", &["push", PLAIN, "tool:1", &there]).works();
        let words = ["inspect", PLAIN, "--raw", &format!("docker://{there}")];
        let raw: Value = serde_json::from_str(place.other("skopeo", &words).works()).expect("JSON");
        assert_eq!(raw["config"]["digest"].as_str(), Some(id.as_str()));
        raw["layers"][0].clone()
    };
    let layer = pushed("a");
    assert!(layer["mediaType"].as_str().expect("a type").ends_with(".tar.gzip"), "{layer}");
    assert!(layer["size"].as_u64().expect("a size") < 10_000, "{layer}");
    assert_eq!(pushed("b"), layer);
    // What is there has the content that the config promises.
    copied(&place, &format!("docker://{}/a:1", registry.host), "docker-archive:back.tar");
}

#[test]
fn a_layer_goes_out_before_the_last_one_is_compressed() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let place = Stocked::new();
    let layers: Vec<Vec<u8>> =
        (0..5).map(|number| layer(&[file(&format!("f{number}"), "x")])).collect();
    Composed::of(&layers).write(&place, "l");
    place.usnea(&["pull", "-q", "oci:l"]).works();
    // The last one cannot be compressed: its bytes are others.
    let last = usnea::digest::Digest::of(&layers[4]);
    let damaged = vec![0; layers[4].len()];
    std::fs::write(place.place.path(&format!("store/blobs/sha256/{}", last.hex())), damaged)
        .unwrap();
    let there = format!("{}/l:1", registry.host);
    let ran = place.usnea(&["push", "-q", PLAIN, "localhost/l", &there]);
    ran.fails_with(125, &["cannot push", last.hex(), "damaged"]);
    // Three at once: the fifth begins when two are there.
    let is_there = || registry.log().matches("http.request.method=PUT").count() >= 2;
    assert!(within(std::time::Duration::from_secs(5), is_there), "{}", registry.log());
    assert!(place.other("skopeo", &["inspect", PLAIN, &format!("docker://{there}")]).status != 0);
}

#[test]
fn skopeo_reads_saved_images() {
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let one = place.import("q.io/one:1", FILES, &["-c", "CMD /bin/tool"]);
    place.import("two:2", &[("g", "1")], &[]);
    place.usnea(&["save", "-o", "both.tar", "q.io/one:1", "two:2"]).works();
    for (at, name) in [("@0", "q.io/one:1"), ("@1", "localhost/two:2")] {
        let words = ["inspect", "--config", "--raw", &format!("docker-archive:both.tar:{at}")];
        let theirs = place.other("skopeo", &words);
        assert_eq!(
            usnea::digest::Digest::of(theirs.stdout.as_bytes()).to_string(),
            place.field(name, "{{.Id}}")
        );
        let image = format!("docker-archive:both.tar:{at}");
        let theirs = place.other("skopeo", &["inspect", &image]);
        let theirs: Value = serde_json::from_str(theirs.works()).expect("JSON");
        assert_eq!(theirs["Layers"].to_string(), place.field(name, "{{json .RootFS.Layers}}"));
    }
    place
        .usnea(&["save", "--format", "oci-archive", "-o", "both.oci", "q.io/one:1", "two:2"])
        .works();
    for name in ["q.io/one:1", "localhost/two:2"] {
        let there = skopeo_digest(&place, &format!("oci-archive:both.oci:{name}"));
        assert_eq!(there, place.field(name, "{{.Digest}}"));
    }
    // The same images in a pipe, and in the other store both names.
    place.shell("usnea save q.io/one:1 two:2 | USNEA_ROOT=$PWD/other usnea load").works();
    let names = ["images", "--sort", "repository", "--format", "{{.Repository}}:{{.Tag}}"];
    assert_eq!(place.usnea_in("other", &names).works(), "localhost/two:2\nq.io/one:1");
    assert_eq!(
        place.usnea_in("other", &["image", "inspect", "-f", "{{.Id}}", "q.io/one:1"]).works(),
        one
    );
    // By its ID it has no name.
    place.usnea(&["save", "-o", "nameless.tar", &one]).works();
    let ran = place.usnea_in("third", &["load", "-i", "nameless.tar"]);
    assert_eq!(ran.works(), format!("Loaded image ID: {one}"));
    // Nothing is begun when one of them is not there.
    place
        .usnea(&["save", "-o", "none.tar", "two:2", "three"])
        .fails_with(125, &["no image 'three'"]);
    assert!(!place.place.path("none.tar").exists());
    place
        .usnea(&["save", "--format", "oci-dir", "two:2"])
        .fails_with(125, &["oci-dir is a folder"]);
}

#[test]
fn no_archive_is_written_to_a_terminal_or_read_from_one() {
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    for words in [&["save", "tool:1"][..], &["export", "tool:1"], &["load"], &["import", "-"]] {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let screen = Screen::start_with(&place.place, &words, |command| place.at_home(command));
        let (status, shown) = screen.end();
        assert_eq!(status, 125, "{words:?}: {shown}");
        assert!(shown.contains("terminal") && shown.contains("hint: "), "{words:?}: {shown}");
    }
}

#[test]
fn archives_of_skopeo_are_loaded() {
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    let layers = place.field("tool:1", "{{json .RootFS.Layers}}");
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "tool:1"]).works();
    for (at, (to, input, said)) in [
        ("docker-archive:a.tar:debian:12", "a.tar", "debian:12"),
        ("docker-archive:b.tar:q.io/x/y:1", "b.tar", "q.io/x/y:1"),
        ("oci-archive:c.tar:v1", "c.tar", "localhost/v1:latest"),
        ("oci-archive:d.tar:q.io/z:3", "d.tar", "q.io/z:3"),
        ("oci:e:q.io/z:4", "e", "q.io/z:4"),
    ]
    .into_iter()
    .enumerate()
    {
        copied(&place, "oci:layout", to);
        let store = format!("store-{at}");
        let ran = place.usnea_in(&store, &["load", "-i", input]);
        assert_eq!(ran.works(), format!("Loaded image: {said}"));
        assert_eq!(
            place
                .usnea_in(&store, &["image", "inspect", "-f", "{{json .RootFS.Layers}}", said])
                .works(),
            layers
        );
    }
    place.other("gzip", &["-k", "a.tar"]).works();
    assert_eq!(place.usnea(&["load", "-q", "-i", "a.tar.gz"]).works(), "");
    place.usnea(&["image", "exists", "debian:12"]).works();
    place.usnea(&["load", "-i", "tool-1.tar"]).fails_with(125, &["tool-1.tar", "not of images"]);
    place.usnea(&["load"]).fails_with(125, &["standard input", "not a tar archive"]);
    place.usnea(&["load", "-i", "nothing.tar"]).fails_with(125, &["nothing.tar", "no such file"]);
}

#[test]
fn a_policy_that_wants_signatures_lets_no_archive_in() {
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    place.usnea(&["save", "-o", "a.tar", "tool:1"]).works();
    let strict = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker-archive":{"":[{"type":"reject"}]}}}"#;
    let mut command = place.place.command(&["load", "-i", "a.tar"]);
    place.at_home(&mut command);
    place.place.write("home/.config/containers/policy.json", strict);
    let ran = crate::support::finish(command.env("USNEA_ROOT", place.place.path("other")), "");
    ran.fails_with(125, &["signature policy", "docker-archive", "reject"]);
    assert_eq!(place.usnea_in("other", &["images", "-q"]).works(), "");
}

#[test]
fn podman_loads_what_is_saved() {
    if !need("podman") || !need("buildah") {
        return;
    }
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    place.usnea(&["save", "-o", "a.tar", "tool:1"]).works();
    // In buildah's user namespace, so that no process of podman's stays to hold one of its own.
    let podman = "buildah unshare podman --root $HOME/.local/share/containers/storage";
    let usable = place.shell(&format!("{podman} info")).status == 0;
    if !need_that(usable, "a podman that runs here") {
        return;
    }
    let said =
        place.shell(&format!("{podman} load -q -i a.tar; {podman} image inspect localhost/tool:1"));
    assert!(said.works().starts_with("Loaded image: localhost/tool:1"), "{said:?}");
    let theirs: Value =
        serde_json::from_str(said.stdout.split_once('\n').expect("lines").1).expect("JSON");
    let ours = place.usnea(&["image", "inspect", "tool:1"]);
    let ours: Value = serde_json::from_str(ours.works()).expect("JSON");
    for name in ["Architecture", "Os", "RootFS", "RepoTags", "Author"] {
        assert_eq!(ours[0][name], theirs[0][name], "{name}");
    }
    let id = theirs[0]["Id"].as_str().expect("an ID");
    assert_eq!(ours[0]["Id"], format!("sha256:{}", id.trim_start_matches("sha256:")));
}

#[test]
fn an_imported_image_is_exported_unchanged() {
    let place = Stocked::new();
    place.import("tool:1", FILES, &[]);
    let script = "ln tool-1/bin/tool tool-1/bin/hard; ln -s tool tool-1/bin/soft; mkfifo tool-1/pipe; chmod 4711 tool-1/bin/tool\n\
        tar --sort=name --mtime=@1700000000 --owner=3 --group=4 --numeric-owner --xattrs -cf in.tar -C tool-1 .\n\
        gzip -k in.tar; usnea import - mine < in.tar.gz; usnea export mine > out.tar; usnea export -o again.tar mine";
    place.shell(script).works();
    let listed = |name: &str| {
        let ran = place
            .other("sh", &["-c", &format!("mkdir -p x-{name}; tar -tvf {name} --numeric-owner")]);
        // Without subordinate IDs owners are in attributes, which symbolic links and pipes cannot have (xattr(7)).
        let is_bare = std::env::var("USNEA_TEST_USER_KIND").is_ok_and(|kind| kind == "bare");
        let line = |line: &str| {
            let line = line.replace(" ./", " ").trim_end_matches('/').to_owned();
            match is_bare && line.starts_with(['l', 'p']) {
                true => line.replace(" 3/4 ", " 0/0 "),
                false => line,
            }
        };
        let mut lines: Vec<String> = ran.works().lines().map(line).collect();
        // Which of two names is the file and which the link is nobody's choice.
        lines.retain(|line| {
            !line.contains("bin/hard") && !line.contains("bin/tool") && !line.ends_with(' ')
        });
        lines.sort();
        lines
    };
    assert_eq!(listed("in.tar"), listed("out.tar"));
    let content = "mkdir got; tar -xf out.tar -C got --no-same-owner; cmp got/bin/hard tool-1/bin/tool; test got/bin/hard -ef got/bin/tool\n\
        tar -tvf out.tar | grep -c '^[-h]rws--x--x'; cmp out.tar again.tar";
    assert_eq!(place.shell(content).works(), "2");
    place.usnea(&["import", "nothing.tar"]).fails_with(125, &["cannot import", "nothing.tar"]);
    place.usnea(&["import", "-c", "RUN x", "in.tar"]).fails_with(125, &["RUN"]);
    place
        .usnea(&["export", "nothing"])
        .fails_with(125, &["neither a container nor an image is called 'nothing'"]);
    assert_eq!(place.usnea(&["images", "-q"]).works().lines().count(), 2);
}

struct Silent;

impl TransferProgress for Silent {
    fn layers(&self, _: &[(String, u64)]) {}
    fn waiting(&self, _: Option<usize>) {}
    fn transferred(&self, _: usize, _: u64) {}
    fn done(&self, _: usize, _: TransferOutcome) {}
}

#[test]
fn changes_on_a_real_overlay_become_a_layer() {
    let place = Stocked::new();
    place.import(
        "base:1",
        &[("etc/name", "old"), ("etc/gone", "x"), ("d/a", "1"), ("d/b", "2")],
        &[],
    );
    for name in ["upper", "work", "merged"] {
        place.place.folder(name);
    }
    let script = "mount -t overlay overlay -o userxattr,lowerdir=base-1,upperdir=upper,workdir=work merged\n\
        echo new > merged/etc/name; rm merged/etc/gone; rm -r merged/d; mkdir merged/d; echo c > merged/d/c";
    let ran = place.other("unshare", &["-Urm", "sh", "-ec", script]);
    if !need_that(ran.status == 0, "a kernel overlay for ordinary users") {
        return;
    }
    let (upper, lower) = (place.place.path("upper"), place.place.path("base-1"));
    assert!(upper.join("etc/gone").metadata().expect("a whiteout").file_type().is_char_device());
    let owners = Owners::Recorded;
    let changes =
        diff::changes(&upper.clone().into(), diff::UpperForm::Changes, &[lower.into()], &owners)
            .expect("changes");
    let kinds = |path: &str| {
        changes.iter().find(|change| change.path == Path::new(path)).map(|change| change.kind)
    };
    assert_eq!(kinds("/etc/name"), Some(ChangeKind::Changed));
    assert_eq!(kinds("/etc/gone"), Some(ChangeKind::Deleted));
    assert_eq!(
        (kinds("/d/a"), kinds("/d/c")),
        (Some(ChangeKind::Deleted), Some(ChangeKind::Added))
    );

    commit(&place, &upper, &owners);
    place.usnea(&["export", "-o", "out.tar", "new:1"]).works();
    let listed = place.other("tar", &["-tf", "out.tar"]);
    assert_eq!(listed.works().lines().collect::<Vec<_>>(), ["d/", "d/c", "etc/", "etc/name"]);
    assert_eq!(place.other("tar", &["-xOf", "out.tar", "etc/name"]).works(), "new");
    let comments = place.usnea(&["image", "history", "--format", "{{.Comment}}", "new:1"]);
    assert!(comments.works().starts_with("by hand\n"), "{comments:?}");

    // Its layers go out side by side.
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let there = format!("{}/new:1", registry.host);
    let ran = place.usnea(&["push", PLAIN, "new:1", &there]);
    assert_eq!(ran.stderr.lines().filter(|line| line.ends_with(": Pushed")).count(), 2, "{ran:?}");
    assert_eq!(
        skopeo_digest(&place, &format!("docker://{there}")),
        place.field("new:1", "{{.Digest}}")
    );
    let again = place.usnea(&["push", PLAIN, "new:1", &there]);
    assert_eq!(again.works(), ran.works());
    assert_eq!(again.stderr.matches("Layer already exists").count(), 2, "{again:?}");
}

/// The image `localhost/new:1`: base:1 and what is in `upper` over it.
fn commit(place: &Stocked, upper: &Path, owners: &Owners) {
    let store = Store::open(&place.place.store()).expect("a store");
    let name = "localhost/base:1".parse().expect("a name");
    let images = store.images().expect("images");
    let base = images.named(&name).expect("the base");
    let bytes = store.read_blob(&base.manifest).expect("a manifest");
    let ManifestDocument::Manifest(manifest) =
        ManifestDocument::parse(&bytes, None).expect("a manifest")
    else {
        panic!()
    };
    let config = store.read_blob(&base.config).expect("a config");
    let writer = LayerWriter::new(&store.tmp()).expect("a layer");
    let layer = diff::layer_tar(&upper.to_owned().into(), owners, writer)
        .expect("a tar")
        .finish()
        .expect("a layer");
    let details = ImageDetails {
        platform: Platform::host(),
        created: "2024-05-01T00:00:00Z".parse().expect("a time"),
        author: None,
        message: Some("by hand".into()),
        created_by: None,
        changes: Vec::new(),
    };
    let parent = ParentImage { manifest: &manifest, config: &config, store: &store };
    let source =
        compose::commit(Some(parent), Some(layer), &details, "new".into()).expect("an image");
    let pull = ImagePull {
        action: "pull",
        store: &store,
        platform: &Platform::host(),
        names: &["localhost/new:1".parse().expect("a name")],
        owners,
        limits: &LayerLimits::default(),
        parallel: 1,
        progress: &Silent,
        approve: &|_| Ok(()),
    };
    pull.run(&source).expect("an image");
}

/// ssh(1) whose other machines are folders here: their stores are `NAME/store`, and the words are told in `NAME.words`.
const SSH: &str = r#"#!/bin/sh
name=
while [ $# -gt 1 ]; do case $1 in --) name=${2#*@}; words="$words$2 "; shift 2;; *) words="$words$1 "; shift;; esac; done
echo "$words$1" >> "$HERE/$name.words"
[ "$name" != down ] || { echo "no route to $name" >&2; exit 255; }
USNEA_ROOT=$HERE/$name exec sh -c "$1"
"#;

#[test]
fn an_image_is_copied_to_from_and_between_other_machines() {
    use std::os::unix::fs::PermissionsExt;
    let place = Stocked::new();
    let id = place.import("q.io/one:1", FILES, &["-c", "CMD /bin/tool"]);
    let ssh = place.place.path("bin/ssh");
    std::fs::create_dir_all(ssh.parent().expect("a folder")).expect("a folder");
    std::fs::write(&ssh, SSH).expect("a script");
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::os::unix::fs::symlink(crate::support::binary(), place.place.path("bin/usnea"))
        .expect("a link");
    let here = "export HERE=$PWD PATH=$PWD/bin:$PATH;";
    let scp = |words: &str| place.shell(&format!("{here} usnea image scp {words}"));
    let names = |store: &str| {
        let words = ["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"];
        place.usnea_in(store, &words).works().to_owned()
    };
    let there = format!("q.io/one:1 {id}");
    assert_eq!(scp("q.io/one:1 me@east:2222::").works(), "Loaded image: q.io/one:1");
    assert_eq!(names("east"), there);
    assert_eq!(place.place.read("east.words"), "-p 2222 me@east 'usnea' load\n");
    assert_eq!(scp("--quiet east::q.io/one:1 west::").works(), "");
    assert_eq!(names("west"), there);
    place.usnea(&["rmi", "q.io/one:1"]).works();
    assert!(scp("west::q.io/one:1").works().ends_with("Loaded image: q.io/one:1"));
    assert_eq!(place.field("q.io/one:1", "{{.Id}}"), id);
    // An image in a file, here or there.
    place.usnea(&["save", "--format", "squashfs", "-o", "one.sqsh", "q.io/one:1"]).works();
    for (words, store) in [("sqsh:one.sqsh south::", "south"), ("./one.sqsh north::", "north")] {
        assert_eq!(scp(words).works(), "Loaded image: q.io/one:1", "{words}");
        assert!(names(store).starts_with("q.io/one:1 "), "{words}");
    }
    let file = place.place.path("one.sqsh");
    let words = format!("--quiet east::sqsh:{} twin::", file.display());
    assert_eq!(scp(&words).works(), "");
    assert_eq!(names("twin"), names("south"));
    scp("sqsh:missing.sqsh west::").fails_with(125, &["missing.sqsh"]);
    // The other machine's reason, and its name.
    let fails = |words: &str, phrases: &[&str]| {
        let ran = scp(words);
        assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{words}: {ran:?}");
        for phrase in phrases {
            assert!(ran.stderr.contains(phrase), "{words}: '{phrase}' is not in {ran:?}");
        }
    };
    fails("west::nothing:1", &["no image 'nothing:1'", "host west"]);
    fails("q.io/one:1 down::", &["no route to down", "host down", "255"]);
    fails("down::q.io/one:1 west::", &["no route to down", "host down"]);
    scp("nothing:1 west::").fails_with(125, &["no image 'nothing:1'"]);
    fails("--program no-such-program q.io/one:1 west::", &["host west", "127"]);
    scp("q.io/one:1").fails_with(125, &["both ends are this machine"]);
    scp("q.io/one:1 west").fails_with(125, &["'west' is no machine"]);
    scp("-- q.io/one:1 -oProxyCommand=x::").fails_with(125, &["no host such as"]);
    // No shell reads a name.
    fails("\"west::a';touch bad;'\"", &["host west"]);
    assert!(!place.place.path("bad").exists());
    place.place.nothing_is_left();
}
