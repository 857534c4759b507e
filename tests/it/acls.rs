//! ACLs of files and folders through commit, export, save and cp. A mask is never the right of a group (moby#40553).

use crate::stocked::Stocked;
use crate::support::{has_subids, need, need_subids, text};

const TOOLS: &str = "host:sh,setfacl,getfacl,touch,mkdir,stat,cat";

/// Modes, and the entries of ACLs that name somebody.
const LOOK: &str = "stat -c %A /f /d /d/old /d/sub; touch /d/new; getfacl -pn /f /d /d/sub /d/new | \
                    while read line; do case $line in *r:[0-9]*|*p:[0-9]*|*k:*) echo $line;; esac; done";

fn programs() -> bool {
    ["setfacl", "getfacl"].iter().all(|program| need(program))
}

/// Runs a container `box` whose files have ACLs for `user`.
fn place(user: u32) -> Stocked {
    let place = Stocked::new();
    let script = format!(
        "umask 022; touch /f; setfacl -m u:{user}:rw /f; mkdir -p /d/sub; touch /d/old
         setfacl -d -m u:{user}:rwx,g:0:r /d"
    );
    place.usnea(&["run", "--name", "box", TOOLS, "sh", "-c", &script]).works();
    place
}

#[test]
fn acls_and_default_acls_are_kept_by_commit_save_and_export() {
    if !programs() || !need_subids() {
        return;
    }
    let place = place(12);
    let expected = "-rw-rw-r--\ndrwxr-xr-x\n-rw-r--r--\ndrwxr-xr-x
user:12:rw-\nmask::rw-
default:user:12:rwx\ndefault:group:0:r--\ndefault:mask::rwx
user:12:rwx #effective:rw-\ngroup:0:r--\nmask::rw-";
    let look = |image: &str, driver: &str| {
        let flag = format!("--storage-driver={driver}");
        let ran = place.usnea(&["run", "--rm", &flag, image, "sh", "-c", LOOK]);
        let seen = ran.works().replace('\t', " ");
        assert_eq!(squeezed(&seen), expected, "{image} {driver}");
    };
    place.usnea(&["commit", "-q", "box", "made"]).works();
    for driver in crate::support::drivers() {
        look("made", driver);
    }
    // A second layer adds a file to the folder: it must not inherit what the folder gives to files of containers.
    place.usnea(&["run", "--name", "more", "made", "sh", "-c", "touch /d/more"]).works();
    place.usnea(&["commit", "-q", "more", "more"]).works();
    for driver in crate::support::drivers() {
        look("more", driver);
    }
    place.usnea(&["save", "-q", "-o", "made.tar", "made"]).works();
    place.usnea(&["rmi", "-f", "more", "made"]).works();
    place.usnea(&["load", "-q", "-i", "made.tar"]).works();
    look("made", "copy");
    place.usnea(&["export", "-o", "box.tar", "box"]).works();
    place.usnea(&["import", "-q", "box.tar", "imported"]).works();
    look("imported", "copy");
    place.usnea(&["check"]).works();
    place.usnea(&["rm", "box", "more"]).works();
}

/// Without spaces that only align columns.
fn squeezed(text: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

/// Where an ACL cannot be kept, its group has what the group had.
#[test]
fn a_mask_is_never_the_right_of_the_group() {
    if !programs() {
        return;
    }
    let place = place(0);
    let mode = |file: &str| place.other("stat", &["-c", "%A", file]).works().to_owned();
    let out = place.place.path("out");
    place.usnea(&["cp", "box:/f", text(&out)]).works();
    assert_eq!(mode(text(&out)), "-rw-r--r--");
    place.usnea(&["commit", "-q", "box", "made"]).works();
    let ran = place.usnea(&["run", "--rm", "made", "sh", "-c", "stat -c %A /f"]);
    let kept = if has_subids() { "-rw-rw-r--" } else { "-rw-r--r--" };
    assert_eq!(ran.works(), kept);
    place.usnea(&["rm", "box"]).works();
}
