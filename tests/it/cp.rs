//! `usnea cp`: between the host and a container that runs, has ended or never ran, with every storage driver; and links
//! that a container lays for it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use crate::support::{Place, Ran, finish, text, within};

const DRIVERS: [&str; 3] = ["overlay", "fuse", "copy"];
const SLEEP: &str = "echo ready; sleep 1000";

/// A container that has run `script`, and runs as long as that says.
fn runs(place: &Place, name: &str, options: &[&str], script: &str) {
    let words = [&["-d", "--name", name, "--stop-timeout", "0"], options].concat();
    place.run_kept(&words, &format!("{script}\n{SLEEP}")).works();
    let is_ready = || place.usnea(&["logs", name]).stdout.contains("ready");
    assert!(within(Duration::from_secs(20), is_ready), "{:?}", place.usnea(&["logs", name]));
}

/// A container that has run `script`, and has ended.
fn ran(place: &Place, name: &str, options: &[&str], script: &str) {
    place.run_kept(&[&["--name", name], options].concat(), script).works();
}

fn clean(place: &Place) {
    place.usnea(&["rm", "-a", "-f", "-v", "-t", "0"]).works();
    place.usnea(&["volume", "rm", "-a"]).works();
    place.nothing_is_left();
}

fn cp(place: &Place, from: &str, to: &str) -> Ran {
    place.usnea(&["cp", from, to])
}

/// The files below a folder, sorted.
fn tree(place: &Place, folder: &str) -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "cd \"$1\" && find . | sort | tr '\\n' ' '", "-"]).arg(place.path(folder));
    finish(&mut command, "").works().to_owned()
}

fn source(place: &Place) {
    place.write("src/one", "1\n");
    place.write("src/deep/two", "2\n");
    symlink("one", place.path("src/link")).unwrap();
    std::fs::hard_link(place.path("src/one"), place.path("src/same")).unwrap();
}

const WHOLE: &str = ". ./deep ./deep/two ./link ./one ./same";

#[test]
fn volumes_whose_place_the_root_lacks_are_seen() {
    let place = Place::new();
    ran(&place, "ended", &["-v", "data:/nowhere/data"], "echo content > /nowhere/data/file");
    let words = ["create", "--name", "made", "-v", "data:/else/where"];
    place.usnea(&place.kept(&words, "true")).works();
    for from in ["ended:/nowhere/data/file", "made:/else/where/file"] {
        cp(&place, from, "back").works();
        assert_eq!(place.read("back"), "content\n", "{from}");
        std::fs::remove_file(place.path("back")).unwrap();
    }
    cp(&place, "ended:/nowhere", "all").works();
    assert_eq!(tree(&place, "all"), ". ./data ./data/file");
    clean(&place);
}

#[test]
fn files_go_in_and_out_of_containers_that_run_and_that_do_not() {
    let place = Place::new();
    source(&place);
    for driver in DRIVERS {
        let options = ["--storage-driver", driver, "-v", "data:/data"];
        runs(&place, "running", &options, "true");
        ran(&place, "ended", &options, "true");
        let words = [&["create", "--name", "made"], &options[..]].concat();
        place.usnea(&place.kept(&words, "cat /new/deep/two /data/file")).works();
        for name in ["running", "ended", "made"] {
            let of = |path: &str| format!("{name}:{path}");
            cp(&place, "src", &of("/new")).works();
            cp(&place, "src/one", &of("/data/file")).works();
            let out = format!("{driver}-{name}");
            cp(&place, &of("/new"), &out).works();
            assert_eq!(tree(&place, &out), WHOLE, "{driver} {name}");
            let (one, same) =
                (place.path(&format!("{out}/one")), place.path(&format!("{out}/same")));
            assert_eq!(one.metadata().unwrap().ino(), same.metadata().unwrap().ino());
            cp(&place, &of("/data/file"), "back").works();
            assert_eq!(place.read("back"), "1\n", "{driver} {name}");
        }
        // What was copied in is there when it is started.
        assert_eq!(place.usnea(&["start", "-a", "made"]).works(), "2\n1", "{driver}");
        clean(&place);
    }
}

