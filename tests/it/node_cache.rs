//! The node cache: pulled images on a disk of the machine, and the removal of those that were not used for longest.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::composed::{Composed, bytes, layer, small_root};
use crate::fault_registry::FaultRegistry;
use crate::kills::{kill_after, kill_at_call};
use crate::layout_registry::{self, blobs_asked};
use crate::spread::{Cluster, all_work, end, noise};
use crate::stocked::Stocked;
use crate::support::{Ran, Started, has_subids, need, text};

/// Bytes of the file that each image has alone.
const LENGTH: usize = 300_000;

/// A home with settings for a node cache, and a registry with images of one common layer and one of their own.
struct Node {
    place: Stocked,
    registry: FaultRegistry,
}

impl Node {
    /// The registry has so many images.
    fn new(images: usize) -> Self {
        let place = Stocked::new();
        let root = small_root(&place);
        for number in 0..images {
            let own = layer(&[bytes("own", &noise(&number.to_string(), LENGTH))]);
            let config = serde_json::json!({"Env": [format!("N={number}")]});
            Composed::of(&[root.clone(), own]).config(config).write(&place, &format!("l{number}"));
        }
        let registry = layout_registry::serve(&place, |_, pieces| pieces);
        let node = Self { place, registry };
        node.settings("");
        node
    }

    /// Settings with the cache, and more of the section.
    fn settings(&self, more: &str) {
        self.cache_at(text(&self.place.place.path("local/%%%U")), more);
    }

    fn cache_at(&self, folder: &str, more: &str) {
        let toml = format!("[images]\nnode-cache = '{folder}'\n{more}\n");
        self.place.place.write("home/.config/usnea/usnea.toml", toml);
    }

    fn cache(&self) -> PathBuf {
        let number = rustix::process::geteuid().as_raw();
        self.place.place.path(&format!("local/%{number}"))
    }

    fn image(&self, number: usize) -> String {
        format!("{}/l{number}:1", self.registry.host)
    }

    fn usnea(&self, words: &[&str]) -> Ran {
        self.place.usnea(words)
    }

    fn pull(&self, number: usize) -> Ran {
        self.usnea(&["pull", "-q", "--tls-verify=false", &self.image(number)])
    }

    fn run(&self, number: usize, options: &[&str]) -> Ran {
        let image = self.image(number);
        let words = ["run", "--rm", "--network", "none", "--tls-verify=false"];
        self.usnea(&[&words[..], options, &[&image, "sh", "-c", "echo $N"]].concat())
    }

    /// Numbers of the images in all stores.
    fn images(&self) -> Vec<usize> {
        let ran = self.usnea(&["images", "--format", "{{.Repository}}"]);
        let number = |line: &str| line.rsplit_once("/l")?.1.parse().ok();
        let mut all: Vec<usize> = ran.works().lines().filter_map(number).collect();
        all.sort_unstable();
        all
    }

    fn info(&self) -> Value {
        let info = self.usnea(&["info", "--format", "json"]);
        serde_json::from_str::<Value>(info.works()).expect("JSON")["store"]["nodeCache"].clone()
    }

    /// Says of an image that it was used so many minutes ago.
    fn used_before(&self, number: usize, minutes: u64) {
        let id = self.place.field(&self.image(number), "{{.Digest}}");
        let blob = self.cache().join("blobs/sha256").join(id.trim_start_matches("sha256:"));
        let file = fs::File::options().write(true).open(blob).expect("the manifest");
        file.set_modified(SystemTime::now() - Duration::from_secs(60 * minutes)).expect("a time");
    }

    fn is_sound(&self) {
        let check = self.usnea(&["check"]);
        assert_eq!((check.works(), check.stderr.as_str()), ("", ""));
    }
}

