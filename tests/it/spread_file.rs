//! `usnea image spread --to`: each rank ends with the same file, of an image or of another file.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::composed::{Composed, bytes, file, layer, small_root};
use crate::spread::{Cluster, LIMIT, all_work, end, free_port, noise};
use crate::stocked::Stocked;
use crate::support::{Ran, Started, finish, within};

/// Commands of ranks with a folder each, `node0` and so on, and no store.
struct Nodes<'a> {
    place: &'a Stocked,
    port: u16,
    ranks: usize,
}

impl<'a> Nodes<'a> {
    fn new(place: &'a Stocked, ranks: usize) -> Self {
        (0..ranks).for_each(|rank| drop(place.place.folder(&format!("node{rank}"))));
        Self { place, port: free_port(), ranks }
    }

    fn command(&self, rank: usize, image: &str, more: &[&str]) -> Command {
        let address = format!("127.0.0.1:{}", self.port);
        let numbers = [self.ranks.to_string(), rank.to_string()];
        let output = format!("node{rank}/x.sqsh");
        let words = ["image", "spread", "-q", "--to", &output, "--address", &address];
        let own = ["--ranks", &numbers[0], "--rank", &numbers[1], image];
        let mut command = self.place.place.command(&[&words[..], more, &own].concat());
        self.place.at_home(&mut command);
        command.env("USNEA_ROOT", self.place.place.path("none")).env_remove("TMPDIR");
        command.env("USNEA_SPREAD_TOKEN", "0123456789abcdef0123456789abcdef");
        command
    }

    fn run(&self, image: &str, more: &[&str]) -> Vec<Ran> {
        let commands: Vec<_> =
            (0..self.ranks).map(|rank| self.command(rank, image, more)).collect();
        end(commands.into_iter().map(|mut command| Started::new(&mut command, "")).collect())
    }

    /// Every rank has the file, and its folder nothing else.
    fn have(&self, original: &str) {
        for rank in 0..self.ranks {
            let path = format!("node{rank}/x.sqsh");
            self.place.other("cmp", &[&path, original]).works();
            let mode = ["-c", "%a", &path, original];
            let modes = self.place.other("stat", &mode).works().to_owned();
            let modes: Vec<&str> = modes.lines().collect();
            assert_eq!(modes[0], modes[1], "{rank}");
            assert_eq!(self.names(rank), ["x.sqsh"]);
        }
        assert!(!self.place.place.path("none").exists());
    }

    fn names(&self, rank: usize) -> Vec<String> {
        let folder = fs::read_dir(self.place.place.path(&format!("node{rank}")));
        let names = folder.expect("a folder").flatten();
        names.map(|entry| entry.file_name().into_string().expect("a name")).collect()
    }
}

#[test]
fn an_image_of_a_registry_is_pulled_once_for_the_files_of_all_ranks() {
    let cluster = Cluster::new(7);
    let (place, image) = (&cluster.place, cluster.image());
    let nodes = Nodes::new(place, 7);
    let ran = nodes.run(&image, &["--tls-verify=false"]);
    let ids: Vec<&str> = ran.iter().map(Ran::works).collect();
    assert!(ran.iter().all(|ran| ran.stderr.is_empty()), "{ran:?}");
    assert!(ids[0].len() == 64 && ids[1..].iter().all(|id| id.is_empty()), "{ids:?}");
    cluster.is_pulled_once();
    // The file is that of a pull.
    let pull = ["pull", "-q", "--tls-verify=false", "--to", "pulled.sqsh", &image];
    place.usnea_in("none2", &pull).works();
    nodes.have("pulled.sqsh");
}

