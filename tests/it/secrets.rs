//! Secrets: `usnea secret`, and `--secret` of `run` and `create`. The content is in no layer, no archive and no document.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::kills::kill_after;
use crate::stocked::Stocked;
use crate::support::{Place, finish, has_subids, text, within};

/// A content that is found wherever it is.
const CONTENT: &str = "open-sesame-4711";

/// A place with the secret `key`.
fn with_key() -> Place {
    let place = Place::new();
    create(&place, &["key"], CONTENT);
    place
}

fn create(place: &Place, words: &[&str], content: &str) -> String {
    let words = [&["secret", "create"], words].concat();
    let ran = finish(&mut place.command(&words), content);
    ran.works().to_owned()
}

/// Names below a folder whose files have the content.
fn files_with(folder: &std::path::Path) -> Vec<String> {
    let ran = std::process::Command::new("grep").args(["-rla", CONTENT]).arg(folder).output();
    let found = String::from_utf8(ran.expect("grep runs").stdout).expect("UTF-8");
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn a_secret_is_made_listed_inspected_and_removed() {
    let place = Place::new();
    let id = create(&place, &["--label", "a=1", "key", "-"], CONTENT);
    assert!(id.len() == 25 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let file = place.write("file", "other\0content");
    let other = create(&place, &["two.words", text(&file)], "");
    let mut of_variable = place.command(&["secret", "create", "--env=true", "of-env", "THE_KEY"]);
    finish(of_variable.env("THE_KEY", CONTENT), "").works();
    let list =
        |words: &[&str]| place.usnea(&[&["secret", "ls"], words].concat()).works().to_owned();
    let names = "{{.Name}} {{.Driver}}";
    assert_eq!(list(&["--format", names]), "key file\nof-env file\ntwo.words file");
    assert_eq!(list(&["-q", "-f", "name=^key$"]), id);
    assert_eq!(list(&["-q", "-f", &format!("id={}", &id[..9])]), id);
    assert_eq!(list(&["-q", "-f", "label=a"]), id);
    let table = list(&[]);
    let heading = table.lines().next().expect("a line");
    let words: Vec<&str> = heading.split_whitespace().collect();
    assert_eq!(words, ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]);
    assert!(!list(&["--noheading"]).contains("DRIVER"));

    let shown = place.usnea(&["secret", "inspect", "key", &other[..8]]).works().to_owned();
    assert!(!shown.contains(CONTENT) && !shown.contains("other"), "{shown}");
    let found: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(found[0]["ID"], id.as_str());
    assert_eq!(found[0]["Spec"]["Name"], "key");
    assert_eq!(found[0]["Spec"]["Labels"]["a"], "1");
    assert_eq!(found[0]["Spec"]["Driver"]["Name"], "file");
    assert_eq!(found[1]["Spec"]["Name"], "two.words");
    let with_content = ["secret", "inspect", "--showsecret", "-f", "{{.SecretData}}", "key"];
    assert_eq!(place.usnea(&with_content).works(), CONTENT);
    let pretty = place.usnea(&["secret", "inspect", "--pretty", "key"]).works().to_owned();
    assert!(pretty.contains(&format!("ID:              {id}\n")), "{pretty}");

    assert_eq!(place.usnea(&["secret", "exists", "key"]).status, 0);
    assert_eq!(place.usnea(&["secret", "exists", "nope"]).status, 1);
    assert_eq!(place.usnea(&["secret", "rm", "key"]).works(), id);
    let missing = place.usnea(&["secret", "rm", "key"]);
    missing.fails_with(1, &["there is no secret 'key'"]);
    missing.hints();
    place.usnea(&["secret", "rm", "--ignore", "key"]).works();
    place.usnea(&["secret", "inspect", "key"]).exits(1);
    assert_eq!(place.usnea(&["secret", "rm", "--all"]).works().lines().count(), 2);
    assert_eq!(list(&["-q"]), "");
    let template = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
    let words = ["events", "--since", "0", "--stream=false", "-f", "secret=key", "--format"];
    let events = place.usnea(&[&words[..], &[template]].concat());
    assert_eq!(events.works(), "secret create key\nsecret remove key");
}

#[test]
fn invalid_secrets_are_refused() {
    let place = with_key();
    let create = |words: &[&str], content: &str| {
        finish(&mut place.command(&[&["secret", "create"], words].concat()), content)
    };
    let taken = create(&["key", "-"], "x");
    taken.fails_with(125, &["called 'key' already"]);
    taken.hints();
    create(&["empty", "-"], "").fails_with(125, &["0 bytes", "512000"]);
    create(&["large", "-"], &"x".repeat(512_001)).fails_with(125, &["512000"]);
    create(&["a/b", "-"], "x").fails_with(125, &["a/b"]);
    create(&["new", "/nowhere"], "").fails_with(125, &["/nowhere"]);
    create(&["--env", "new", "NOT_SET_AT_ALL"], "").fails_with(125, &["NOT_SET_AT_ALL"]);
    create(&["--driver", "pass", "new", "-"], "x").fails_with(125, &["--driver pass"]);
    create(&["--driver-opts", "path=/x", "new", "-"], "x").fails_with(125, &["--driver-opts"]);
    assert_eq!(place.usnea(&["secret", "ls", "--format", "{{.Name}}"]).works(), "key");
    let run = |options: &[&str]| place.run(options, "echo ran");
    run(&["--secret", "nope"]).fails_with(125, &["--secret nope", "there is no secret"]);
    run(&["--secret", "key,colour=red"]).fails_with(125, &["colour"]);
    run(&["--secret", "key", "--secret", "key,mode=400"]).fails_with(125, &["/run/secrets/key"]);
    run(&["--secret", "key", "-v", "/tmp:/run/secrets"]).fails_with(125, &["another mount"]);
    run(&["--secret", "key,target=/x", "--tmpfs", "/x"]).fails_with(125, &["another mount"]);
    run(&["--secret", "key,uid=3999999999"]).fails_with(125, &["uid=3999999999", "not mapped"]);
    place
        .usnea(&["spec", "--secret", "key", &place.image(), "true"])
        .fails_with(125, &["--secret"]);
    let nul = place.write("nul", "a\0b");
    create(&["nul", text(&nul)], "").works();
    run(&["--secret", "nul,type=env"]).fails_with(125, &["NUL"]);
}

#[test]
fn the_files_of_the_store_are_the_owner_s_alone() {
    let place = with_key();
    place.usnea(&place.kept(&["create", "--name", "box", "--secret", "key"], "true")).works();
    let found = files_with(&place.store());
    assert_eq!(found.len(), 2, "{found:?}");
    for file in found {
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for document in [&["inspect", "box"][..], &["container", "inspect", "box"]] {
        let shown = place.usnea(document).works().to_owned();
        assert!(!shown.contains(CONTENT), "{shown}");
    }
    let secrets = "{{range .Config.Secrets}}{{.Name}} {{.UID}} {{.GID}} {{.Mode}}{{end}}";
    assert_eq!(place.usnea(&["inspect", "-f", secrets, "box"]).works(), "key 0 0 292");
    place.usnea(&["rm", "box"]).works();
    assert_eq!(files_with(&place.store()).len(), 1);
}

#[test]
fn a_secret_is_a_file_in_memory() {
    let place = with_key();
    let cat = "cat /run/secrets/key; stat -c ' %a %u %g' /run/secrets/key";
    assert_eq!(place.run(&["--secret", "key"], cat).works(), format!("{CONTENT} 444 0 0"));
    let id = place.usnea(&["secret", "ls", "-q"]).works().to_owned();
    assert!(place.run(&["--secret", &id], cat).works().starts_with(CONTENT));
    let file_system = "grep ' /run/secrets ' /proc/mounts | awk '{print $3}'";
    assert_eq!(place.run(&["--secret", "key"], file_system).works(), "tmpfs");
    for options in [&["--read-only"][..], &["--tmpfs", "/run"], &["--storage-driver", "copy"]] {
        let options = [options, &["--secret", "key,target=a/b,mode=0400"]].concat();
        let ran = place.run(&options, "cat /run/secrets/a/b; stat -c ' %a' /run/secrets/a/b");
        assert_eq!(ran.works(), format!("{CONTENT} 400"));
    }
    let elsewhere = "key,target=/etc/app/key";
    let both = ["--secret", elsewhere, "--secret", "key"];
    let script = "cat /etc/app/key; ls -A /run/secrets /etc/app";
    let ran = place.run(&both, script).works().to_owned();
    assert_eq!(ran, format!("{CONTENT}/etc/app:\nkey\n\n/run/secrets:\nkey"));
    if has_subids() {
        let owned = ["--secret", "key,uid=7,gid=8,mode=400", "-u", "7:8"];
        let stat = "cat /run/secrets/key; stat -c ' %u %g' /run/secrets/key";
        assert_eq!(place.run(&owned, stat).works(), format!("{CONTENT} 7 8"));
        let of_another = ["--secret", "key,uid=7,mode=400", "-u", "9"];
        assert!(place.run(&of_another, stat).stderr.contains("Permission denied"));
        let kept_ids = ["--userns", "keep-id", "--secret", "key"];
        assert!(place.run(&kept_ids, cat).works().starts_with(CONTENT));
    }
    place.nothing_is_left();
}

#[test]
fn a_secret_is_an_environment_variable() {
    let place = with_key();
    let options = ["--secret", "key,type=env,target=TOKEN", "-e", "TOKEN=former"];
    let ran = place.run(&options, "echo $TOKEN; env | grep -c TOKEN; ls /run/secrets");
    assert!(ran.stdout.starts_with(&format!("{CONTENT}\n1\n")), "{ran:?}");
    assert!(ran.stderr.contains("/run/secrets"), "{ran:?}");
    assert_eq!(place.run(&["--secret", "key,type=env"], "echo $key").works(), CONTENT);
}

#[test]
fn explain_shows_no_content() {
    let place = with_key();
    let image = place.image();
    let options = ["run", "--rm", "--explain", "--secret", "key", "--secret", "key,type=env"];
    let shown = place.usnea(&[&options[..], &[&image, "true"]].concat()).works().to_owned();
    assert!(shown.contains("/run/secrets/key") && !shown.contains(CONTENT), "{shown}");
    let mut logged = place.arguments(&["--secret", "key", "--secret", "key,type=env"], &["true"]);
    logged.splice(0..0, ["--log-level".to_owned(), "debug".to_owned()]);
    let ran = place.usnea(&logged);
    ran.works();
    assert!(ran.stderr.contains("secrets") && !ran.stderr.contains(CONTENT), "{}", ran.stderr);
}

#[test]
fn a_kept_container_has_its_first_content_at_every_start_and_in_exec() {
    let place = with_key();
    let secrets = ["--secret", "key", "--secret", "key,type=env,target=TOKEN"];
    let words = [&["run", "-d", "--name", "box", "--restart", "always"], &secrets[..]].concat();
    let script = "echo $TOKEN; cat /run/secrets/key; echo; sleep 1000";
    place.usnea(&place.kept(&words, script)).works();
    let lines = |count: usize| {
        let logs = || place.usnea(&["logs", "box"]).works().lines().count();
        assert!(within(Duration::from_secs(60), || logs() >= count), "{}", logs());
        let logs = place.usnea(&["logs", "box"]).works().to_owned();
        assert!(logs.lines().all(|line| line == CONTENT), "{logs}");
    };
    lines(2);
    create(&place, &["--replace", "key", "-"], "new content");
    place.usnea(&["secret", "rm", "key"]).works();
    let exec = ["exec", "box", "sh", "-c", "cat /run/secrets/key; echo \" $TOKEN\""];
    assert_eq!(place.usnea(&exec).works(), format!("{CONTENT} {CONTENT}"));
    // By a command, and by the restart policy.
    place.usnea(&["restart", "-t", "0", "box"]).works();
    lines(4);
    let pid = place.usnea(&["inspect", "-f", "{{.State.Pid}}", "box"]).works().to_owned();
    let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a PID");
    rustix::process::kill_process(pid, Signal::KILL).expect("a signal");
    lines(6);
    place.usnea(&["container", "clone", "box", "twin"]).works();
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    place.usnea(&["start", "twin"]).works();
    let exec = ["exec", "twin", "cat", "/run/secrets/key"];
    assert_eq!(place.usnea(&exec).works(), CONTENT);
    place.usnea(&["rm", "-f", "-t", "0", "twin"]).works();
    assert_eq!(files_with(&place.store()), [""; 0]);
    place.nothing_is_left();
}

#[test]
fn no_layer_and_no_archive_has_a_secret() {
    let stocked = Stocked::new();
    let place = &stocked.place;
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    place.write("tree/bin/sh", &busybox);
    let script = format!(
        "chmod 755 {0}/tree/bin/sh; tar -C {0}/tree -cf {0}/tree.tar .; usnea import {0}/tree.tar app\n\
         printf %s {CONTENT} | usnea secret create key -\n\
         usnea run --name box --secret key --secret key,target=/etc/key --secret key,type=env,target=T app sh -c \
         'read key < /etc/key; test \"$T\" = \"$key\" && : > /mine'\n\
         usnea export box > {0}/box.tar; usnea commit box done; usnea save -o {0}/done.tar done\n\
         usnea diff box",
        place.path("").display()
    );
    let ran = stocked.shell(&script);
    let changes = ran.works();
    assert!(changes.contains("A /mine"), "{changes}");
    assert!(!changes.contains("/run/secrets") && !changes.contains("/etc/key"), "{changes}");
    let document = stocked.usnea(&["image", "inspect", "done"]).works().to_owned();
    assert!(!document.contains(CONTENT), "{document}");
    for archive in ["box.tar", "done.tar"] {
        assert_eq!(files_with(&place.path(archive)), [""; 0]);
    }
    // In the folder of the container, and in that of the secrets, and nowhere in a layer or a blob.
    let found = files_with(&place.store());
    assert!(found.iter().all(|file| file.contains("/secrets/")) && found.len() == 2, "{found:?}");
    let ran = stocked.usnea(&["run", "--rm", "done", "sh", "-c", "cat /etc/key /run/secrets/*"]);
    assert!(!ran.stdout.contains(CONTENT), "{ran:?}");
    stocked.usnea(&["rm", "box"]).works();
    place.nothing_is_left();
}

#[test]
fn a_unit_of_systemd_has_the_flag_and_not_the_content() {
    let place = with_key();
    let words = ["create", "--name", "box", "--secret", "key,mode=400"];
    place.usnea(&place.kept(&words, "true")).works();
    let unit = place.usnea(&["generate", "systemd", "--new", "--name", "box"]).works().to_owned();
    assert!(unit.contains("--secret key,mode=400") && !unit.contains(CONTENT), "{unit}");
    let file = "[Container]\nImage=app\nSecret=key,mode=400 other\n";
    place.write("units/box.container", file);
    let mut print = place.command(&["quadlet", "print", "--service", "box.container"]);
    let shown = finish(print.env("QUADLET_UNIT_DIRS", place.path("units")), "").works().to_owned();
    assert!(shown.contains("--secret key,mode=400 --secret other"), "{shown}");
    place.usnea(&["rm", "box"]).works();
    place.nothing_is_left();
}

#[test]
fn a_command_that_is_killed_leaves_the_old_secret_or_the_new_one() {
    let stocked = Stocked::new();
    let place = &stocked.place;
    let old = place.write("old", CONTENT);
    stocked.usnea(&["secret", "create", "key", text(&old)]).works();
    let new = place.write("new", "x".repeat(400_000));
    for milliseconds in 0..20 {
        let words = ["secret", "create", "--replace", "key", text(&new)];
        kill_after(&stocked, &words, Signal::KILL, Duration::from_millis(milliseconds));
        let words = ["secret", "inspect", "--showsecret", "-f", "{{.SecretData}}", "key"];
        let now = stocked.usnea(&words).works().to_owned();
        assert!(now == CONTENT || now.len() == 400_000, "{} bytes", now.len());
    }
    assert_eq!(stocked.usnea(&["secret", "rm", "--all"]).works().lines().count(), 1);
    place.nothing_is_left();
}