fn count(folder: PathBuf) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_pulled_image_is_in_the_node_cache_and_not_in_the_home() {
    let node = Node::new(1);
    node.pull(0).works();
    let home = node.place.place.store();
    assert_eq!((count(home.join("layers")), count(home.join("blobs/sha256"))), (0, 0));
    let cache = node.cache();
    assert_eq!((count(cache.join("layers")), count(cache.join("blobs/sha256"))), (2, 4));
    let mode = std::os::unix::fs::MetadataExt::mode(&cache.metadata().expect("the cache"));
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(node.run(0, &["--pull", "never"]).works(), "0");
    assert_eq!(node.images(), [0]);
    let info = node.info();
    assert_eq!((&info["path"], &info["number"]), (&text(&cache).into(), &1.into()), "{info}");
    assert!(info["bytes"].as_u64() > Some(2 * LENGTH as u64), "{info}");
    assert!(info["limit"].as_u64() > info["bytes"].as_u64(), "{info}");
    let df = node.usnea(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(df.works().contains("Images 1"), "{}", df.stdout);
    node.is_sound();
    node.usnea(&["rmi", &node.image(0)]).works();
    assert_eq!((count(cache.join("layers")), count(cache.join("blobs/sha256"))), (0, 0));
    node.usnea(&["image", "exists", &node.image(0)]).exits(1);
}

#[test]
fn the_image_that_was_not_used_for_longest_goes_first() {
    let node = Node::new(4);
    node.pull(0).works();
    node.pull(1).works();
    let bytes = node.info()["bytes"].as_u64().expect("a number");
    node.settings(&format!("node-cache-bytes = {bytes}"));
    node.used_before(0, 50);
    node.used_before(1, 40);
    node.run(0, &["--pull", "never"]).works();
    assert_eq!(node.run(2, &[]).works(), "2");
    assert_eq!(node.images(), [0, 2]);
    node.is_sound();
    // No trace of it is left, and it comes again.
    assert_eq!(count(node.cache().join("layers")), 3);
    node.used_before(2, 30);
    assert_eq!(node.run(1, &[]).works(), "1");
    assert_eq!(node.images(), [0, 1]);
    assert_eq!(node.info()["bytes"].as_u64(), Some(bytes));
    let events =
        node.usnea(&["events", "--since", "1h", "--until", "0s", "--filter", "event=delete"]);
    assert_eq!(events.works().lines().count(), 2, "{}", events.stdout);
}

#[test]
fn images_of_kept_and_of_running_containers_stay() {
    let node = Node::new(5);
    node.settings("node-cache-bytes = 1");
    let create = |number, verb: &[&str], name| {
        let image = node.image(number);
        let flags = ["--network", "none", "--tls-verify=false", "--name", name, &image];
        node.usnea(&[verb, &flags, &["sh", "-c", "echo $N; exec sleep 1000"]].concat()).works();
    };
    create(0, &["create"], "kept");
    create(1, &["run", "-d"], "up");
    node.pull(2).works();
    assert_eq!(node.images(), [0, 1, 2]);
    node.pull(3).works();
    assert_eq!(node.images(), [0, 1, 3]);
    node.usnea(&["image", "prune", "-af"]).works();
    assert_eq!(node.images(), [0, 1]);
    node.usnea(&["rmi", &node.image(0)]).fails_with(125, &["in use by container"]);
    node.usnea(&["start", "kept"]).works();
    node.usnea(&["rm", "-f", "-t0", "up", "kept"]).works();
    node.pull(4).works();
    assert_eq!(node.images(), [4]);
    node.is_sound();
}

#[test]
fn an_image_with_a_name_of_this_machine_stays() {
    let node = Node::new(3);
    node.settings("node-cache-bytes = 1");
    node.pull(0).works();
    node.usnea(&["tag", &node.image(0), "mine"]).works();
    node.pull(1).works();
    assert_eq!(node.images(), [0, 1]);
    node.usnea(&["untag", "mine", "localhost/mine"]).works();
    node.pull(2).works();
    assert_eq!(node.images(), [2]);
}

#[test]
fn a_name_belongs_to_the_image_that_got_it_last_in_whichever_store() {
    let node = Node::new(2);
    node.pull(0).works();
    node.place.import("made", &[("made", "here")], &[]);
    node.usnea(&["tag", "made", &node.image(0)]).works();
    let listed = || {
        let script =
            format!("usnea export {} | tar -t | grep -xE '(./)?(made|own)'", node.image(0));
        node.place.shell(&script).works().trim_start_matches("./").to_owned()
    };
    assert_eq!(listed(), "made");
    // The user's own store has the name: the registry's image takes it there, not in the cache as well.
    node.pull(0).works();
    assert_eq!(listed(), "own");
    let own = fs::read_to_string(node.place.place.store().join("images.json")).expect("a list");
    assert!(own.contains(&node.image(0)), "{own}");
    node.pull(1).works();
    assert!(!node.place.place.read("store/images.json").contains("/l1"));
    node.usnea(&["rmi", "-a", "-f"]).works();
    assert_eq!(node.usnea(&["images", "-q"]).works(), "");
}

/// Another node has another disk at the same path.
#[test]
fn another_node_pulls_for_itself_and_a_container_names_the_image_that_it_misses() {
    let node = Node::new(1);
    let image = node.image(0);
    let flags = ["--network", "none", "--tls-verify=false", "--name", "kept", &image];
    node.usnea(&[&["create"], &flags[..], &["sh", "-c", "echo $N"]].concat()).works();
    let (here, away) = (node.place.place.path("local"), node.place.place.path("first"));
    fs::rename(&here, &away).expect("another disk");
    assert!(node.images().is_empty());
    node.run(0, &["--pull", "never"]).fails_with(125, &["no image"]);
    let ran = node.usnea(&["start", "-a", "kept"]);
    ran.fails_with(125, &[&image, "was removed"]);
    let hint =
        ran.stderr.split('\'').find(|words| words.starts_with("usnea pull")).expect("a hint");
    let name = hint.split(' ').next_back().expect("a name");
    node.usnea(&["pull", "-q", "--tls-verify=false", name]).works();
    assert_eq!(node.usnea(&["start", "-a", "kept"]).works(), "0");
    node.usnea(&["system", "prune", "-af"]).works();
    fs::rename(&here, node.place.place.path("second")).expect("another disk");
    fs::rename(&away, &here).expect("the first disk");
    assert_eq!(node.images(), [0]);
    assert_eq!(node.run(0, &["--pull", "never"]).works(), "0");
}

#[test]
fn a_folder_that_others_control_is_refused_with_the_way_out() {
    let node = Node::new(1);
    let open = node.place.place.folder("open");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&open, mode).expect("a mode");
    };
    mode(0o777);
    let below = open.join("cache");
    let cases =
        [("/etc", "belongs to user"), ("/bin", "belongs to user"), (text(&below), "may write")];
    for (folder, cause) in cases {
        node.cache_at(folder, "");
        let ran = node.usnea(&["images"]);
        ran.fails_with(125, &["the node cache", folder, cause]);
        assert!(ran.stderr.contains("node-cache = \"\""), "{}", ran.stderr);
        // What needs no image goes on.
        node.usnea(&["ps"]).works();
    }
    mode(0o1777);
    node.pull(0).works();
    assert_eq!(count(below.join("layers")), 2);
    let link = node.place.place.path("link");
    std::os::unix::fs::symlink(&below, &link).expect("a link");
    node.cache_at(text(&link), "");
    assert_eq!(node.run(0, &["--pull", "never"]).works(), "0");
    node.cache_at("", "");
    assert!(node.images().is_empty());
}

