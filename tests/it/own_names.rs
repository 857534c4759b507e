//! Names that a container has of its own: of itself, of localhost, and of the user who runs it.

use std::os::unix::fs::MetadataExt;

use crate::support::{Place, text};

fn own_ids() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

#[test]
fn without_a_network_localhost_and_the_container_have_names() {
    let place = Place::new();
    let script =
        "cat /etc/hostname; grep -c '^127.0.0.1.localhost$' /etc/hosts; tail -n 1 /etc/hosts";
    let options = ["--hostname", "foo.bar", "--network", "none"];
    assert_eq!(place.run(&options, script).works(), "foo.bar\n1\n127.0.0.1\tfoo.bar foo");
    let by_default = place.run(&["--hostname", "foo.bar"], script);
    assert_eq!(by_default.works(), "foo.bar\n1\n10.0.2.100\tfoo.bar foo");
    // They are there to be copied, and no change of the container's.
    let options = ["-d", "--name", "box", "--hostname", "box", "--network", "none"];
    place.run_kept(&options, "sleep 1000").works();
    let hosts = place.usnea(&["cp", "box:/etc/hosts", "-"]);
    assert!(hosts.stdout.contains("127.0.0.1\tbox\n"), "{hosts:?}");
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    // What the user mounts there stays.
    let own = place.write("hosts", "own\n");
    let volume = format!("{}:/etc/hosts", text(&own));
    assert_eq!(place.run(&["-v", &volume], "cat /etc/hosts").works(), "own");
    place.nothing_is_left();
}

#[test]
fn a_root_that_is_written_to_gets_no_files_of_ours() {
    let place = Place::new();
    let root = place.small_root();
    let words = ["run", "--rm", "--rw-root", &format!("dir:{}", text(&root)), "true"];
    place.usnea(&words).works();
    assert!(!root.join("etc/hostname").exists() && !root.join("etc/hosts").exists());
    place.nothing_is_left();
}

#[test]
fn with_keep_id_the_user_has_a_name_and_a_home() {
    let place = Place::new();
    let (uid, gid) = own_ids();
    let name = std::env::var("USER").expect("a name");
    let script = "id -un; id -gn; echo $HOME; grep -c . /etc/passwd";
    let options = ["--userns", "keep-id", "-w", "/tmp"];
    let said = place.run(&options, script);
    let lines: Vec<&str> = said.works().lines().collect();
    assert_eq!((lines[0], lines[2]), (name.as_str(), "/tmp"), "{lines:?}");
    // A kept container has the lines once, however often it starts.
    let script = "id -u; id -g; grep -c \"^[^:]*:[^:]*:$(id -u):\" /etc/passwd";
    place.run_kept(&[&["--name", "box"][..], &options].concat(), script).works();
    place.usnea(&["start", "-a", "box"]).works();
    let expected = format!("{uid}\n{gid}\n1\n");
    assert_eq!(place.usnea(&["logs", "box"]).stdout, expected.repeat(2));
    place.usnea(&["rm", "box"]).works();
    // A home that is mounted is the home.
    let home = std::env::var("HOME").expect("a home");
    let folder = place.folder("home");
    let volume = format!("{}:{home}", text(&folder));
    let said = place.run(&["--userns", "keep-id", "-v", &volume], "echo $HOME");
    assert_eq!(said.works(), home);
    place.nothing_is_left();
}

#[test]
fn a_container_with_the_own_user_can_write_to_its_folder() {
    let place = Place::new();
    let (uid, gid) = own_ids();
    let folder = place.folder("project");
    let (volume, own) = (format!("{0}:{0}", text(&folder)), format!("{uid}:{gid}"));
    for user in [own, uid.to_string()] {
        let options = ["-u", &user, "-v", &volume, "-w", text(&folder)];
        assert_eq!(place.run(&options, "id -u; touch made").works(), uid.to_string());
        let made = folder.join("made").metadata().expect("what it made");
        assert_eq!((made.uid(), made.gid()), (uid, gid));
        std::fs::remove_file(folder.join("made")).expect("to remove it");
    }
    place.nothing_is_left();
}

#[test]
fn an_id_that_is_not_there_and_is_the_caller_s_names_the_way() {
    let place = Place::new();
    let (uid, _) = own_ids();
    let ran = place.run(&["-u", &uid.to_string()], "true");
    if ran.status != 0 {
        ran.fails_with(125, &["not mapped"]);
        assert!(ran.stderr.contains("hint: --userns keep-id"), "{ran:?}");
    }
    place.nothing_is_left();
}
