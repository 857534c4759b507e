//! Containers of single-file images: the same files as from the store, whatever the storage driver, and the whole life of
//! a container that is kept.

use serde_json::json;

use crate::composed::{Composed, file, folder, layer, link, small_root};
use crate::stocked::Stocked;
use crate::support::{drivers, has_subids, need};

/// A place with `localhost/image` in its store, and the same image in the file `x.sqsh`.
fn place() -> Stocked {
    let place = Stocked::new();
    let more = layer(&[
        folder("d").owner(5, 6).mode(0o1775),
        file("d/set", "one\n").owner(12, 34).mode(0o4751),
        file("d/worker", "two\n").owner(1000, 1001).mode(0o640),
        folder("d/deep"),
        file("d/deep/file", "three\n"),
        link("d/link", "deep/file"),
        file("etc/hosts", "192.0.2.9 of-image\n"),
    ]);
    let config = json!({
        "Env": ["FROM=image"], "WorkingDir": "/d", "Cmd": ["sh", "-c", "echo default $FROM; pwd"],
        "Labels": {"note": "kept"}, "StopSignal": "SIGKILL", "Healthcheck": {"Test": ["CMD", "true"]},
    });
    Composed::of(&[small_root(&place), more]).config(config).write(&place, "layout");
    place.usnea(&["load", "-q", "-i", "layout"]).works();
    let id = place.usnea(&["images", "-q"]).works().to_owned();
    place.usnea(&["tag", &id, "localhost/image"]).works();
    place.usnea(&["save", "--format", "squashfs", "-o", "x.sqsh", "localhost/image"]).works();
    place
}

/// Facts and contents of the image's files, without those that usnea writes in each container.
const LISTING: &str =
    "cd /; find bin d etc root tmp ! -name hosts ! -name resolv.conf ! -name hostname ! -name passwd ! -name group | sort |
    while read -r f; do stat -c '%n %F %a %u:%g %Y %h' \"$f\"; done
    find d etc root -type f ! -name hosts ! -name resolv.conf ! -name hostname ! -name passwd ! -name group | sort |
    while read -r f; do echo $f; cat \"$f\" 2>&1; done; readlink d/link; readlink bin/sh";

#[test]
fn a_file_shows_the_same_files_as_the_image_in_the_store() {
    let place = place();
    for driver in drivers() {
        for users in [&[][..], &["--userns", "keep-id"]] {
            if driver == "overlay" && !users.is_empty() {
                continue;
            }
            let words = [&["run", "--rm", "--storage-driver", driver], users].concat();
            let listed = |image: &str| {
                let ran = place.usnea(&[&words[..], &[image, "sh", "-c", LISTING]].concat());
                ran.works().to_owned()
            };
            let (stored, inplace) = (listed("localhost/image"), listed("sqsh:x.sqsh"));
            assert!(stored.contains("d/set") && stored.contains("root/.profile"), "{stored}");
            // With a single ID the store drops this bit of a file that is not root's. The bit has no effect there: the
            // one ID owns all files.
            let inplace = match has_subids() {
                true => inplace,
                false => inplace.replace("d/set regular file 4751 ", "d/set regular file 751 "),
            };
            assert_eq!(inplace, stored, "{driver} {users:?}");
        }
    }
}

#[test]
fn the_configuration_in_the_file_counts() {
    let place = place();
    assert_eq!(place.usnea(&["run", "--rm", "./x.sqsh"]).works(), "default image\n/d");
    let hosts = ["run", "--rm", "--hosts-file", "image", "./x.sqsh", "cat", "/etc/hosts"];
    assert!(place.usnea(&hosts).works().contains("of-image"));
    let user = if has_subids() { "worker" } else { "root" };
    let explained = ["run", "--rm", "--explain", "--user", user, "./x.sqsh", "id"];
    assert!(place.usnea(&explained).works().contains("usnea mount squashfs "));
    let ran = place.usnea(&["run", "--rm", "--user", user, "./x.sqsh", "id", "-un"]);
    assert_eq!(ran.works(), user);
    let nobody = ["run", "--rm", "--user", "nobody", "./x.sqsh", "id"];
    place.usnea(&nobody).fails_with(125, &["nobody"]);
    let read_only = ["run", "--rm", "--read-only", "./x.sqsh", "touch", "/d/new"];
    let refused = place.usnea(&read_only);
    refused.exits(1);
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");
    let volume = ["run", "--rm", "-v", ".:/d/deep", "./x.sqsh", "test", "-f", "/d/deep/x.sqsh"];
    place.usnea(&volume).works();
    let itself = ["run", "--rm", "--rw-root", "./x.sqsh", "true"];
    place.usnea(&itself).fails_with(125, &["--rw-root: a single-file image is only read"]);
    let other = ["run", "--rm", "--pull", "always", "./x.sqsh", "true"];
    place.usnea(&other).fails_with(125, &["nothing is pulled for it"]);
    for template in
        ["{{json .Config}}", "{{.Id}} {{.Digest}}", "{{.RepoTags}}", "{{.RootFS.Layers}}"]
    {
        assert_eq!(place.field("./x.sqsh", template), place.field("localhost/image", template));
    }
    place
        .shell(
            "usnea image exists ./x.sqsh; ! usnea image exists ./none; ! usnea image exists sqsh:layout
            usnea export localhost/image | tar -tv --numeric-owner | sort > stored
            usnea export sqsh:x.sqsh | tar -tv --numeric-owner | sort > inplace
            cut -c 2-10 stored > modes; cut -c 2-10 inplace | cmp - modes; grep -q 'd/deep/file$' inplace",
        )
        .works();
}