#[test]
fn without_the_disk_images_are_kept_in_the_home() {
    let node = Node::new(1);
    let file = node.place.place.write("file", "");
    for folder in ["/proc/none/cache", text(&file)] {
        node.cache_at(folder, "");
        let ran = node.pull(0);
        ran.works();
        assert!(ran.stderr.contains("images are kept without it"), "{}", ran.stderr);
        assert_eq!(node.images(), [0]);
        assert_eq!(count(node.place.place.store().join("layers")), 2);
        node.usnea(&["rmi", &node.image(0)]).works();
    }
    node.cache_at("relative", "");
    node.usnea(&["images"]).fails_with(125, &["usnea.toml", "node-cache", "absolute"]);
}

#[test]
fn a_full_disk_is_emptied_first_and_then_left() {
    let node = Node::new(3);
    let mount = node.place.place.folder("small");
    node.cache_at(&format!("{}/cache", text(&mount)), "node-cache-bytes = 100000000");
    // Room for one image and a half.
    let script = format!(
        "set -eu; M='{}'; usnea() {{ '{}' \"$@\"; }}
         mount -t tmpfs -o size=5500k none \"$M\"
         pull() {{ usnea pull -q --tls-verify=false {}/$1:1 > out 2>> said; }}
         show() {{ usnea images --format '{{{{.Repository}}}}' | sed 's,.*/,,' | sort | tr '\\n' ' '; }}
         pull l0; dd if=/dev/zero of=$M/fill bs=100k count=100 2> out || :
         truncate -s -100k $M/fill; pull l1; show; ls $M/cache/blobs/sha256 | wc -l
         usnea check && echo whole",
        text(&mount),
        text(&crate::support::binary()),
        node.registry.host,
    );
    let words = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
    let ran = node.place.other("unshare", &words);
    let said = node.place.place.read("said");
    assert_eq!(ran.works(), "l1 4\nwhole", "{said}");
}

