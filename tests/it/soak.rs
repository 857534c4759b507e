//! Many lives one after the other, and many at once: nothing of them stays. USNEA_SOAK_CYCLES says how many (25; for a
//! night 10000).

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Place, Started};

fn cycles() -> usize {
    let given = std::env::var("USNEA_SOAK_CYCLES").ok();
    given.map_or(25, |text| text.parse().expect("USNEA_SOAK_CYCLES is a number"))
}

/// Every file and folder of the store, but for the record of events, which grows to its limit.
fn files(store: &Path) -> BTreeSet<String> {
    let entries = walkdir::WalkDir::new(store).into_iter().filter_map(Result::ok);
    let names = entries.map(|entry| entry.path().display().to_string());
    names.filter(|name| !name.contains("/events")).collect()
}

fn life(place: &Place, name: &str) {
    let script = "echo up; trap 'exit 3' TERM; sleep 100 & wait";
    place.usnea(&place.kept(&["create", "-v", "/scratch", "--name", name], script)).works();
    place.usnea(&["start", name]).works();
    place.usnea(&["exec", name, "true"]).works();
    place.usnea(&["stop", name]).works();
    place.usnea(&["rm", "--volumes", name]).works();
}

#[test]
fn many_lives_leave_nothing() {
    let place = Place::new();
    life(&place, "first");
    let before = files(&place.store());
    for _ in 0..cycles() {
        life(&place, "again");
    }
    place.nothing_is_left();
    assert_eq!(files(&place.store()), before);
}

#[test]
fn many_starts_at_once_all_work_and_leave_nothing() {
    let place = Place::new();
    life(&place, "first");
    let before = files(&place.store());
    for _ in 0..cycles().div_ceil(25) {
        let words = place.kept(&["run", "-d"], "exec sleep 100");
        let started: Vec<Started> =
            (0..25).map(|_| Started::new(&mut place.command(&words), "")).collect();
        for one in started {
            one.end().works();
        }
        assert_eq!(place.usnea(&["ps", "-q"]).works().lines().count(), 25);
        place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    }
    place.nothing_is_left();
    assert_eq!(files(&place.store()), before);
}

#[test]
fn of_two_containers_with_one_name_only_one_is_made() {
    let place = Place::new();
    for _ in 0..5 {
        let words = place.kept(&["run", "-d", "--name", "wanted"], "exec sleep 100");
        let started = [0; 4].map(|_| Started::new(&mut place.command(&words), ""));
        let ended: Vec<i32> = started.into_iter().map(|one| one.end().status).collect();
        assert_eq!(ended.iter().filter(|status| **status == 0).count(), 1, "{ended:?}");
        assert_eq!(place.usnea(&["ps", "-aq"]).works().lines().count(), 1);
        place.usnea(&["rm", "--force", "--time", "0", "wanted"]).works();
    }
    place.nothing_is_left();
}