#[test]
fn a_container_of_a_file_lives_as_any_other() {
    let place = place();
    for driver in drivers() {
        let script = format!(
            "usnea create --name web --storage-driver {driver} -e MORE=1 sqsh:x.sqsh \
                sh -c 'echo new > /d/new; rm -f /d/worker; echo on >> /d/deep/file; sleep 1000' > /dev/null
            file=$(pwd)/x.sqsh; mkdir -p elsewhere; cd elsewhere
            [ \"$(usnea ps -a --format '{{{{.Image}}}}')\" = \"$file\" ]
            [ \"$(usnea inspect -f '{{{{.Image}}}} {{{{.ImageName}}}}' web)\" = \"$file $file\" ]
            [ \"$(usnea inspect -f '{{{{.Config.Labels.note}}}} {{{{.Config.Healthcheck.Test}}}}' web)\" = 'kept [CMD true]' ]
            usnea cp web:/d/set - | tar -t | grep -q set
            usnea start web > /dev/null
            until usnea exec web test -e /d/new 2> /dev/null; do sleep 0.1; done
            until usnea exec web grep -q on /d/deep/file; do sleep 0.1; done
            usnea diff web | sort > running; usnea stop web > /dev/null
            usnea diff web | sort > stopped; cmp running stopped
            [ \"$(grep -v hosts stopped | tr '\\n' ' ')\" = 'A /d/new C /d C /d/deep C /d/deep/file D /d/worker ' ]
            usnea cp web:/d/new got; [ \"$(cat got)\" = new ]
            usnea export web | tar -xO d/deep/file | grep -q on
            usnea commit -q web localhost/made:{driver} > /dev/null
            usnea restart web > /dev/null; usnea rm -f -t 0 web > /dev/null; cd ..
            usnea run --rm localhost/made:{driver} sh -c 'cat /d/new /d/set; test ! -e /d/worker; echo $FROM $MORE; pwd'"
        );
        assert_eq!(place.shell(&script).works(), "new\none\nimage 1\n/d", "{driver}");
    }
    place.place.nothing_is_left();
}

#[test]
fn a_replaced_or_missing_file_is_reported_at_the_next_start() {
    let place = place();
    let ran = place.shell(
        "usnea create --name web ./x.sqsh true > /dev/null; usnea start -a web
        cp x.sqsh y.sqsh; mv x.sqsh old.sqsh; mv y.sqsh x.sqsh",
    );
    ran.works();
    let said = ["container web", "x.sqsh is not the recorded file: it was replaced or written"];
    place.usnea(&["start", "web"]).fails_with(1, &said);
    std::fs::remove_file(place.place.path("x.sqsh")).expect("a file");
    place.usnea(&["start", "web"]).fails_with(1, &["x.sqsh: No such file or directory"]);
    place.shell("mv old.sqsh x.sqsh; usnea start -a web; usnea rm web").works();
}

#[test]
fn other_files_are_no_images() {
    let place = place();
    place
        .shell(
            "head -c 5000 x.sqsh > short; echo text > text; : > empty; mkfifo fifo; mkdir folder
            cp x.sqsh closed; chmod 0 closed; printf hsqs > magic",
        )
        .works();
    for (name, said) in [
        ("short", "truncated"),
        ("text", "no squashfs image"),
        ("empty", "no squashfs image"),
        ("magic", "shorter than a superblock"),
        ("fifo", "no regular file"),
        ("folder", "no regular file"),
        ("closed", "Permission denied"),
        ("none", "No such file"),
    ] {
        place.usnea(&["run", "--rm", &format!("sqsh:{name}"), "true"]).fails_with(125, &[said]);
        if name != "folder" {
            let said =
                if said.starts_with("no squashfs") { "neither a root directory" } else { said };
            place.usnea(&["run", "--rm", &format!("./{name}"), "true"]).fails_with(125, &[said]);
        }
    }
    place.place.nothing_is_left();
}

/// The kernel keeps what it has read: files that nobody has opened yet are gone.
#[test]
fn a_file_that_is_truncated_while_it_runs_gives_errors_for_what_is_missing() {
    if !need("mksquashfs") {
        return;
    }
    let place = Stocked::new();
    place.place.small_root();
    let ran = place.shell(
        "mkdir root/many; for n in $(seq 30); do head -c 1000000 /dev/urandom > root/many/f$n; done
        mksquashfs root t.sqsh -comp zstd -quiet -no-progress > /dev/null
        for driver in overlay fuse; do
            cp t.sqsh u.sqsh
            usnea run -d --name web --storage-driver $driver ./u.sqsh sleep 1000 > /dev/null
            usnea exec web sh -c 'cat /bin/busybox > /dev/null; ls -l /many > /dev/null'
            truncate -s 15000000 u.sqsh
            usnea exec web sh -c 'good=0; bad=0; n=0
                while [ $n -lt 30 ]; do n=$((n + 1)); if cat /many/f$n > /dev/null 2>> /errors; then good=$((good + 1)); else bad=$((bad + 1)); fi; done
                [ $good -gt 3 ] && [ $bad -gt 3 ]; echo alive > /written; cat /written; grep -q \"put/output error\" /errors'
            usnea rm -f -t 0 web > /dev/null
        done",
    );
    ran.works();
    place.place.nothing_is_left();
}