/// Only a disk of its own gets copies: here a tmpfs.
#[test]
fn an_image_of_another_store_is_copied_for_disposable_containers() {
    let node = Node::new(2);
    node.cache_at("", "");
    node.pull(0).works();
    node.place.import("made", &[("made", "here")], &[]);
    let shared = "stores = ['shared']".replace("shared", text(&node.place.place.path("shared")));
    node.place.place.folder("shared");
    let image = node.image(1);
    node.place.usnea_in("shared", &["pull", "-q", "--tls-verify=false", &image]).works();
    let mount = node.place.place.folder("small");
    node.cache_at(&format!("{}/cache", text(&mount)), &shared);
    let asked = blobs_asked(&node.registry);
    let script = format!(
        "set -eu; M='{}'; usnea() {{ '{}' \"$@\"; }}
         mount -t tmpfs -o size=40m none \"$M\"
         try() {{ usnea run --rm --network none {}/$1:1 sh -c 'echo $N' 2>> said; }}
         count() {{ ls $M/cache/layers | wc -l; }}
         show() {{ usnea images --format '{{{{.Repository}}}}' | sed 's,.*/,,' | sort | tr '\\n' ' '; }}
         try l0; count; try l0; count; try l1; count; show; usnea check && echo whole
         usnea create --network none --name kept made /nothing > out; count
         usnea rmi -f {}/l0:1 > out; count; show; usnea rm kept > out",
        text(&mount),
        text(&crate::support::binary()),
        node.registry.host,
        node.registry.host,
    );
    let maps: &[&str] = if has_subids() { &["--map-auto"] } else { &[] };
    let words = [&["--user", "--map-root-user"], maps, &["--mount", "sh", "-c", &script]].concat();
    let ran = node.place.other("unshare", &words);
    let said = node.place.place.read("said");
    assert_eq!(ran.works(), "0\n2\n0\n2\n1\n3\nl0 l1 made whole\n3\n2\nl1 made", "{said}");
    assert!(!said.contains("usnea:"), "{said}");
    assert_eq!(blobs_asked(&node.registry), asked);
}

#[test]
fn many_starts_at_once_pull_each_blob_once_and_all_work() {
    let node = Node::new(2);
    node.settings("node-cache-bytes = 1");
    node.pull(1).works();
    node.used_before(1, 10);
    let image = node.image(0);
    let flags = ["run", "--rm", "--network", "none", "--tls-verify=false", &image];
    let words = [&flags[..], &["sh", "-c", "echo $N"]].concat();
    let prepared = || {
        let mut command = node.place.place.command(&words);
        node.place.at_home(&mut command);
        command
    };
    let mut commands: Vec<_> = (0..16).map(|_| prepared()).collect();
    let all: Vec<Started> = commands.iter_mut().map(|command| Started::new(command, "")).collect();
    for ran in all.into_iter().map(Started::end) {
        assert_eq!(ran.works(), "0");
    }
    let asked = blobs_asked(&node.registry);
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
    assert_eq!(node.images(), [0]);
    node.is_sound();
}