#[test]
fn where_it_comes_to_lie_is_docker_s_rule() {
    let place = Place::new();
    source(&place);
    let script = "mkdir /dir /other; echo old > /file; ln -s dir /to-dir; ln -s file /to-file";
    runs(&place, "box", &[], script);
    let into = |from: &str, to: &str| cp(&place, from, &format!("box:{to}"));
    let shown = |path: &str| {
        let out = place.folder("shown");
        std::fs::remove_dir_all(&out).unwrap();
        cp(&place, &format!("box:{path}"), "shown").works();
        tree(&place, "shown")
    };
    // A file: by another name, into a folder, over a file, through links.
    into("src/one", "/renamed").works();
    into("src/one", "/dir").works();
    into("src/deep/two", "/to-dir/").works();
    assert_eq!(shown("/dir"), ". ./one ./two");
    into("src/one", "/to-file").works();
    cp(&place, "box:/file", "file").works();
    assert_eq!(place.read("file"), "1\n");
    into("src/one", "/none/").fails_with(125, &["/none/: no such folder"]);
    into("src/one", "/none/x").fails_with(125, &["no such file or directory"]);
    // A folder: becomes the new one, goes into the one that is there; or what is in it does.
    into("src", "/fresh").works();
    assert_eq!(shown("/fresh"), WHOLE);
    into("src", "/fresh").works();
    assert_eq!(shown("/fresh/src"), WHOLE);
    into("src/.", "/other").works();
    assert_eq!(shown("/other"), WHOLE);
    into("src/.", "/born").works();
    assert_eq!(shown("/born/."), WHOLE);
    into("src", "/file").fails_with(125, &["a folder cannot be copied over what is none"]);
    // Out of it.
    cp(&place, "box:/to-dir", "a-link").works();
    assert_eq!(std::fs::read_link(place.path("a-link")).unwrap().to_str(), Some("dir"));
    place.usnea(&["cp", "-L", "box:/to-dir", "followed"]).works();
    assert_eq!(tree(&place, "followed"), ". ./one ./two");
    cp(&place, "box:/to-dir/", "followed-too").works();
    assert_eq!(tree(&place, "followed-too"), ". ./one ./two");
    cp(&place, "box:/nothing", "x").fails_with(125, &["/nothing", "no such file or directory"]);
    cp(&place, "box:/file/", "x").fails_with(125, &["/file/", "not a directory"]);
    cp(&place, "nobody:/x", "x").fails_with(125, &["no container is called 'nobody'"]);
    cp(&place, "src", "file").fails_with(125, &["neither of the two"]);
    cp(&place, "box:/a", "box:/b").fails_with(125, &["both are in containers"]);
    clean(&place);
}

#[test]
fn a_folder_and_a_file_replace_each_other_with_overwrite() {
    let place = Place::new();
    place.write("a/name/file", "");
    place.write("b/name", "");
    runs(&place, "box", &[], "true");
    cp(&place, "a", "box:/box").works();
    cp(&place, "b/.", "box:/box").fails_with(125, &["what is no folder cannot be copied over one"]);
    place.usnea(&["cp", "--overwrite", "b/.", "box:/box"]).works();
    cp(&place, "a/.", "box:/box").fails_with(125, &["a folder cannot be copied over what is none"]);
    place.usnea(&["cp", "--overwrite", "a/.", "box:/box"]).works();
    cp(&place, "box:/box/name/file", "here").works();
    clean(&place);
}

#[test]
fn a_stream_is_a_tar_both_ways() {
    let place = Place::new();
    source(&place);
    runs(&place, "box", &[], "mkdir /dir");
    let shell = |script: &str| {
        let whole = format!(
            "set -e; usnea() {{ '{}' \"$@\"; }}\n{script}",
            text(&crate::support::binary())
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &whole]);
        place.prepare(&mut command);
        finish(&mut command, "")
    };
    shell("tar -c src | usnea cp - box:/dir").works();
    shell("tar -cz src/one | usnea cp - box:/dir/src/deep").works();
    let listed = shell("usnea cp box:/dir/src - | tar -t | sort | tr '\\n' ' '");
    let expected =
        "src/ src/deep/ src/deep/src/ src/deep/src/one src/deep/two src/link src/one src/same";
    assert_eq!(listed.works(), expected);
    assert_eq!(shell("usnea cp box:/dir/src/. - | tar -t | head -n 1").works(), "./");
    shell("usnea cp box:/dir/src/one - | tar -xO").works();
    let said = |script: &str, words: &str| {
        let ran = shell(script);
        assert!(ran.status == 125 && ran.stderr.contains(words), "{script}: {ran:?}");
    };
    said("usnea cp - box:/dir < src/one", "cut off");
    said("usnea cp - box:/nothing < /dev/null", "/nothing: the archive is empty");
    said("tar -c src | usnea cp - box:/dir/src/one", "unpacked into a folder");
    said("usnea cp box:/dir/src/one /dev/null", "usnea: /dev/null: ");
    clean(&place);
}

