//! `usnea diff`, `commit` and `export`: what a container wrote, whoever stacked its layers, while it runs and after.

use std::time::Duration;

use serde_json::{Value, json};

use crate::composed::{Composed, file, folder, layer, small_root};
use crate::kills::{kill_after, kill_at_call};
use crate::stocked::Stocked;
use crate::support::{Ran, need, need_subids, text, within};

const DRIVERS: [&str; 3] = ["overlay", "fuse", "copy"];

/// What is changed in the image of [`shop`].
const SCRIPT: &str = "rm /d/a; echo new >> /d/b; mkdir /new; echo n > /new/n; ln -s n /new/l; \
    ln /new/n /new/same; rm -r /gone; rm -r /swap; mkdir /swap; echo z > /swap/z; chmod 4750 /d/c; \
    rm -r /d/sub; echo file > /d/sub";
const CHANGES: &str = "C /d;D /d/a;C /d/b;C /d/c;C /d/sub;D /gone;A /new;A /new/l;A /new/n;A /new/same;\
    C /swap;D /swap/y;A /swap/z;";
/// What tells the changed tree.
const LOOK: &str = "find /d /new /swap /gone 2> /dev/null | sort; cat /d/b /new/l /swap/z; \
    stat -c '%a %h' /new/n";
const LOOKED: &str = "/d\n/d/b\n/d/c\n/d/sub\n/new\n/new/l\n/new/n\n/new/same\n/swap\n/swap/z\n\
    b\nnew\nn\nz\n644 2";

fn shop() -> Stocked {
    let shop = Stocked::new();
    let entries = [
        folder("d"),
        file("d/a", "a\n"),
        file("d/b", "b\n"),
        file("d/c", "c\n"),
        folder("d/sub"),
        file("d/sub/x", ""),
        folder("gone"),
        file("gone/x", ""),
        folder("swap"),
        file("swap/y", ""),
    ];
    let config = json!({
        "Env": ["A=1"], "Labels": {"l": "1"}, "WorkingDir": "/d", "Entrypoint": ["sh", "-c"],
        "User": "root", "StopSignal": "SIGINT",
    });
    Composed::of(&[small_root(&shop), layer(&entries)]).config(config).write(&shop, "layout");
    shop.usnea(&["load", "-i", "layout"]).works();
    let id = shop.usnea(&["images", "-q"]).works().to_owned();
    shop.usnea(&["tag", &id, "localhost/image"]).works();
    shop
}

/// Its whole tree runs `script`, then stays or not.
fn changed(shop: &Stocked, name: &str, driver: &str, stays: bool) {
    let (first, script) = match stays {
        true => (&["run", "-d"][..], format!("{SCRIPT}; echo ready; sleep 1000")),
        false => (&["run"][..], SCRIPT.to_owned()),
    };
    let words = ["--name", name, "--storage-driver", driver, "-e", "B=2", "--label", "m=3"];
    let words = [first, &words, &["--stop-timeout", "0", "localhost/image", &script]].concat();
    shop.usnea(&words).works();
    let is_ready = || !stays || shop.usnea(&["logs", name]).stdout.contains("ready");
    assert!(within(Duration::from_secs(20), is_ready), "{:?}", shop.usnea(&["logs", name]));
}

fn clean(shop: &Stocked) {
    shop.usnea(&["rm", "-a", "-f", "-v", "-t", "0"]).works();
}

fn each(check: impl Fn(&Stocked, &str)) {
    let shop = shop();
    for driver in DRIVERS {
        for stays in [false, true] {
            let name = format!("{driver}-{}", if stays { "running" } else { "ended" });
            changed(&shop, &name, driver, stays);
            check(&shop, &name);
        }
    }
    clean(&shop);
}

#[test]
fn changes_are_those_that_were_made() {
    each(|shop, name| {
        let shown = shop.usnea(&["diff", name]).works().replace('\n', ";") + ";";
        assert_eq!(shown, CHANGES, "{name}");
        let json = shop.usnea(&["diff", "--format", "json", name]).works().to_owned();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["deleted"], json!(["/d/a", "/gone", "/swap/y"]), "{name}");
        assert_eq!(json["added"].as_array().unwrap().len(), 5, "{name}");
        let line = shop.usnea(&["container", "diff", "--format", "{{.Kind}}{{.Path}}", name]);
        assert!(line.works().starts_with("C/d\nD/d/a\n"), "{line:?}");
    });
}