#[test]
fn ranks_spread_an_image_into_the_caches_of_their_nodes() {
    let cluster = Cluster::new(3);
    let path = |name: &str, rank: usize| cluster.place.place.path(&format!("{name}{rank}"));
    let prepared = |rank: usize| {
        let toml = format!("[images]\nnode-cache = '{}'\n", text(&path("local", rank)));
        cluster.place.place.write(&format!("config{rank}/usnea/usnea.toml"), toml);
        let mut command = cluster.rank(rank, &[]);
        let policy = cluster.place.place.read("home/.config/containers/policy.json");
        cluster.place.place.write(&format!("config{rank}/containers/policy.json"), policy);
        command.env("XDG_CONFIG_HOME", path("config", rank));
        command
    };
    let mut commands: Vec<_> = (0..3).map(prepared).collect();
    let all = commands.iter_mut().map(|command| Started::new(command, "")).collect();
    all_work(&end(all));
    cluster.is_pulled_once();
    for rank in 0..3 {
        let layers = |name| count(path(name, rank).join("layers"));
        assert_eq!((layers("local"), layers("store")), (3, 0), "{rank}");
    }
}

#[test]
fn a_kill_at_any_moment_of_a_removal_leaves_a_sound_cache() {
    let node = Node::new(3);
    node.settings("node-cache-bytes = 1");
    node.pull(0).works();
    for (step, number) in [1, 2, 1, 2, 1, 2, 1, 2].into_iter().enumerate() {
        let image = node.image(number);
        let words = ["pull", "-q", "--tls-verify=false", &image];
        kill_after(&node.place, &words, Signal::KILL, Duration::from_millis(30 * step as u64));
        node.is_sound();
        assert_eq!(node.run(number, &[]).works(), number.to_string());
        node.is_sound();
        // A pull that was killed after it recorded the image has removed nothing: the next one does.
        node.pull(number).works();
        assert_eq!(node.images(), [number]);
    }
}

#[test]
fn a_kill_at_a_removal_or_a_rename_leaves_a_sound_cache() {
    if !need("strace") {
        return;
    }
    let node = Node::new(3);
    // The processes under strace may be root of a namespace: the number in the path would be another one.
    node.cache_at(text(&node.place.place.path("local")), "node-cache-bytes = 1");
    node.pull(0).works();
    let mut killed = 0;
    for (calls, when) in [("rename,renameat,renameat2", 6), ("unlink,unlinkat,rmdir", 4)] {
        for at in 1..=when {
            let image = node.image(1 + at as usize % 2);
            let words = ["pull", "-q", "--tls-verify=false", &image];
            killed += u32::from(kill_at_call(&node.place, &words, calls, at));
            node.is_sound();
            node.pull(0).works();
            node.is_sound();
            assert_eq!(node.images(), [0], "{calls} {at}");
            assert_eq!(node.run(0, &["--pull", "never"]).works(), "0", "{calls} {at}");
        }
    }
    assert!(killed > 0, "no process was killed");
}

#[test]
fn a_reset_empties_the_cache_but_for_containers_of_another_store() {
    let node = Node::new(2);
    node.pull(0).works();
    node.pull(1).works();
    let image = node.image(1);
    let words = ["create", "--network", "none", "--name", "kept", &image, "sh", "-c", "echo $N"];
    node.place.usnea_in("other", &words).works();
    node.usnea(&["system", "reset", "-f"]).works();
    assert_eq!(node.images(), [1]);
    assert_eq!(node.place.usnea_in("other", &["start", "-a", "kept"]).works(), "1");
    node.place.usnea_in("other", &["system", "reset", "-f"]).works();
    assert!(node.images().is_empty());
}