#[test]
fn a_file_is_copied_to_all_ranks_and_one_that_has_the_file_keeps_it() {
    let place = Stocked::new();
    let large = bytes("large", &noise("x", 3 << 20));
    let more = layer(&[file("word", "spread\n"), large]);
    Composed::of(&[small_root(&place), more]).write(&place, "layout");
    place.usnea(&["pull", "-q", "--to", "shared.sqsh", "oci:layout"]).works();
    let nodes = Nodes::new(&place, 5);
    all_work(&nodes.run("sqsh:shared.sqsh", &["--fanout", "1"]));
    nodes.have("shared.sqsh");
    let run = ["run", "--rm", "./node4/x.sqsh", "cat", "/word"];
    assert_eq!(place.usnea(&run).works(), "spread");
    // Again: a rank that has the file keeps it, one with other bytes gets the file anew.
    let inode = |rank: usize| {
        let path = place.place.path(&format!("node{rank}/x.sqsh"));
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"))
    };
    let before = inode(3);
    let mut other = fs::read(place.place.path("shared.sqsh")).expect("a file");
    other[1 << 20] ^= 1;
    fs::write(place.place.path("node2/x.sqsh"), other).expect("a file");
    fs::write(place.place.path("node4/x.sqsh"), "short").expect("a file");
    all_work(&nodes.run("sqsh:shared.sqsh", &["--fanout", "1"]));
    nodes.have("shared.sqsh");
    assert_eq!(inode(3), before);
}

#[test]
fn archives_and_a_single_rank_work_too_and_requests_that_cannot_be_met_leave_nothing() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).write(&place, "layout");
    place.usnea(&["pull", "-q", "--to", "one.sqsh", "oci:layout"]).works();
    let two = Nodes::new(&place, 2);
    all_work(&two.run("oci:layout", &[]));
    two.have("one.sqsh");
    let one = Nodes { ranks: 1, ..Nodes::new(&place, 1) };
    for image in ["oci:layout", "./one.sqsh"] {
        fs::remove_file(place.place.path("node0/x.sqsh")).expect("a file");
        assert_eq!(one.run(image, &[])[0].works().len(), 64);
        one.have("one.sqsh");
    }
    // A file is spread to files alone; what is no image is refused at rank 0, and the others hear it.
    let words = ["image", "spread", "--rank", "0", "--ranks", "1", "./one.sqsh"];
    let mut command = place.place.command(&words);
    place.at_home(&mut command);
    command.env("USNEA_SPREAD_TOKEN", "0123456789abcdef0123456789abcdef");
    let ran = finish(&mut command, "");
    ran.fails_with(125, &["./one.sqsh", "is a file"]);
    ran.hints();
    (0..2).for_each(|rank| drop(fs::remove_file(place.place.path(&format!("node{rank}/x.sqsh")))));
    let ran = two.run("oci:missing", &[]);
    ran[0].fails_with(125, &["missing"]);
    ran[1].fails_with(125, &["rank 0 failed"]);
    // All ranks name the same image.
    let mut root = two.command(0, "./one.sqsh", &["--timeout", "5"]);
    let root = Started::new(&mut root, "");
    let ran = finish(&mut two.command(1, "sqsh:other", &[]), "");
    ran.fails_with(125, &["wants file other"]);
    assert_eq!(root.ends_whole().status, 125);
    assert!(two.names(1).is_empty(), "{:?}", two.names(1));
}

#[test]
fn a_killed_rank_leaves_nothing_and_the_others_have_the_file() {
    let place = Stocked::new();
    let large = layer(&[bytes("large", &noise("y", 8 << 20))]);
    Composed::of(&[large]).write(&place, "layout");
    place.usnea(&["pull", "-q", "--to", "shared.sqsh", "oci:layout"]).works();
    let nodes = Nodes::new(&place, 4);
    let start = |rank: usize| {
        Started::new(&mut nodes.command(rank, "./shared.sqsh", &["--fanout", "1"]), "")
    };
    // Rank 2 waits for rank 0, and is killed meanwhile.
    let killed = start(2);
    let waits = || nodes.names(2).iter().any(|name| name.starts_with("usnea-file-"));
    assert!(within(LIMIT, waits), "{:?}", nodes.names(2));
    killed.signal(Signal::KILL);
    killed.ends_whole();
    assert!(within(LIMIT, || nodes.names(2).is_empty()), "{:?}", nodes.names(2));
    all_work(&end((0..4).rev().map(start).collect()));
    nodes.have("shared.sqsh");
}
