//! An image while a container runs on it: nothing removes what the container needs.

use std::process::Command;

use crate::composed::{Composed, file, layer, small_root};
use crate::stocked::Stocked;
use crate::support::{Started, finish, text};

/// Runs until the file `go/on` is there, then reads what it has not looked at yet.
const SCRIPT: &str = "echo ready; until test -e /go/on; do sleep 0.02; done; cat /late";

/// A place with the image `localhost/l`, loaded from the layout `l`.
fn with_image() -> Stocked {
    let place = Stocked::new();
    let layers = [small_root(&place), layer(&[file("late", "still here\n")])];
    Composed::of(&layers).write(&place, "l");
    place.place.folder("go");
    load(&place);
    place
}

fn load(place: &Stocked) {
    place.usnea(&["pull", "-q", "oci:l"]).works();
}

fn start(place: &Stocked) -> Started {
    let volume = format!("{}:/go", text(&place.place.path("go")));
    let words = ["run", "--rm", "-v", &volume, "localhost/l", "sh", "-c", SCRIPT];
    let mut command = place.place.command(&words);
    place.at_home(&mut command);
    let mut started = Started::new(&mut command, "");
    started.wait_for("ready");
    started
}

fn ends_well(place: &Stocked, container: Started) {
    place.place.write("go/on", "");
    assert_eq!(container.end().works(), "still here");
    std::fs::remove_file(place.place.path("go/on")).unwrap();
}

fn layers(place: &Stocked) -> usize {
    std::fs::read_dir(place.place.path("store/layers")).unwrap().count()
}

#[test]
fn an_image_that_a_container_runs_on_is_not_removed() {
    let place = with_image();
    let container = start(&place);
    let id = place.field("localhost/l", "{{.Id}}");
    for words in [&["rmi", "localhost/l"][..], &["rmi", "-f", "localhost/l"], &["rmi", "-f", &id]] {
        place.usnea(words).fails_with(125, &["localhost/l", "in use by a running container"]);
        place.usnea(words).hints();
    }
    // One of two names goes all the same.
    place.usnea(&["tag", "localhost/l", "other"]).works();
    place.usnea(&["rmi", "other"]).works();
    ends_well(&place, container);
    place.usnea(&["rmi", "localhost/l"]).works();
    assert_eq!((place.usnea(&["images", "-aq"]).works(), layers(&place)), ("", 0));
}

#[test]
fn pruning_keeps_what_a_container_runs_on() {
    let place = with_image();
    place.import("localhost/idle:1", &[("f", "x")], &[]);
    let container = start(&place);
    // Without a name it is dangling, and in use.
    place.usnea(&["untag", "localhost/l"]).works();
    for words in
        [&["image", "prune", "-f"][..], &["image", "prune", "-af"], &["system", "prune", "-af"]]
    {
        let ran = place.usnea(words);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(place.usnea(&["images", "-aq"]).works().lines().count(), 1);
    assert_eq!(layers(&place), 2);
    // Nor where nothing is known of it any more.
    for list in ["images.json", "images.json.copy"] {
        place.place.write(&format!("store/{list}"), r#"{"version": 1, "images": []}"#);
    }
    place.usnea(&["system", "prune", "-af"]).works();
    assert_eq!(layers(&place), 2);
    ends_well(&place, container);
    place.usnea(&["system", "prune", "-af"]).works();
    assert_eq!(layers(&place), 0);
    assert_eq!(place.usnea(&["check"]).works(), "");
}

#[test]
fn a_run_that_starts_while_all_is_pruned_works() {
    let place = with_image();
    for round in 0..12 {
        // From an archive it can always be had; by its name alone it may be gone.
        let image = if round % 2 == 0 { "oci:l" } else { "localhost/l" };
        load(&place);
        // The files of their home are written before the first reads them.
        let prepared = |words: &[&str]| {
            let mut command: Command = place.place.command(words);
            place.at_home(&mut command);
            command
        };
        let prune = || prepared(&["system", "prune", "-af"]);
        let mut commands =
            [prune(), prepared(&["run", "--rm", "-q", image, "cat", "/late"]), prune()];
        let [prunes, runs, again] = commands.each_mut().map(|command| Started::new(command, ""));
        let (ran, _) = (runs.end(), (prunes.end().works(), again.end().works()));
        match ran.status {
            0 => assert_eq!(ran.stdout, "still here\n"),
            _ if image.starts_with("oci:") => panic!("{ran:?}"),
            _ => ran.fails_with(125, &["localhost/l"]),
        }
        assert_eq!(place.usnea(&["check"]).works(), "");
    }
    let mut command = place.place.command(&["run", "--rm", "-q", "oci:l", "cat", "/late"]);
    place.at_home(&mut command);
    assert_eq!(finish(&mut command, "").works(), "still here");
}
