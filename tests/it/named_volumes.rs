//! Volumes of the store: `usnea volume`, `-v NAME:PATH`, `-v PATH`, `--mount type=volume`, and the volumes of images.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::composed::{Composed, Entry, file, folder, layer, small_root};
use crate::kills::{kill_after, kill_at_call};
use crate::stocked::Stocked;
use crate::support::{Place, Ran, need, need_subids, within};

const DRIVERS: [&str; 3] = ["overlay", "fuse", "copy"];

fn names(place: &Place) -> Vec<String> {
    let listed = place.usnea(&["volume", "ls", "-q"]);
    listed.works().lines().map(str::to_owned).collect()
}

fn remove(place: &Place, container: &str) {
    place.usnea(&["rm", "-f", "-v", "-t", "0", container]).works();
}

#[test]
fn a_volume_is_made_listed_inspected_and_removed() {
    let place = Place::new();
    let words = ["volume", "create", "--label", "a=1", "--label", "b", "data"];
    assert_eq!(place.usnea(&words).works(), "data");
    // Again: it stays as it is.
    assert_eq!(place.usnea(&["volume", "create", "data"]).works(), "data");
    let random = place.usnea(&["volume", "create"]).works().to_owned();
    assert_eq!(random.len(), 64);
    let mut both = vec!["data".to_owned(), random.clone()];
    both.sort();
    assert_eq!(names(&place), both);
    let filter =
        |filter: &str| place.usnea(&["volume", "ls", "-q", "-f", filter]).works().to_owned();
    assert_eq!(filter("label=a=1"), "data");
    assert_eq!(filter("label!=a"), random);
    assert_eq!(filter("name=at"), "data");
    assert_eq!(filter("anonymous=true"), random);
    assert_eq!(
        place.usnea(&["volume", "ls"]).works().lines().next(),
        Some("DRIVER    VOLUME NAME")
    );

    let text = place.usnea(&["volume", "inspect", "data"]).works().to_owned();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found[0]["Labels"], json!({"a": "1", "b": ""}));
    assert_eq!((&found[0]["Driver"], &found[0]["Scope"]), (&json!("local"), &json!("local")));
    let data = found[0]["Mountpoint"].as_str().unwrap();
    assert!(std::path::Path::new(data).is_dir(), "{data}");
    assert_eq!(place.usnea(&["volume", "inspect", "-f", "{{.Name}}", "data"]).works(), "data");

    assert_eq!(place.usnea(&["volume", "exists", "data"]).status, 0);
    assert_eq!(place.usnea(&["volume", "exists", "other"]).status, 1);
    assert_eq!(place.usnea(&["volume", "rm", "data"]).works(), "data");
    assert_eq!(place.usnea(&["volume", "exists", "data"]).status, 1);
    place.usnea(&["volume", "rm", "data"]).fails_with(1, &["no volume is called 'data'"]);
    place.usnea(&["volume", "rm", "-f", "data"]).works();
    place.usnea(&["volume", "inspect", "data"]).exits(1);
    assert!(place.usnea(&["volume", "prune", "-f"]).works().contains(&random));
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn invalid_volumes_are_refused() {
    let place = Place::new();
    let create = |words: &[&str]| place.usnea(&[&["volume", "create"], words].concat());
    create(&["--opt", "type=tmpfs", "x1"])
        .fails_with(125, &["--opt type=tmpfs", "without options"]);
    create(&["--driver", "nfs", "x1"]).fails_with(125, &["--driver nfs", "no such driver"]);
    create(&["../x"]).fails_with(125, &["../x"]);
    place.run(&["-v", "da/ta:/x"], "true").fails_with(125, &["neither a path nor the name"]);
    place.run(&["-v", "/tmp:/x:nocopy"], "true").fails_with(125, &["nocopy"]);
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn a_named_volume_outlives_its_containers() {
    let place = Place::new();
    place.run(&["-v", "data:/data"], "echo kept > /data/file").works();
    assert_eq!(names(&place), ["data"]);
    let mount = "type=volume,source=data,target=/elsewhere,readonly";
    let ran = place.run(&["--mount", mount], "cat /elsewhere/file; echo x > /elsewhere/file");
    assert!(
        ran.status != 0 && ran.stdout == "kept\n" && ran.stderr.contains("Read-only"),
        "{ran:?}"
    );
    // docker's default type.
    assert_eq!(place.run(&["--mount", "src=data,dst=/d"], "cat /d/file").works(), "kept");
    place.usnea(&["volume", "rm", "data"]).works();
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let place = Place::new();
    place
        .usnea(&place.kept(&["create", "--name", "user-of-it", "-v", "data:/data"], "true"))
        .works();
    assert_eq!(names(&place), ["data"]);
    let refused = place.usnea(&["volume", "rm", "-f", "data"]);
    refused.fails_with(1, &["volume data is in use by user-of-it"]);
    refused.hints();
    let filter =
        |filter: &str| place.usnea(&["volume", "ls", "-q", "-f", filter]).works().to_owned();
    assert_eq!((filter("dangling=true").as_str(), filter("dangling=false").as_str()), ("", "data"));
    for value in ["data", "/data"] {
        let filter = format!("volume={value}");
        let found = place.usnea(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        assert_eq!(found.works(), "user-of-it");
    }
    let mounts = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}";
    let inspected = place.usnea(&["inspect", "-f", mounts, "user-of-it"]);
    assert_eq!(inspected.works(), "volume data /data true");
    let listed = place.usnea(&["ps", "-a", "--format", "{{.Mounts}} {{.LocalVolumes}}"]);
    assert_eq!(listed.works(), "data 1");
    assert!(place.usnea(&["ps", "-a", "--format", "json"]).works().contains(r#""Mounts": "data""#));
    place.usnea(&["volume", "prune", "-a", "-f"]).works();
    assert_eq!(names(&place), ["data"]);
    // `rm -v` takes what has no name alone.
    remove(&place, "user-of-it");
    assert_eq!(names(&place), ["data"]);
    place.usnea(&["volume", "prune", "-f"]).works();
    assert_eq!(names(&place), ["data"]);
    assert!(place.usnea(&["volume", "prune", "-a", "-f"]).works().contains("data"));
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn a_volume_of_a_container_without_a_record_is_in_use_while_it_runs() {
    let place = Place::new();
    let fifo = place.path("wait");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bind = format!("{}:/wait", fifo.display());
    let words = place.arguments(&["-v", "data:/data", "-v", &bind], &["cat", "/wait"]);
    let mut run = place.command(&words).spawn().unwrap();
    let is_there = || place.usnea(&["volume", "exists", "data"]).status == 0;
    assert!(within(Duration::from_secs(20), is_there));
    // By the lock on it, and by its container as soon as that has a record.
    place.usnea(&["volume", "rm", "data"]).fails_with(1, &["data is in use by "]);
    std::fs::write(&fifo, "").unwrap();
    assert!(run.wait().unwrap().success());
    place.usnea(&["volume", "rm", "data"]).works();
}

#[test]
fn an_anonymous_volume_goes_with_its_container_when_asked() {
    let place = Place::new();
    // Without a record there is none: it is a folder of what is thrown away.
    place.run(&["-v", "/data"], "echo x > /data/x; cat /data/x").works();
    assert_eq!(names(&place), [""; 0]);

    place.run_kept(&["--name", "first", "-v", "/data"], "echo x >> /data/x").works();
    let all = names(&place);
    assert!(all.len() == 1 && all[0].len() == 64, "{all:?}");
    place.usnea(&["start", "-a", "first"]).works();
    let copy = format!("{}:/d", all[0]);
    assert_eq!(place.run(&["-v", &copy], "cat /d/x").works(), "x\nx");
    place.usnea(&["rm", "first"]).works();
    assert_eq!(names(&place), all);
    place.usnea(&["volume", "prune", "-f"]).works();
    assert_eq!(names(&place), [""; 0]);

    place.run_kept(&["--name", "second", "-v", "/data"], "true").works();
    remove(&place, "second");
    assert_eq!(names(&place), [""; 0]);
    // --rm of one that has a record.
    let words = place.kept(&["run", "-d", "--rm", "--name", "third", "-v", "/data"], "true");
    place.usnea(&words).works();
    let is_gone = || names(&place).is_empty();
    assert!(within(Duration::from_secs(20), is_gone));
}

#[test]
fn an_anonymous_volume_lies_over_a_folder_of_the_host() {
    let place = Place::new();
    place.write("project/modules/of-host", "");
    for words in [&["run", "--rm"][..], &["run", "--name", "kept"]] {
        let words = [words, &["-v", "./project:/p", "-v", "/p/modules"]].concat();
        let ran = place.usnea(&place.kept(&words, "ls -A /p/modules; touch /p/modules/inside"));
        assert_eq!(ran.works(), "");
    }
    assert!(!place.path("project/modules/inside").exists());
    remove(&place, "kept");
}

fn with_image(volumes: Value) -> Stocked {
    let entries = [folder("data"), file("data/given", "of the image\n"), folder("data/deep")];
    with_entries(&entries, volumes)
}

fn with_entries(entries: &[Entry], volumes: Value) -> Stocked {
    let shop = Stocked::new();
    let config = json!({ "Volumes": volumes });
    Composed::of(&[small_root(&shop), layer(entries)]).config(config).write(&shop, "layout");
    shop.usnea(&["load", "-i", "layout"]).works();
    let name = shop.usnea(&["images", "-q"]).works().to_owned();
    shop.usnea(&["tag", &name, "localhost/image"]).works();
    shop
}

fn run(shop: &Stocked, options: &[&str], script: &str) -> Ran {
    let command = ["localhost/image", "sh", "-c", script];
    shop.usnea(&[&["run"], options, &command].concat())
}

#[test]
fn a_new_volume_gets_what_the_image_has_there_with_every_driver() {
    let shop = with_image(json!({}));
    for driver in DRIVERS {
        let of = |rest: &str| format!("data-{driver}:{rest}");
        let words = ["--rm", "--storage-driver", driver, "-v"];
        let first =
            run(&shop, &[&words[..], &[&of("/data")]].concat(), "cat /data/given; rm /data/given");
        assert_eq!(first.works(), "of the image", "{driver}");
        // Once: it is not filled again.
        let second = run(&shop, &[&words[..], &[&of("/data")]].concat(), "ls -A /data");
        assert_eq!(second.works(), "deep", "{driver}");
        let empty = format!("empty-{driver}:/data:nocopy");
        let third = run(&shop, &[&words[..], &[&empty]].concat(), "ls -A /data");
        assert_eq!(third.works(), "", "{driver}");
        let elsewhere = format!("more-{driver}:/not/there");
        run(&shop, &[&words[..], &[&elsewhere]].concat(), "touch /not/there/x").works();
    }
    shop.usnea(&["volume", "prune", "-a", "-f"]).works();
}

#[test]
fn owners_and_modes_come_along_into_a_new_volume() {
    if !crate::support::need_subids() {
        return;
    }
    let entries = [
        folder("data").mode(0o2750).owner(33, 44),
        file("data/given", "").mode(0o604).owner(33, 44),
    ];
    let shop = with_entries(&entries, json!({}));
    for driver in DRIVERS {
        for users in ["host", "keep-id"] {
            // The kernel's overlay cannot show files as the container's IDs.
            if (driver, users) == ("overlay", "keep-id") {
                continue;
            }
            let volume = format!("{driver}-{users}:/data");
            let words =
                ["--rm", "-u", "0", "--storage-driver", driver, "--userns", users, "-v", &volume];
            let ran = run(&shop, &words, "stat -c '%u:%g %a' /data /data/given");
            assert_eq!(ran.works(), "33:44 2750\n33:44 604", "{driver} {users}");
        }
    }
    assert_eq!(shop.usnea(&["volume", "rm", "-a"]).status, 0);
}

#[test]
fn an_image_s_volumes_are_anonymous_ones() {
    let shop = with_image(json!({"/data": {}, "/fresh": {}}));
    let script = "cat /data/given; echo x >> /fresh/x; cat /fresh/x";
    run(&shop, &["--rm", "--read-only"], script).works();
    assert_eq!(names(&shop.place), [""; 0]);
    assert_eq!(run(&shop, &["--name", "kept", "--read-only"], script).works(), "of the image\nx");
    assert_eq!(names(&shop.place).len(), 2);
    assert_eq!(shop.usnea(&["start", "-a", "kept"]).works(), "of the image\nx\nx");
    let of_volumes = |words: &[&str]| {
        let usage = shop.usnea(&[&["system", "df", "--format"], words].concat()).works().to_owned();
        usage.lines().find_map(|line| line.strip_prefix("Local Volumes ")).map(str::to_owned)
    };
    let template = "{{.Type}} {{.TotalCount}} {{.Active}}";
    assert_eq!(of_volumes(&[template]).as_deref(), Some("2 2"));
    shop.usnea(&["volume", "prune", "-f"]).works();
    assert_eq!(names(&shop.place).len(), 2);
    // What is asked for there takes its place.
    run(&shop, &["--name", "other", "-v", "mine:/data", "--tmpfs", "/fresh"], script).works();
    assert_eq!(names(&shop.place).len(), 3);
    for container in ["kept", "other"] {
        shop.usnea(&["rm", "-v", container]).works();
    }
    assert_eq!(names(&shop.place), ["mine"]);
    run(&shop, &["--name", "last"], "true").works();
    shop.usnea(&["rm", "last"]).works();
    assert_eq!(names(&shop.place).len(), 3);
    let pruned = shop.usnea(&["system", "prune", "--volumes", "-f"]);
    assert_eq!(
        pruned.works().lines().filter(|line| line.starts_with("Deleted: volume ")).count(),
        2
    );
    assert_eq!(names(&shop.place), ["mine"]);
    shop.usnea(&["volume", "rm", "mine"]).works();
}

#[test]
fn an_overlay_over_a_named_volume_forgets_changes() {
    let place = Place::new();
    place.run(&["-v", "data:/d"], "echo old > /d/file").works();
    let script = "echo new > /d/file; cat /d/file";
    assert_eq!(place.run(&["-v", "data:/d:O"], script).works(), "new");
    assert_eq!(place.run(&["-v", "data:/d"], "cat /d/file").works(), "old");
    place.usnea(&["volume", "rm", "data"]).works();
}

#[test]
fn files_of_other_ids_and_closed_folders_go_with_their_volume() {
    let place = Place::new();
    let script =
        "mkdir -p /d/a/b && touch /d/a/b/c && (chown -R 33 /d/a || true) && chmod 0 /d/a/b /d/a";
    place.run(&["-v", "data:/d"], script).works();
    place.usnea(&["volume", "rm", "data"]).works();
    assert!(!place.store().join("volumes/data").exists());
}

/// Longest time for kills by system calls.
const LIMIT: Duration = Duration::from_secs(20);

/// What is killed, and what is so in the end.
fn is_survived(shop: &Stocked, when: &str) {
    // A volume that is there is whole; one that is not is made now.
    let script = "find /data -type f | wc -l";
    assert_eq!(run(shop, &["--rm", "-v", "data:/data"], script).works(), "301", "{when}");
    shop.usnea(&["volume", "inspect", "data"]).works();
    let is_removed = || shop.usnea(&["volume", "rm", "data"]).status == 0;
    assert!(within(Duration::from_secs(5), is_removed), "{when}");
    let left = || -> Vec<_> {
        let entries = std::fs::read_dir(shop.place.store().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let is_swept = || {
        // The store's own, which an unpacking leaves, are the store's to sweep.
        shop.usnea(&["check"]).works();
        shop.usnea(&["volume", "prune", "-f"]).works();
        left().is_empty()
    };
    assert!(within(Duration::from_secs(5), is_swept), "{when}: left in tmp: {:?}", left());
}

#[test]
fn a_kill_at_any_instant_of_a_volume_s_first_use_leaves_it_whole_or_to_be_filled() {
    let names: Vec<String> = (0..300).map(|number| format!("data/f{number}")).collect();
    let mut entries = vec![folder("data"), file("data/given", "of the image\n")];
    entries.extend(names.iter().map(|name| file(name, "content\n")));
    let shop = with_entries(&entries, json!({}));
    let words = ["run", "--rm", "-v", "data:/data", "localhost/image", "true"];
    let began = std::time::Instant::now();
    shop.usnea(&words).works();
    let whole = began.elapsed();
    is_survived(&shop, "whole");
    for step in 0..20 {
        let delay = whole * step / 20;
        kill_after(&shop, &words, Signal::KILL, delay);
        is_survived(&shop, &format!("killed after {delay:?}"));
    }
    if need("strace") {
        for calls in
            ["rename,renameat,renameat2", "mkdir,mkdirat", "unlink,unlinkat,rmdir", "fsync"]
        {
            for number in 1..4 {
                if began.elapsed() > LIMIT {
                    break;
                }
                let reached = kill_at_call(&shop, &words, calls, number);
                is_survived(&shop, &format!("killed at {calls} number {number}"));
                if !reached {
                    break;
                }
            }
        }
        let words = ["volume", "rm", "data"];
        for calls in ["rename,renameat,renameat2", "unlink,unlinkat,rmdir"] {
            for number in [1, 50] {
                run(&shop, &["--rm", "-v", "data:/data"], "true").works();
                kill_at_call(&shop, &words, calls, number);
                is_survived(&shop, &format!("rm killed at {calls} number {number}"));
            }
        }
    }
}

#[test]
fn many_who_use_a_new_volume_at_once_all_see_it_whole() {
    let names: Vec<String> = (0..300).map(|number| format!("data/f{number}")).collect();
    let mut entries = vec![folder("data")];
    entries.extend(names.iter().map(|name| file(name, "content\n")));
    let shop = with_entries(&entries, json!({}));
    for round in 0..3 {
        let volume = format!("data{round}:/data");
        std::thread::scope(|scope| {
            let script = "find /data -type f | wc -l";
            let one = || run(&shop, &["--rm", "-v", &volume], script).works().to_owned();
            let all: Vec<_> = (0..5).map(|_| scope.spawn(one)).collect();
            for one in all {
                assert_eq!(one.join().unwrap(), "300");
            }
        });
    }
    shop.usnea(&["volume", "rm", "-a"]).works();
}

#[test]
fn a_volume_s_files_go_out_as_a_tar_and_into_another_with_their_owners() {
    let place = Place::new();
    let script = "mkdir /vol/d; echo one >/vol/d/f; ln -s f /vol/d/l; chmod 640 /vol/d/f; chown 0:0 /vol/d/f";
    place.run_kept(&["--rm", "-v", "first:/vol"], script).works();
    if need_subids() {
        place.run_kept(&["--rm", "-v", "first:/vol"], "chown 33:44 /vol/d/f").works();
    }
    place.usnea(&["volume", "export", "-o", "first.tar", "first"]).works();
    place.usnea(&["volume", "create", "second"]).works();
    place.usnea(&["volume", "import", "second", "first.tar"]).works();
    let look = "cd /vol; stat -c '%a %u %g %n' d/f; readlink d/l; cat d/f";
    let seen = |volume: &str| {
        place.run_kept(&["--rm", "-v", &format!("{volume}:/vol")], look).works().to_owned()
    };
    assert_eq!(seen("second"), seen("first"));
    assert!(seen("second").ends_with("f\none"));
    // What is there stays, and what has the same name is replaced.
    place
        .run_kept(&["--rm", "-v", "second:/vol"], "echo two >/vol/d/f; echo own >/vol/own")
        .works();
    place.usnea(&["volume", "import", "second", "first.tar"]).works();
    assert_eq!(
        place.run_kept(&["--rm", "-v", "second:/vol"], "cat /vol/d/f /vol/own").works(),
        "one\nown"
    );
    place.usnea(&["volume", "import", "none", "first.tar"]).fails_with(125, &["no volume"]);
    place.usnea(&["volume", "import", "second", "missing.tar"]).fails_with(125, &["missing.tar"]);
    place.usnea(&["volume", "rm", "first", "second"]).works();
}

#[test]
fn in_the_user_namespace_the_files_of_a_volume_have_their_owners() {
    let place = Place::new();
    place.usnea(&["volume", "create", "data"]).works();
    let folder =
        place.usnea(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]).works().to_owned();
    assert_eq!(place.usnea(&["unshare", "id", "-u"]).works(), "0");
    if need_subids() {
        let file = format!("{folder}/f");
        place
            .usnea(&["unshare", "sh", "-c", &format!("touch {file} && chown 33:44 {file}")])
            .works();
        let ran = place.run_kept(&["--rm", "-v", "data:/vol"], "stat -c %u:%g /vol/f");
        assert_eq!(ran.works(), "33:44");
    }
    place.usnea(&["unshare", "sh", "-c", "exit 7"]).exits(7);
    place.usnea(&["unshare", "sh", "-c", "kill -9 $$"]).exits(137);
    place.usnea(&["unshare", "/nonexistent"]).exits(127);
    place.usnea(&["volume", "rm", "data"]).works();
}
