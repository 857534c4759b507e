//! Containers in containers, with the flags that usnea-security(7) names and no more: usnea in usnea, buildah in usnea.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Place, binary, need, need_no_subids, need_subids, text};

/// Flags that both kinds of user need: the kernel refuses a new /proc and /sys where parts of the old ones are covered.
const UNMASKED: [&str; 4] =
    ["--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined"];

/// A root with usnea and another root in it.
fn with_inner() -> (Place, Vec<String>) {
    let place = Place::new();
    let inner = place.small_root();
    let outer = place.path("outer");
    crate::small_root::make(&outer);
    fs::create_dir_all(outer.join("usr/bin")).expect("a folder");
    crate::small_root::make(&outer.join("inner"));
    symlink("../usr/bin/usnea", outer.join("bin/usnea")).expect("a link");
    drop(inner);
    let program = format!("{}:/usr/bin/usnea:ro", text(&binary()));
    let words = ["run", "--rm", "-e", "HOME=/root", "-e", "USNEA_ROOT=/tmp/store", "-v", &program];
    (place, words.map(str::to_owned).into())
}

/// Runs a script in the outer container.
fn outer(place: &Place, words: &[String], options: &[&str], script: &str) -> crate::support::Ran {
    let image = format!("dir:{}", text(&place.path("outer")));
    let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
    all.extend(options);
    all.extend([image.as_str(), "sh", "-c", script]);
    place.usnea(&all)
}

const INNER: &str = "usnea run --rm --network none dir:/inner sh -c";

#[test]
fn usnea_runs_in_usnea() {
    let (place, words) = with_inner();
    let script = format!("{INNER} 'echo inner; ls /proc | grep -c ^[0-9]; hostname' && hostname");
    let options = [&UNMASKED[..], &["--root-emulation", "off"]].concat();
    let ran = outer(&place, &words, &options, &script);
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines[0], "inner", "{ran:?}");
    assert!(lines[1].parse::<u32>().is_ok_and(|count| count < 6), "{ran:?}");
    assert_ne!(lines[2], lines[3], "one host name for both: {ran:?}");
}

#[test]
fn usnea_in_usnea_has_other_ids_where_there_are_any() {
    if !need_subids() {
        return;
    }
    let (place, words) = with_inner();
    let script = format!("{INNER} 'touch f; chown 33:34 f; stat -c %u:%g f'");
    assert_eq!(outer(&place, &words, &UNMASKED, &script).works(), "33:34");
}

#[test]
fn a_container_that_keeps_its_masks_or_its_filter_says_what_an_inner_one_needs() {
    let (place, words) = with_inner();
    let off = ["--root-emulation", "off"];
    for (given, needed) in [(&UNMASKED[2..], "unmask=ALL"), (&UNMASKED[..2], "seccomp=unconfined")]
    {
        let ran = outer(&place, &words, &[&off, given].concat(), &format!("{INNER} true"));
        assert_eq!(ran.status, 125, "{ran:?}");
        assert!(ran.stderr.contains(needed), "{ran:?}");
    }
}

#[test]
fn root_is_emulated_once_and_the_second_says_so() {
    if !need_no_subids() {
        return;
    }
    let (place, words) = with_inner();
    let ran = outer(&place, &words, &UNMASKED, &format!("{INNER} true"));
    assert_eq!(ran.status, 125, "{ran:?}");
    assert!(ran.stderr.contains("--root-emulation off"), "{ran:?}");
    let script = format!("{INNER} 'touch f; chown 33:34 f && echo changed'");
    let options = [&UNMASKED[..], &["--root-emulation", "off"]].concat();
    assert_eq!(outer(&place, &words, &options, &script).works(), "changed");
}

#[test]
fn buildah_builds_in_usnea() {
    if !need("buildah") {
        return;
    }
    let place = Place::new();
    let volume = format!("{}:/new:ro", text(&place.small_root()));
    let script = "mkdir -p /etc/containers; echo '{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}' \
                  > /etc/containers/policy.json\n\
                  b() { buildah --root /tmp/s --runroot /tmp/r --storage-driver vfs \"$@\"; }\n\
                  c=$(b from scratch) && b copy -q $c /new / > /dev/null\n\
                  b run --isolation chroot $c /bin/sh -c 'echo built > /made; cat /made'\n\
                  b commit -q $c localhost/new > /dev/null; b images --format '{{.Name}}'";
    let ids = rustix::process::getuid().as_raw();
    let is_alone = !fs::read_to_string("/etc/subuid").unwrap_or_default().lines().any(|line| {
        let owner = line.split(':').next().unwrap_or_default();
        owner == ids.to_string() || Some(owner.to_owned()) == std::env::var("USER").ok()
    });
    // With one ID alone buildah would make a namespace of its own, in which it may not set groups.
    let more: &[&str] = if is_alone {
        &["--cap-add", "SYS_ADMIN", "-e", "_CONTAINERS_USERNS_CONFIGURED=done"]
    } else {
        &[]
    };
    let options = ["run", "--rm", "--security-opt", "seccomp=unconfined", "-e", "HOME=/root", "-v"];
    let words =
        [&options[..], &[&volume], more, &["host:buildah,sh,cat,mkdir", "sh", "-c", script]]
            .concat();
    assert_eq!(place.usnea(&words).works(), "built\nlocalhost/new");
}
