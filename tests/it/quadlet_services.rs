//! Services of Quadlet files: what systemd says about them, the user that they run as, and the table of keys in the manual.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use usnea::quadlet::keys::FlagRule;

use crate::quadlet::Quadlets;
use crate::support::{binary, finish, need, source, text};

/// Runs systemd's generator of a manager; returns the folder of its units.
fn generate(quadlets: &Quadlets, manager: &str) -> std::path::PathBuf {
    let program = quadlets.place.path(&format!("usnea-{manager}-generator"));
    std::os::unix::fs::symlink(binary(), &program).expect("a link");
    let output = quadlets.place.folder(&format!("{manager}-units"));
    let mut generator = Command::new(&program);
    generator.env("QUADLET_UNIT_DIRS", &quadlets.folder).args([&output, &output, &output]);
    finish(&mut generator, "").works();
    output
}

#[test]
fn systemd_has_nothing_to_say_about_the_services_of_either_manager() {
    if !need("systemd-analyze") {
        return;
    }
    let quadlets = Quadlets::new();
    quadlets.write_examples();
    quadlets.write("owned.pod", "[Pod]\n[Service]\nUser=daemon\n");
    quadlets
        .write("owned.container", "[Container]\nImage=x\nPod=owned.pod\n[Service]\nUser=daemon\n");
    for manager in ["user", "system"] {
        let folder = generate(&quadlets, manager);
        let files = fs::read_dir(&folder).expect("units").flatten().map(|entry| entry.path());
        let services: Vec<_> = files.filter(|path| path.is_file() && !path.is_symlink()).collect();
        assert!(services.len() > 15, "{services:?}");
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", &format!("--{manager}"), "--man=no", "--recursive-errors=no"]);
        quadlets.place.prepare(verify.args(&services));
        // Units of the machine are not looked at, except for targets.
        verify.env("SYSTEMD_UNIT_PATH", format!("{}:", text(&folder)));
        let ran = finish(verify.env("XDG_RUNTIME_DIR", quadlets.place.folder("run")), "");
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{manager}");
    }
}

#[test]
fn a_service_of_the_machine_with_a_user_keeps_its_files_where_that_user_may_write() {
    let quadlets = Quadlets::new();
    let of_user = "[Service]\nUser=alice\n";
    quadlets.write("shop.pod", &format!("[Pod]\n{of_user}"));
    quadlets.write("web.container", &format!("[Container]\nImage=x\nPod=shop.pod\n{of_user}"));
    quadlets.write("roots.container", "[Container]\nImage=x\n[Service]\nUser=root\n");
    let unit = |manager: &str, name: &str| {
        let words = ["quadlet", "generate", manager, "--dryrun"];
        let ran = quadlets.quadlet(&words[1..]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let part =
            ran.stdout.split("\n---").find(|unit| unit.trim_start_matches('-').starts_with(name));
        part.expect("a unit").to_owned()
    };
    let web = unit("--system", "web.service");
    assert_eq!(web.matches("--cidfile=%t/usnea-%N/%N.cid").count(), 3, "{web}");
    assert!(web.contains("--pod-id-file %t/usnea-shop-pod/shop-pod.pod-id"), "{web}");
    assert!(web.contains("RuntimeDirectory=usnea-%N\n"), "{web}");
    let pod = unit("--system", "shop-pod.service");
    assert_eq!(pod.matches("--pod-id-file=%t/usnea-%N/%N.pod-id").count(), 3, "{pod}");
    assert!(pod.contains("RuntimeDirectory=usnea-%N\n"), "{pod}");
    for (manager, name) in [("--system", "roots.service"), ("--user", "web.service")] {
        let unit = unit(manager, name);
        assert_eq!(unit.matches("--cidfile=%t/%N.cid").count(), 3, "{unit}");
        assert!(!unit.contains("RuntimeDirectory"), "{unit}");
    }
}

#[test]
fn files_of_different_users_do_not_refer_to_each_other() {
    let quadlets = Quadlets::new();
    quadlets.write("data.volume", "[Volume]\n[Service]\nUser=bob\n");
    quadlets.write("net.network", "[Network]\n");
    quadlets.write("shop.pod", "[Pod]\n");
    for (key, theirs) in [
        ("Volume=data.volume:/x", "bob"),
        ("Network=net.network", "root"),
        ("Pod=shop.pod", "root"),
    ] {
        let content = format!("[Container]\nImage=x\n{key}\n[Service]\nUser=alice\n");
        quadlets.write("web.container", &content);
        let ran = quadlets.quadlet(&["generate", "--system", "--dryrun"]);
        let message = format!("runs as {theirs}, this one as alice: set the same User= in both");
        assert!(ran.status == 1 && ran.stderr.contains("web.container:3: "), "{ran:?}");
        assert!(ran.stderr.contains(&message), "{ran:?}");
        let ran = quadlets.quadlet(&["generate", "--user", "--dryrun"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{key}");
    }
}

/// Text of the manual without fonts and escapes.
fn manual() -> String {
    let page = fs::read_to_string(source().join("man/usnea-units.7")).expect("a manual page");
    let escapes = [("\\fB", ""), ("\\fR", ""), ("\\fI", ""), ("\\-", "-"), ("\\(aq", "'")];
    escapes.iter().fold(page, |page, (escape, character)| page.replace(escape, character))
}

#[test]
fn the_manual_has_every_key_with_its_flag_or_the_reason_against_it() {
    let page = manual();
    for (group, keys) in usnea::quadlet::key_tables() {
        let head = format!("\n[{group}]|usnea ");
        let (_, rest) = page.split_once(&head).expect(group);
        // The part of a group ends where the next one begins.
        let part = rest.split("\n.TS").next().expect("a part");
        let (table, errors) = part.split_once(".TE").expect("a table");
        let rows: BTreeMap<&str, &str> =
            table.lines().filter_map(|line| line.split_once('|')).collect();
        let shown = keys.iter().filter(|(_, rule)| !matches!(rule, FlagRule::Refused(_)));
        let known: Vec<&str> = shown.clone().map(|(key, _)| *key).collect();
        assert!(rows.keys().all(|key| known.contains(key)), "{group}: {rows:?}");
        for (key, rule) in keys {
            let meaning = rows.get(key).copied();
            match rule {
                FlagRule::Refused(reason) => {
                    let entry = errors.split("\n.TP\n").find(|entry| {
                        let keys = entry.lines().next().unwrap_or_default();
                        keys.split(", ").any(|one| one == *key)
                    });
                    let entry = entry.unwrap_or_else(|| panic!("{group} {key}"));
                    assert!(entry.contains(reason), "{group} {key}: {entry}");
                }
                FlagRule::Special => assert!(meaning.is_some(), "{group} {key}"),
                FlagRule::Last(flag)
                | FlagRule::Each(flag)
                | FlagRule::Words(flag)
                | FlagRule::Pairs(flag)
                | FlagRule::Switch(flag) => assert_eq!(meaning, Some(*flag), "{group} {key}"),
                FlagRule::IfTrue(flag, value) => {
                    assert_eq!(meaning, Some(&*format!("{flag} {value}")), "{group} {key}");
                }
                FlagRule::Security(prefix) => {
                    assert_eq!(meaning, Some(&*format!("--security-opt {prefix}")), "{key}");
                }
            }
        }
    }
}