#[test]
fn owners_are_root_s_or_those_of_the_source() {
    let place = Place::new();
    place.write("file", "");
    std::fs::set_permissions(place.path("file"), PermissionsExt::from_mode(0o4751)).unwrap();
    let uid = rustix::process::getuid().as_raw();
    runs(&place, "box", &[], "true");
    let listed = |path: &str| {
        let out = place.path("out.tar");
        let mut command = place.command(&["cp", path, "-"]);
        command.stdout(std::fs::File::create(&out).unwrap());
        assert!(command.status().unwrap().success());
        let mut tar = std::process::Command::new("tar");
        finish(tar.args(["--numeric-owner", "-tvf", text(&out)]), "").works().to_owned()
    };
    cp(&place, "file", "box:/plain").works();
    assert!(listed("box:/plain").starts_with("-rwsr-x--x 0/0 "), "{}", listed("box:/plain"));
    place.usnea(&["cp", "-a", "file", "box:/alike"]).works();
    let alike = listed("box:/alike");
    assert!(alike.starts_with(&format!("-rwsr-x--x {uid}/")), "{alike}");
    // On the host it is ours, and gives nobody our powers.
    cp(&place, "box:/alike", "copy").works();
    let metadata = place.path("copy").metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (uid, 0o751));
    clean(&place);
}

#[test]
fn the_container_s_own_ids_are_meant() {
    if !crate::support::need_subids() {
        return;
    }
    let place = Place::new();
    place.write("file", "");
    let driver = |users| if users == "host" { "overlay" } else { "fuse" };
    let kinds = ["host", "keep-id", "nomap"].map(|users| (users, driver(users)));
    for (users, driver) in kinds.into_iter().chain([("keep-id", "copy")]) {
        let volume = format!("{users}-{driver}:/v");
        let options = ["--userns", users, "-u", "0", "--storage-driver", driver, "-v", &volume];
        let script = "mkdir -p /d /v/d && chown 5:6 /d /v/d";
        let (running, ended) = (format!("{users}-{driver}-runs"), format!("{users}-{driver}"));
        runs(&place, &running, &options, script);
        ran(&place, &ended, &options, script);
        for (name, folder) in
            [(&running, "/d"), (&running, "/v/d"), (&ended, "/d"), (&ended, "/v/d")]
        {
            cp(&place, "file", &format!("{name}:{folder}")).works();
            let out = format!("{name}-out{}", folder.replace('/', "-"));
            cp(&place, &format!("{name}:{folder}"), &out).works();
            let shell = "usnea cp \"$1\" - | tar --numeric-owner -tv"
                .replace("usnea", text(&crate::support::binary()));
            let mut command = std::process::Command::new("sh");
            place.prepare(command.args(["-c", &shell, "-", &format!("{name}:{folder}")]));
            let listed = finish(&mut command, "");
            let owners: Vec<&str> =
                listed.works().lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
            assert_eq!(owners, ["5/6", "0/0"], "{name} {folder}");
        }
    }
    clean(&place);
}

/// CVE-2018-15664, CVE-2019-14271 and their like: a link in a container leads nowhere but into the container.
#[test]
fn links_of_a_container_never_lead_out_of_it() {
    let place = Place::new();
    place.write("outside/secret", "secret\n");
    place.write("file", "file\n");
    let outside = place.path("outside");
    let script = format!(
        "mkdir -p {0}; ln -s {0} /door; ln -s ../../../../../../..{0} /up; ln -s /proc/self/root{0} /magic; ln -s {0}/secret /leak",
        outside.display()
    );
    let mut words = Vec::new();
    for driver in DRIVERS {
        runs(&place, &format!("{driver}-running"), &["--storage-driver", driver], &script);
        ran(&place, &format!("{driver}-ended"), &["--storage-driver", driver], &script);
        words.extend([format!("{driver}-running"), format!("{driver}-ended")]);
    }
    for name in &words {
        for (number, door) in ["door", "up"].iter().enumerate() {
            cp(&place, "file", &format!("{name}:/{door}/new{number}")).works();
        }
        cp(&place, "file", &format!("{name}:/magic/new")).exits(125);
        assert_eq!(tree(&place, "outside"), ". ./secret", "{name}");
        // The link's target is the container's, where there is no such file.
        place.usnea(&["cp", "-L", &format!("{name}:/leak"), "leaked"]).exits(125);
        assert!(!place.path("leaked").exists(), "{name}");
        // As it is, it is a link, which nothing is written through later.
        cp(&place, &format!("{name}:/leak"), "leaked").works();
        std::fs::remove_file(place.path("leaked")).unwrap();
        cp(&place, &format!("{name}:/door/new0"), "fetched").works();
        assert_eq!(place.read("fetched"), "file\n");
    }
    clean(&place);
}

