//! `--userns auto`: ranges of IDs that no other container has; and maps of any shape over the layers of a root.

use rustix::process::Signal;

use crate::support::{Place, Ran, Started, need_no_subids, need_subids, text, within};

const MAPS: &str = "cat /proc/self/uid_map /proc/self/gid_map";

/// Outer user IDs of `cat /proc/self/uid_map`, as base has them: the lines as (inside, outside, count).
fn lines(text: &str) -> Vec<(u64, u64, u64)> {
    let numbers = |line: &str| -> Vec<u64> {
        line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let lines = text.lines().map(numbers).filter(|numbers| numbers.len() == 3);
    lines.map(|numbers| (numbers[0], numbers[1], numbers[2])).collect()
}

fn meet(a: &[(u64, u64, u64)], b: &[(u64, u64, u64)]) -> bool {
    a.iter().any(|a| b.iter().any(|b| a.1 < b.1 + b.2 && b.1 < a.1 + a.2))
}

/// The user map of a container that runs, as seen from outside: on the host's IDs.
fn map_of(place: &Place, name: &str) -> Vec<(u64, u64, u64)> {
    let pid = place.usnea(&["inspect", "-f", "{{.State.Pid}}", name]).works().to_owned();
    lines(&std::fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("its map"))
}

/// The lines of a note of the store.
fn outer_ids(note: &[u8]) -> Vec<(u64, u64, u64)> {
    let note: serde_json::Value = serde_json::from_slice(note).expect("JSON");
    let number = |line: &serde_json::Value, key: &str| line[key].as_u64().expect("a number");
    let lines = note["uids"].as_array().expect("an array").iter();
    let three = |line| (number(line, "inside"), number(line, "outside"), number(line, "count"));
    lines.map(three).collect()
}

#[test]
fn a_container_has_a_range_without_the_caller_and_its_root_s_files() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let script = "wc -l < /proc/self/uid_map; stat -c '%u:%g' / /etc/passwd /data; touch /etc/new; chown 7:8 /etc/new; \
                  stat -c '%u:%g' /etc/new; id -u";
    for driver in ["fuse", "copy"] {
        let options = ["--userns", "auto", "--storage-driver", driver, "-v", &volume];
        let ran = place.run(&options, script);
        let expected = ["1", "0:0", "0:0", "65534:65534", "7:8", "0"];
        assert_eq!(ran.works().lines().collect::<Vec<_>>(), expected, "{driver}: {ran:?}");
    }
}

#[test]
fn a_range_is_as_large_as_the_accounts_need_and_1024_at_least() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let size = |options: &[&str]| -> u64 {
        let ran = place.run(&[&["--userns", "auto"], options].concat(), MAPS);
        lines(ran.works()).iter().map(|line| line.2).sum::<u64>() / 2
    };
    assert_eq!(size(&[]), 1024);
    assert_eq!(size(&["-u", "3000:4000"]), 4001);
    let passwd = "root:x:0:0::/:/bin/sh\nx:x:5000:1::/:/bin/sh\nnobody:x:60000:60000::/:/bin/sh\n";
    place.write("root/etc/passwd", passwd);
    assert_eq!(size(&[]), 5001);
    let ran = place.run(&["--userns", "auto:size=9"], MAPS);
    assert_eq!(lines(ran.works()).iter().map(|line| line.2).collect::<Vec<_>>(), [9, 9]);
    let asked = "auto:size=5,uidmapping=2:0:1,gidmapping=0:0:1";
    let ran = place.run(&["--userns", asked], "stat -c '%u:%g' /data");
    assert_ne!(ran.status, 0);
    let volume = format!("{}:/data", text(&place.folder("data")));
    let ran = place.run(&["--userns", asked, "-v", &volume], "stat -c '%u:%g' /data");
    assert_eq!(ran.works(), "2:0");
}

