//! Many pulls at once: each blob comes once, all end well, and who waits for another is told.

use std::process::Command;
use std::time::{Duration, Instant};

use usnea::digest::Digest;

use crate::composed::{Composed, bytes, layer, publish, small_root};
use crate::fault_registry::{FaultRegistry, Piece};
use crate::layout_registry::{self, blobs_asked};
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{Ran, Started, need, within};

const PLAIN: &str = "--tls-verify=false";
/// How many pulls.
const MANY: usize = 20;

/// Pulls all of these at once.
fn pull_all(place: &Stocked, images: &[String]) -> Vec<Ran> {
    // The files of their home are written before the first reads them.
    let prepared = |image: &String| {
        let mut command = place.place.command(&["pull", PLAIN, "-q", image]);
        place.at_home(&mut command);
        command
    };
    let mut commands: Vec<Command> = images.iter().map(prepared).collect();
    let all: Vec<Started> = commands.iter_mut().map(|command| Started::new(command, "")).collect();
    all.into_iter().map(Started::end).collect()
}

fn numbered(name: &str) -> Vec<u8> {
    layer(&[bytes(name, name.repeat(100_000).as_bytes())])
}

#[test]
fn many_pulls_of_one_image_fetch_each_blob_once() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let mut layers = vec![small_root(&place)];
    layers.extend((0..5).map(|number| numbered(&format!("f{number}"))));
    Composed::of(&layers).write(&place, "layout");
    let there = format!("{}/a/tool:1", registry.host);
    publish(&place, "layout", &there);
    assert!(registry.blobs_sent().is_empty());
    let all = pull_all(&place, &vec![there.clone(); MANY]);
    let ids: Vec<&str> = all.iter().map(Ran::works).collect();
    assert!(ids.iter().all(|id| id.len() == 64 && *id == ids[0]), "{ids:?}");
    // The config too. A log is written after the answer.
    let is_all = || registry.blobs_sent().len() == layers.len() + 1;
    assert!(within(Duration::from_secs(5), is_all), "{:?}", registry.blobs_sent());
    let sent = registry.blobs_sent();
    assert!(sent.values().all(|count| *count == 1), "{sent:?}");
    assert_eq!(place.usnea(&["check"]).works(), "");
    let ran = place.usnea(&["run", "--rm", &there, "sh", "-c", "cat /f? | wc -c"]);
    assert_eq!(ran.works(), "1000000");
}

#[test]
fn pulls_of_many_images_fetch_shared_layers_once() {
    let place = Stocked::new();
    let shared = [small_root(&place), numbered("shared")];
    let mut blobs = std::collections::BTreeSet::new();
    for number in 0..MANY {
        // Every second one shares its topmost layer with the one before it, but not the config.
        let own = numbered(&format!("own{}", number / 2));
        let layers = [&shared[..], &[own]].concat();
        blobs.extend(layers.iter().map(|layer| Digest::of(layer).hex().to_owned()));
        let config = serde_json::json!({"Env": [format!("N={number}")]});
        Composed::of(&layers).config(config).write(&place, &format!("l{number}"));
    }
    let registry = layout_registry::serve(&place, |_, pieces| pieces);
    let there = |number| format!("{}/l{number}:1", registry.host);
    let all = pull_all(&place, &(0..MANY).map(there).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<&str> = all.iter().map(Ran::works).collect();
    assert_eq!(ids.len(), MANY);
    let asked = blobs_asked(&registry);
    assert_eq!(asked.len(), blobs.len() + MANY, "{asked:?}");
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
    assert!(blobs.iter().all(|hex| asked.contains_key(hex)));
    assert_eq!(place.usnea(&["check"]).works(), "");
    let ran =
        place.usnea(&["run", "--rm", &there(7), "sh", "-c", "cat /shared /own3 | wc -c; echo $N"]);
    assert_eq!(ran.works(), "1000000\n7");
}

/// Who holds a request for `slow` back for so long, the first time.
fn dripping(place: &Stocked, slow: &Digest, pause: Duration) -> FaultRegistry {
    let slow = slow.to_string();
    layout_registry::serve(place, move |request, mut pieces| {
        if request.path.contains(&slow) && request.from().is_none() {
            pieces.insert(2, Piece::Wait(pause));
        }
        pieces
    })
}

#[test]
fn waiting_for_another_pull_is_reported_once() {
    let place = Stocked::new();
    let slow = [numbered("slow"), numbered("slower")];
    Composed::of(&[&[small_root(&place)], &slow[..]].concat()).write(&place, "layout");
    let registry = dripping(&place, &Digest::of(&slow[0]), Duration::from_secs(3));
    let there = format!("{}/layout:1", registry.host);
    // The files of their home are written before the first reads them.
    let pull = |more: &[&str]| {
        let mut command = place.place.command(&[&["pull", PLAIN, &there], more].concat());
        place.at_home(&mut command);
        command
    };
    let (mut first, mut second, mut quiet) = (pull(&[]), pull(&[]), pull(&["-q"]));
    let first = Started::new(&mut first, "");
    let is_asked = || blobs_asked(&registry).contains_key(Digest::of(&slow[0]).hex());
    assert!(within(Duration::from_secs(20), is_asked));
    let (second, quiet) = (Started::new(&mut second, ""), Started::new(&mut quiet, ""));
    let (first, second, quiet) = (first.end(), second.end(), quiet.end());
    assert_eq!((first.works(), quiet.works()), (second.works(), second.works()));
    let word = "waiting for another command";
    assert_eq!(second.stderr.matches(word).count(), 1, "{second:?}");
    assert_eq!(second.stderr.matches("Already exists").count(), 3, "{second:?}");
    assert!(!first.stderr.contains(word) && quiet.stderr.is_empty(), "{first:?}, {quiet:?}");
    assert!(blobs_asked(&registry).values().all(|count| *count == 1));
}

#[test]
fn a_layer_that_an_image_has_twice_is_no_other_commands() {
    let place = Stocked::new();
    let twice = numbered("twice");
    Composed::of(&[twice.clone(), small_root(&place), twice.clone()]).write(&place, "layout");
    let registry = dripping(&place, &Digest::of(&twice), Duration::from_secs(1));
    let there = format!("{}/layout:1", registry.host);
    let began = Instant::now();
    let ran = place.usnea(&["pull", PLAIN, &there]);
    assert_eq!(ran.works().len(), 64);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(!ran.stderr.contains("waiting"), "{ran:?}");
    assert_eq!(blobs_asked(&registry)[Digest::of(&twice).hex()], 1);
}