#[test]
fn a_container_that_changed_nothing_has_no_changes() {
    let shop = shop();
    for driver in DRIVERS {
        let words = ["--name", driver, "--storage-driver", driver, "-v", "/some/volume"];
        shop.usnea(&[&["run"], &words[..], &["localhost/image", "cat /d/a"]].concat()).works();
        // The folder above a place to mount on was made for it.
        assert_eq!(shop.usnea(&["diff", driver]).works(), "A /some", "{driver}");
        let words = ["create", "--name", &format!("{driver}-made"), "--storage-driver", driver];
        shop.usnea(&[&words[..], &["localhost/image", "true"]].concat()).works();
        assert_eq!(shop.usnea(&["diff", &format!("{driver}-made")]).works(), "", "{driver}");
        let made =
            shop.usnea(&["commit", &format!("{driver}-made"), &format!("localhost/{driver}")]);
        made.works();
        // The config alone is another.
        assert_eq!(shop.field(&format!("localhost/{driver}"), "{{len .RootFS.Layers}}"), "2");
    }
    clean(&shop);
}

#[test]
fn a_committed_image_runs_as_the_container_did() {
    each(|shop, name| {
        let image = format!("localhost/{name}");
        let iid = text(&shop.place.path("iid")).to_owned();
        let words = ["-m", "a message", "-a", "somebody", "-c", "ENV C=3", "-c", "CMD [\"true\"]"];
        let words = [&["commit", "--iidfile", &iid], &words[..], &[name, &image]].concat();
        let id = shop.usnea(&words).works().to_owned();
        assert_eq!(shop.place.read("iid"), id);
        let ran = shop.usnea(&["run", "--rm", &image, LOOK]);
        assert_eq!(ran.works(), LOOKED, "{name}");
        let ran = shop.usnea(&["run", "--rm", &image, "echo $A$B$C; pwd; echo ${HOSTNAME:+set}"]);
        assert_eq!(ran.works(), "123\n/d\nset", "{name}");
        let config: Value = serde_json::from_str(&shop.field(&image, "{{json .Config}}")).unwrap();
        assert_eq!(config["Entrypoint"], json!(["sh", "-c"]));
        assert_eq!((&config["Cmd"], &config["User"]), (&json!(["true"]), &json!("root")));
        assert_eq!(config["Labels"], json!({"l": "1", "m": "3"}));
        assert_eq!(
            (&config["WorkingDir"], &config["StopSignal"]),
            (&json!("/d"), &json!("SIGINT"))
        );
        let env: Vec<&str> =
            config["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(!env.iter().any(|line| line.starts_with("HOSTNAME=") || line.starts_with("HOME=")));
        assert_eq!(shop.field(&image, "{{len .RootFS.Layers}}"), "3");
        let history = shop.usnea(&["history", "--no-trunc", &image]).works().to_owned();
        assert!(history.contains("a message") && history.contains("rm /d/a"), "{history}");
        // As one layer it is the same.
        let squashed = format!("localhost/squashed-{name}");
        shop.usnea(&["commit", "--squash", name, &squashed]).works();
        assert_eq!(shop.field(&squashed, "{{len .RootFS.Layers}}"), "1");
        assert_eq!(shop.usnea(&["run", "--rm", &squashed, LOOK]).works(), LOOKED, "{name}");
    });
}

#[test]
fn a_container_without_an_image_of_the_store_is_committed_whole() {
    let shop = Stocked::new();
    let root = format!("dir:{}", shop.place.small_root().display());
    shop.usnea(&["run", "--name", "box", &root, "sh", "-c", "echo x > /x"]).works();
    shop.usnea(&["container", "commit", "box", "localhost/made"]).works();
    // What it ran is what the image runs.
    assert_eq!(shop.usnea(&["run", "--rm", "localhost/made"]).status, 0);
    assert_eq!(shop.usnea(&["run", "--rm", "localhost/made", "cat", "/x"]).works(), "x");
    assert_eq!(shop.usnea(&["diff", "box"]).works(), "A /x");
    clean(&shop);
}

#[test]
fn owners_are_in_the_commit_and_in_the_export_for_users_of_one_id_too() {
    let shop = shop();
    let script = "chown 33:44 /d/c; chmod 2755 /d/sub; touch /d/mine; chown 7 /d/mine";
    for driver in DRIVERS {
        let words =
            ["run", "--name", driver, "--storage-driver", driver, "localhost/image", script];
        shop.usnea(&words).works();
        let image = format!("localhost/{driver}");
        shop.usnea(&["commit", driver, &image]).works();
        for what in [driver, &image] {
            let listed = shop.shell(&format!(
                "usnea export {what} | tar --numeric-owner -tv | grep ' d/' | awk '{{print $1, $2, $NF}}'"
            ));
            let expected = "-rw-r--r-- 0/0 d/a\n-rw-r--r-- 0/0 d/b\n-rw-r--r-- 33/44 d/c\n\
                 -rw-r--r-- 7/0 d/mine\ndrwxr-sr-x 0/0 d/sub/\n-rw-r--r-- 0/0 d/sub/x";
            let lines: Vec<&str> =
                listed.works().lines().filter(|line| !line.ends_with(" d/")).collect();
            assert_eq!(lines.join("\n"), expected, "{what}");
        }
    }
    clean(&shop);
}

#[test]
fn owners_of_a_container_with_a_map_of_its_own_are_the_image_s() {
    if !need_subids() {
        return;
    }
    let shop = shop();
    let script = "chown 33:44 /d/c; touch /d/mine /d/theirs; chown $(cat /id) /d/theirs; \
        stat -c '%n %u/%g' /d/* | sort";
    let ids = format!("{}:{}", rustix::process::getuid(), rustix::process::getgid());
    let put_id = format!("echo {ids} > /id; {script}");
    let mut seen = Vec::new();
    for (number, map) in ["keep-id", "auto", "nomap"].iter().enumerate() {
        for driver in ["fuse", "copy"] {
            let name = format!("{driver}-{number}");
            let words = ["run", "--name", &name, "--storage-driver", driver, "--userns", map];
            let script =
                if *map == "keep-id" { put_id.clone() } else { put_id.replace(&ids, "5:6") };
            let inside =
                shop.usnea(&[&words[..], &["-u", "0", "localhost/image", &script]].concat());
            let image = format!("localhost/{name}");
            shop.usnea(&["commit", &name, &image]).works();
            let owners = |what: &str| {
                let list = "tar --numeric-owner -tv | grep ' d/.' | awk '{print $NF, $2}' | sort";
                shop.shell(&format!("usnea export {what} | {list}"))
                    .works()
                    .replace("sub/x", "sub.x")
            };
            let diff = shop.usnea(&["diff", &name]).works().to_owned();
            let again = ["run", "--rm", &image, "stat -c '%n %u/%g' /d/* | sort"];
            assert_eq!(shop.usnea(&again).works(), inside.works(), "{name}");
            assert_eq!(owners(&name), owners(&image), "{name}");
            assert!(owners(&name).contains("d/c 33/44\n"), "{name}: {}", owners(&name));
            seen.push((diff, owners(&name)));
        }
        // Whoever stacks the layers, the same has changed.
        let [.., fuse, copy] = seen.as_slice() else { unreachable!() };
        assert_eq!(fuse, copy, "{map}");
    }
    clean(&shop);
}

#[test]
fn whiteouts_that_are_names_are_read_back() {
    if !need("unshare") {
        return;
    }
    let shop = Stocked::new();
    let root = shop.place.small_root();
    shop.place.write("root/conf/old", "old");
    shop.place.write("root/conf/deep/old", "old");
    shop.place.write("root/gone", "old");
    // ramfs has no attributes: there a folder is opaque by a name in it.
    let inside = format!(
        "usnea() {{ '{}' \"$@\"; }}
         mkdir -p \"$USNEA_ROOT\"; mount -t ramfs r \"$USNEA_ROOT\"
         tar -C '{}' --owner=0 --group=0 -c . | usnea import - localhost/base > /dev/null
         run() {{ usnea run --storage-driver fuse \"$@\"; }}
         run --name box localhost/base sh -c 'rm -r /conf /gone; mkdir /conf; echo x > /conf/new'
         ls -A \"$USNEA_ROOT/containers/\"*/upper/conf
         usnea diff box | grep -E 'conf|gone'; usnea export box | tar -t | grep -E '^conf|wh|gone'
         usnea cp box:/conf - | tar -t; usnea commit --squash box localhost/named > /dev/null
         run --rm localhost/named sh -c 'ls -A /conf; ls /gone 2> /dev/null || echo none'
         usnea rm box > /dev/null",
        text(&crate::support::binary()),
        text(&root),
    );
    shop.place.write("inside", inside);
    let ran = shop.other("unshare", &["-rm", "sh", "-eu", text(&shop.place.path("inside"))]);
    let expected = ".wh..wh..opq\nnew\n\
        C /conf\nD /conf/deep\nA /conf/new\nD /conf/old\nD /gone\n\
        conf/\nconf/new\nconf/\nconf/new\nnew\nnone";
    assert_eq!(ran.works(), expected);
}

#[test]
fn a_container_of_another_store_s_image_is_committed_into_the_user_s_own() {
    let shop = shop();
    // As an administrator shares a store: everybody reads it, owners are recorded.
    let shared = "mkdir shared; chmod 755 shared; usnea save localhost/image -o image.tar
        USNEA_ROOT=$PWD/shared usnea load -i image.tar > /dev/null
        USNEA_ROOT=$PWD/shared usnea images -q";
    let script = format!("cd '{}'; {shared}", text(&shop.place.path("")));
    let id = shop.shell(&script).works().to_owned();
    let in_own = |words: &[&str]| {
        let mut command = shop.place.command(words);
        shop.at_home(&mut command);
        command.env("USNEA_ROOT", shop.place.path("own"));
        command.env("USNEA_IMAGE_STORES", shop.place.path("shared"));
        crate::support::finish(&mut command, "")
    };
    in_own(&["run", "--name", "box", &id, SCRIPT]).works();
    let changes = in_own(&["diff", "box"]).works().replace('\n', ";");
    assert_eq!(format!("{changes};"), CHANGES);
    in_own(&["commit", "box", "localhost/made"]).works();
    in_own(&["commit", "--squash", "box", "localhost/one"]).works();
    // What is made needs nothing of the other store.
    let alone = |words: &[&str]| shop.usnea_in("own", words);
    for image in ["localhost/made", "localhost/one"] {
        assert_eq!(alone(&["run", "--rm", image, LOOK]).works(), LOOKED, "{image}");
    }
    alone(&["check"]).works();
    let layers = |image| alone(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", image]);
    assert_eq!(layers("localhost/made").works(), "3");
    assert_eq!(layers("localhost/one").works(), "1");
    in_own(&["rm", "box"]).works();
}

#[test]
fn an_export_is_all_that_the_container_has_and_comes_back() {
    each(|shop, name| {
        let tar = shop.place.path("export.tar");
        shop.usnea(&["export", "-o", text(&tar), name]).works();
        shop.usnea(&["import", text(&tar), &format!("localhost/again-{name}")]).works();
        let words = ["run", "--rm", &format!("localhost/again-{name}"), "sh", "-c", LOOK];
        assert_eq!(shop.usnea(&words).works(), LOOKED, "{name}");
        // The oracle: another program reads the same of it.
        let listed = shop.other("tar", &["-tf", text(&tar)]);
        let mut names: Vec<&str> =
            listed.works().lines().filter(|name| name.starts_with("new")).collect();
        names.sort_unstable();
        assert_eq!(names, ["new/", "new/l", "new/n", "new/same"], "{name}");
    });
}

#[test]
fn a_container_that_cannot_be_committed_is_an_error() {
    let shop = shop();
    changed(&shop, "box", "overlay", true);
    let fails = |words: &[&str], phrases: &[&str]| shop.usnea(words).fails_with(125, phrases);
    fails(&["commit", "nobody"], &["no container is called 'nobody'"]);
    fails(&["diff", "nobody"], &["no container is called 'nobody'"]);
    fails(&["export", "nobody"], &["neither a container nor an image"]);
    fails(&["container", "export", "localhost/image"], &["no container is called"]);
    fails(&["commit", "--format", "docker", "box"], &["docker"]);
    fails(&["commit", "-c", "FROM x", "box"], &["not an instruction"]);
    clean(&shop);
}

/// Whether none of its processes is stopped, now and a moment later.
fn goes_on(shop: &Stocked, name: &str) -> bool {
    let first = shop.usnea(&["inspect", "-f", "{{.State.Pid}}", name]).works().to_owned();
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{first}/stat")).expect("it runs");
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    !is_stopped() && {
        std::thread::sleep(Duration::from_millis(50));
        !is_stopped()
    }
}

#[test]
fn a_container_is_paused_during_commit_on_request() {
    let shop = shop();
    // Two files that are alike but for the moment between the two writes, by many processes.
    let script =
        "i=0; while :; do i=$((i+1)); sh -c \"echo $i > /d/one\"; sh -c \"echo $i > /d/two\"; done";
    let init = ["--init", "-u", "1000"];
    for (name, options) in [("plain", &[][..]), ("init", &init[..1]), ("other", &init[1..])] {
        if name == "other" && !need_subids() {
            continue;
        }
        let script = format!("chmod 777 /d 2> /dev/null; {script}");
        let words = [&["run", "-d", "--name", name], options, &["localhost/image", &script]];
        if name == "other" {
            // Who is not root cannot write there.
            let open = ["run", "--name", "open", "localhost/image", "chmod 777 /d"];
            shop.usnea(&open).works();
            shop.usnea(&["commit", "open", "localhost/image"]).works();
        }
        shop.usnea(&words.concat()).works();
        let works = || shop.usnea(&["diff", name]).stdout.contains("/d/two");
        assert!(within(Duration::from_secs(20), works), "{:?}", shop.usnea(&["logs", name]));
        for _ in 0..3 {
            shop.usnea(&["commit", "--pause", name, "localhost/still"]).works();
            let ran = shop.usnea(&["run", "--rm", "localhost/still", "cat /d/one /d/two"]);
            let seen: Vec<u64> = ran.works().lines().map(|line| line.parse().unwrap()).collect();
            // One of them may be empty: it was just opened to be written.
            assert!(seen.len() < 2 || seen[0] - seen[1] <= 1, "{name}: {seen:?}");
        }
        // And it goes on.
        assert!(within(Duration::from_secs(20), || goes_on(&shop, name)), "{name}");
        shop.usnea(&["rm", "-f", "-t", "0", name]).works();
    }
    clean(&shop);
}

#[test]
fn a_container_goes_on_when_its_commit_is_killed() {
    let shop = shop();
    shop.usnea(&["run", "-d", "--name", "box", "localhost/image", "while :; do :; done"]).works();
    for step in 0..8 {
        let words = ["commit", "--pause", "box", "localhost/still"];
        for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
            // The process itself: a terminal's Ctrl-C and a session's end reach it and its like.
            let mut command = shop.place.command(&words);
            shop.at_home(&mut command);
            let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(5 * step));
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal);
            child.wait().unwrap();
            assert!(within(Duration::from_secs(20), || goes_on(&shop, "box")), "{step} {signal:?}");
        }
    }
    clean(&shop);
    shop.usnea(&["check"]).works();
}

/// A kill at any instant: the image is there, or it is not, and the next command sweeps up.
fn is_survived(shop: &Stocked, when: &str) {
    let left = || -> Vec<_> {
        let entries = std::fs::read_dir(shop.place.store().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    // Who was killed may take a moment to be gone, and holds its locks until then.
    let is_swept = || {
        let check = shop.usnea(&["check"]);
        assert_eq!((check.status, check.stdout.as_str()), (0, ""), "{when}: {check:?}");
        left().is_empty()
    };
    assert!(within(Duration::from_secs(5), is_swept), "{when}: left in tmp: {:?}", left());
    if shop.usnea(&["image", "exists", "localhost/new"]).status == 0 {
        let ran: Ran = shop.usnea(&["run", "--rm", "localhost/new", LOOK]);
        assert_eq!(ran.works(), LOOKED, "{when}");
        shop.usnea(&["rmi", "-f", "localhost/new"]).works();
    }
    // The container is as it was.
    assert_eq!(shop.usnea(&["diff", "box"]).works().replace('\n', ";") + ";", CHANGES, "{when}");
}

#[test]
fn a_kill_of_commit_at_any_instant_leaves_the_old_state_or_the_new() {
    let shop = shop();
    changed(&shop, "box", "overlay", false);
    let words = ["commit", "box", "localhost/new"];
    let began = std::time::Instant::now();
    shop.usnea(&words).works();
    let whole = began.elapsed();
    is_survived(&shop, "whole");
    for step in 0..12 {
        let delay = whole * step / 12;
        kill_after(&shop, &words, rustix::process::Signal::KILL, delay);
        is_survived(&shop, &format!("killed after {delay:?}"));
    }
    if need("strace") {
        for calls in [
            "rename,renameat,renameat2",
            "fsync,syncfs,ftruncate",
            "mkdir,mkdirat",
            "unlink,unlinkat,rmdir",
        ] {
            for number in 1..8 {
                let reached = kill_at_call(&shop, &words, calls, number);
                is_survived(&shop, &format!("killed at {calls} number {number}"));
                let must = number == 1 && calls.starts_with("rename");
                assert!(reached || !must, "it was not killed");
                if !reached {
                    break;
                }
            }
        }
    }
    clean(&shop);
}