#[test]
fn containers_that_start_at_once_have_separate_ranges() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.small_root();
    let names = ["c1", "c2", "c3", "c4"];
    let kept = |name: &str| {
        let words = ["run", "-d", "--name", name, "--userns", "auto"];
        Started::new(&mut place.command(&place.kept(&words, "sleep 1000")), "")
    };
    let arguments =
        place.arguments(&["--userns", "auto"], &["sh", "-c", "echo ready; exec sleep 1000"]);
    let mut thrown_away: Vec<Started> =
        (0..4).map(|_| Started::new(&mut place.command(&arguments), "")).collect();
    let started: Vec<Started> = names.iter().map(|name| kept(name)).collect();
    for started in started {
        started.end().works();
    }
    thrown_away.iter_mut().for_each(|started| started.wait_for("ready"));
    let noted = std::fs::read_dir(place.store().join("ranges")).expect("the folder").flatten();
    let noted = noted.map(|entry| std::fs::read(entry.path()).expect("a note"));
    let maps: Vec<_> = noted.map(|note| outer_ids(&note)).collect();
    assert_eq!(maps.len(), 8, "{maps:?}");
    for name in names {
        let map = map_of(&place, name);
        assert!(maps.contains(&map), "{map:?} is not among {maps:?}");
    }
    for (index, map) in maps.iter().enumerate() {
        assert!(!map.is_empty() && maps[..index].iter().all(|other| !meet(map, other)), "{maps:?}");
    }
    thrown_away.iter().for_each(|started| started.signal(Signal::KILL));
    thrown_away.into_iter().for_each(|started| drop(started.end()));
    place.usnea(&["rm", "-f", "-t", "0", "c1", "c2", "c3", "c4"]).works();
}

#[test]
fn a_kept_container_has_its_range_until_it_is_removed() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.run_kept(&["--name", "c1", "--userns", "auto"], "cat /proc/self/uid_map").works();
    let first = |ran: &Ran| lines(ran.works())[0].1;
    let of_a = first(&place.usnea(&["start", "-a", "c1"]));
    let of_b = first(&place.run(&["--userns", "auto"], "cat /proc/self/uid_map"));
    assert_ne!(of_a, of_b);
    assert_eq!(first(&place.usnea(&["start", "-a", "c1"])), of_a);
    place.usnea(&["rm", "c1"]).works();
    assert_eq!(first(&place.run(&["--userns", "auto"], "cat /proc/self/uid_map")), of_a);
    let ranges = std::fs::read_dir(place.store().join("ranges")).expect("the folder").count();
    assert!(ranges <= 1, "ranges of containers that are gone pile up");
}

#[test]
fn a_clone_gets_a_range_of_its_own() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let script = "cat /proc/self/uid_map; echo x > /f && stat -c %u:%g /f";
    let own = rustix::process::getuid().as_raw();
    let mode = format!("auto:size=300,uidmapping=7:@{own}:1");
    place.run_kept(&["--name", "c1", "--userns", &mode], script).works();
    place.usnea(&["container", "clone", "c1", "c2"]).works();
    let maps = ["c1", "c2"].map(|name| {
        let ran = place.usnea(&["start", "-a", name]);
        assert!(ran.works().ends_with("0:0"), "{ran:?}");
        // As the container sees its map, the user's own ID is 0.
        let (own, range): (Vec<_>, Vec<_>) =
            lines(ran.works()).into_iter().partition(|line| line.1 == 0);
        assert_eq!(own, [(7, 0, 1)], "{ran:?}");
        assert_eq!(range.iter().map(|line| line.2).sum::<u64>(), 299, "{ran:?}");
        range
    });
    assert!(!meet(&maps[0], &maps[1]), "{maps:?}");
    // The range of the clone stays its own when the original is removed.
    place.usnea(&["rm", "c1"]).works();
    place.usnea(&["start", "-a", "c2"]).works();
    place.usnea(&["rm", "c2"]).works();
}

