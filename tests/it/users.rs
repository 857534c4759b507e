//! Who the command is: maps of IDs, `-u`, groups. The first round of the tests has subordinate IDs, the second none;
//! a test about one of the two says so.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::{Place, need_no_subids, need_subids, need_that, text};

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn own_gid() -> u32 {
    rustix::process::getgid().as_raw()
}

#[test]
fn subordinate_ids_follow_root() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = place.run(
        &[],
        "awk '{ sum += $3 } END { print sum }' /proc/self/uid_map; cat /proc/self/setgroups",
    );
    let (count, setgroups) = ran.works().split_once('\n').expect("two lines");
    assert!(count.parse::<u32>().is_ok_and(|count| count > 1000), "{ran:?}");
    assert_eq!(setgroups, "allow");
    place
        .run(&[], "touch /tmp/x && chown 33:33 /tmp/x && test $(stat -c %u:%g /tmp/x) = 33:33")
        .works();
}

#[test]
fn without_subordinate_ids_root_is_the_only_one() {
    if !need_no_subids() {
        return;
    }
    let place = Place::new();
    let ran = place.run(
        &[],
        "awk '{ print $1, $3 }' /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups",
    );
    // CVE-2018-7169: with a map that nobody privileged wrote, dropping groups could open what they were kept out of.
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["0 1", "0 1", "deny"]);
}

#[test]
fn a_user_is_a_number_or_a_name_of_the_root_s_passwd() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let who = "echo $(id -u):$(id -g):$HOME";
    for (user, expected) in [
        ("1000", "1000:1001:/tmp"),
        ("worker", "1000:1001:/tmp"),
        ("worker:root", "1000:0:/tmp"),
        ("1000:7", "1000:7:/tmp"),
        ("0:1002", "0:1002:/root"),
        ("500", "500:0:/"),
    ] {
        assert_eq!(place.run(&["-u", user], who).works(), expected, "-u {user}");
    }
}

#[test]
fn a_user_gets_the_groups_of_the_root_s_group_file() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let groups = |options: &[&str]| -> Vec<u32> {
        let ran = place.run(options, "id -G");
        let mut groups: Vec<u32> =
            ran.works().split(' ').map(|id| id.parse().expect("a number")).collect();
        groups.sort_unstable();
        groups
    };
    assert_eq!(groups(&["-u", "worker"]), [1001, 1002]);
    assert_eq!(groups(&["-u", "worker", "--group-add", "5"]), [5, 1001, 1002]);
    assert_eq!(groups(&["--group-add", "extra"]), [0, 1002]);
}

#[test]
fn a_user_other_than_root_has_no_capabilities() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = place.run(&["-u", "1000"], "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status");
    assert!(ran.works().lines().all(|line| line.ends_with("\t0000000000000000")), "{ran:?}");
    let ran = place.run(&["-u", "1000"], "touch /etc/x");
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
}

#[test]
fn root_is_the_only_user_of_a_map_of_one() {
    if !need_no_subids() {
        return;
    }
    let place = Place::new();
    place.usnea(&place.arguments(&["-u", "1"], &["id"])).fails_with(125, &["1"]);
    assert_eq!(place.run(&["-u", "root"], "id -u").works(), "0");
}

#[test]
fn keep_id_keeps_the_caller_s_ids() {
    let place = Place::new();
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let ran = place.run(
        &["--userns", "keep-id", "-v", &volume],
        "id -u; id -g; touch /data/x; stat -c %u /data/x",
    );
    let (uid, gid) = (own_uid().to_string(), own_gid().to_string());
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), [&uid, &gid, &uid]);
    assert_eq!(data.join("x").metadata().expect("the file").uid(), own_uid());
}

#[test]
fn keep_id_takes_other_ids_by_number() {
    let place = Place::new();
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let options = ["--userns", "keep-id:uid=1000,gid=1001", "-v", &volume];
    let ran = place.run(&options, "id -u; id -g; touch /data/x");
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["1000", "1001"]);
    assert_eq!(data.join("x").metadata().expect("the file").uid(), own_uid());
}

#[test]
fn nomap_leaves_the_caller_out() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let ran = place.run(&["--userns", "nomap", "-v", &volume], "id -u; stat -c %u /data");
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["0", "65534"]);
}

#[test]
fn a_map_of_one_s_own_is_taken_as_it_is() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let options = ["--uidmap", "0:1:10", "--uidmap", "10:0:1", "--gidmap", "0:0:20"];
    let script =
        "awk '{ print $1, $3 }' /proc/self/uid_map; awk '{ print $1, $3 }' /proc/self/gid_map";
    let ran = place.run(&options, script);
    let expected = ["0 10", "10 1"];
    assert_eq!(ran.works().lines().take(2).collect::<Vec<_>>(), expected);
    let groups: u32 = ran
        .stdout
        .lines()
        .skip(2)
        .map(|line| line.split(' ').nth(1).map_or(0, |n| n.parse().unwrap_or(0)))
        .sum();
    assert_eq!(groups, 20);
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let options = [&options[..], &["-v", &volume]].concat();
    assert_eq!(place.run(&options, "stat -c %u /data").works(), "10");
}

/// A file that only a supplementary group of the caller may read: made by `tests/run`, which has the power to.
fn group_file() -> Option<String> {
    let file = std::env::var("USNEA_TEST_GROUP_FILE").ok();
    need_that(
        file.is_some(),
        "USNEA_TEST_GROUP_FILE, a file for a supplementary group of the caller",
    )
    .then_some(file?)
}

#[test]
fn supplementary_groups_are_kept_when_asked_for() {
    let Some(file) = group_file() else { return };
    let place = Place::new();
    let volume = format!("{file}:/file");
    let ran = place.run(&["--group-add", "keep-groups", "-v", &volume], "cat /file");
    assert_eq!(ran.works(), "for the group");
    assert!(Path::new(&file).exists());
}

#[test]
fn supplementary_groups_are_dropped_otherwise() {
    if !need_subids() {
        return;
    }
    let Some(file) = group_file() else { return };
    let place = Place::new();
    let volume = format!("{file}:/file");
    let ran = place.run(&["-v", &volume], "cat /file");
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
}