#[test]
fn an_archive_from_a_container_is_not_unpacked_through_its_own_links() {
    let place = Place::new();
    place.folder("outside");
    place.folder("inside");
    // Such an archive no honest tar makes: a link, and then a file through it.
    let link = crate::composed::link("d", text(&place.path("outside")));
    let tar = crate::composed::layer(&[link, crate::composed::file("d/stolen", "x")]);
    place.write("evil.tar", tar);
    runs(&place, "box", &[], "mkdir /dir");
    let mut command = place.command(&["cp", "-", "box:/dir"]);
    command.stdin(std::fs::File::open(place.path("evil.tar")).unwrap());
    let ran = finish_with_input(&mut command);
    assert!(!ran.status.success(), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("'d' is no folder"), "{ran:?}");
    assert_eq!(tree(&place, "outside"), ".");
    clean(&place);
}

fn finish_with_input(command: &mut std::process::Command) -> std::process::Output {
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_file_that_is_mounted_is_written_in_its_place() {
    let place = Place::new();
    place.write("mounted", "old, and longer\n");
    place.write("new", "new\n");
    place.write("folder/conf", "newer\n");
    let volume = format!("{}:/etc/conf", text(&place.path("mounted")));
    runs(&place, "box", &["-v", &volume], "true");
    cp(&place, "new", "box:/etc/conf").works();
    assert_eq!(place.read("mounted"), "new\n");
    cp(&place, "folder/.", "box:/etc").works();
    assert_eq!(place.read("mounted"), "newer\n");
    place.usnea(&["stop", "box"]).works();
    cp(&place, "new", "box:/etc/conf").works();
    assert_eq!(place.read("mounted"), "new\n");
    clean(&place);
}

#[test]
fn copying_out_disturbs_no_process_and_copying_in_waits_for_none() {
    let place = Place::new();
    place.write("file", "");
    runs(&place, "box", &["--init", "--read-only"], "true");
    cp(&place, "box:/etc/passwd", "passwd").works();
    cp(&place, "file", "box:/etc/x").fails_with(125, &["read-only"]);
    place.usnea(&["stop", "box"]).works();
    cp(&place, "box:/etc/passwd", "passwd").works();
    // docker's: what a stopped one has may be changed.
    cp(&place, "file", "box:/etc/x").works();
    clean(&place);
}

// docker keeps these files beside the container, and mounts them for cp as it does for the container.
#[test]
fn generated_files_of_a_stopped_container_are_those_of_its_next_start() {
    let place = Place::new();
    let files = "/etc/hosts /etc/hostname /etc/resolv.conf";
    let run = ["--name", "ended", "--hostname", "named", "--add-host", "other:192.0.2.7"];
    let run = [&run[..], &["--network", "none", "--dns", "192.0.2.53"]].concat();
    let seen = place.run_kept(&run, &format!("cat {files}")).works().to_owned();
    assert!(seen.contains("192.0.2.7\tother") && seen.contains("named\n"), "{seen}");
    assert!(seen.contains("nameserver 192.0.2.53"), "{seen}");
    let mut copied = String::new();
    for file in files.split(' ') {
        place.usnea(&["cp", &format!("ended:{file}"), "copied"]).works();
        copied += &place.read("copied");
    }
    assert_eq!(copied.trim_end(), seen);
    place.usnea(&["cp", "ended:/etc", "folder"]).works();
    assert!(place.read("folder/hosts").contains("192.0.2.7\tother"));
    // A started container shows the same; the mount points themselves are no change of it.
    assert!(!place.usnea(&["diff", "ended"]).works().contains("hosts"));
    place.usnea(&["rm", "ended"]).works();
}