#[test]
fn no_range_is_left_says_how_many_ids_are_free() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "c1", "--userns", "auto"], "true")).works();
    let ran = place.run(&["--userns", "auto:size=4000000000"], "true");
    ran.fails_with(125, &["4000000000 user IDs are needed", "are free"]);
    ran.hints();
    let free = |ran: &Ran| -> u64 {
        let words: Vec<&str> = ran.stderr.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "and").expect("a number");
        words[at + 1].parse().expect("a number")
    };
    let before = free(&ran);
    place.usnea(&["rm", "c1"]).works();
    assert_eq!(free(&place.run(&["--userns", "auto:size=4000000000"], "true")), before + 1024);
}

#[test]
fn a_killed_run_has_no_range_any_more() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.small_root();
    let arguments =
        place.arguments(&["--userns", "auto"], &["sh", "-c", "echo ready; exec sleep 1000"]);
    let mut started = Started::new(&mut place.command(&arguments), "");
    started.wait_for("ready");
    let first = |ran: &Ran| lines(ran.works())[0].1;
    let script = "cat /proc/self/uid_map";
    let beside = first(&place.run(&["--userns", "auto"], script));
    let family = started.family();
    started.signal(Signal::KILL);
    drop(started.end());
    assert!(within(std::time::Duration::from_secs(20), || family.iter().all(|one| !one.runs())));
    let after = first(&place.run(&["--userns", "auto"], script));
    assert!(after < beside, "{after} is not the range of the killed one, below {beside}");
}

#[test]
fn without_subordinate_ids_there_is_no_range() {
    if !need_no_subids() {
        return;
    }
    let ran = Place::new().run(&["--userns", "auto"], "true");
    ran.fails_with(125, &["--userns auto", "subordinate IDs"]);
    ran.hints();
}

#[test]
fn the_record_says_which_ids_a_container_has() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let words = ["create", "--name", "c1", "--userns", "auto:size=2000"];
    place.usnea(&place.kept(&words, "true")).works();
    let format = "{{.HostConfig.UsernsMode}} {{index .HostConfig.IDMappings.UidMap 0}}";
    let ran = place.usnea(&["inspect", "-f", format, "c1"]);
    let said = ran.works();
    assert!(said.starts_with("private 0:") && said.ends_with(":2000"), "{said}");
    place.usnea(&["rm", "c1"]).works();
}

#[test]
fn a_root_s_files_keep_their_owners_under_maps_of_any_shape() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let own = rustix::process::getuid().as_raw();
    let own_host = format!("9:@{own}:1");
    let gid_host = format!("9:@{}:1", rustix::process::getgid().as_raw());
    let shapes: [&[&str]; 5] = [
        &["--userns", "keep-id"],
        &["--userns", "keep-id:uid=77,gid=78,size=400"],
        &["--userns", "nomap"],
        // Lines out of order, with a hole.
        &[
            "--uidmap",
            "100:50:100",
            "--uidmap",
            "0:1:20",
            "--gidmap",
            "0:300:5",
            "--gidmap",
            "6:1:9",
        ],
        &["--uidmap", "0:1:9", "--uidmap", &own_host, "--gidmap", "0:1:9", "--gidmap", &gid_host],
    ];
    let script = "stat -c '%u:%g' /etc/passwd / && echo x > /etc/passwd && rm -r /root && mkdir /root && \
                  stat -c '%u:%g' /root";
    for shape in shapes {
        for driver in ["fuse", "copy"] {
            let options = [shape, &["-u", "0", "--storage-driver", driver]].concat();
            let ran = place.run(&options, script);
            assert_eq!(ran.works(), "0:0\n0:0\n0:0", "{options:?}");
        }
        let options = [shape, &["-u", "0", "--storage-driver", "overlay"]].concat();
        place.run(&options, script).fails_with(125, &["--storage-driver overlay", "other owners"]);
    }
    assert!(place.path("root/etc/passwd").exists());
    place.run(&["--uidmap", "0:@4294967293:1"], "true").fails_with(125, &["@4294967293", "yours"]);
}

#[test]
fn a_size_limits_what_keep_id_gives() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = place.run(&["--userns", "keep-id:uid=3,gid=3,size=10"], MAPS);
    let sum: u64 = lines(ran.works()).iter().map(|line| line.2).sum();
    assert_eq!(sum, 20, "{ran:?}");
}
