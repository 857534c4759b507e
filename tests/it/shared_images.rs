//! Servers of images: containers of one user share the server of an image, and it ends with the last of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::image_volumes::image;
use crate::support::{Place, Process, Ran, Started, finish, need, processes, text, within};

const PATIENCE: Duration = Duration::from_secs(30);

/// Commands of one user with a runtime folder, and so a holder of images, of their own.
pub struct Sharing {
    pub place: Place,
    image: String,
}

impl Sharing {
    pub fn new() -> Option<Self> {
        if !need("mksquashfs") {
            return None;
        }
        let place = Place::new();
        let runtime = place.folder("runtime");
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("a closed folder");
        let image = text(&image(&place, "image")).to_owned();
        Some(Self { place, image })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(words);
        command.env("XDG_RUNTIME_DIR", self.place.path("runtime"));
        command
    }

    pub fn usnea(&self, words: &[&str]) -> Ran {
        finish(&mut self.command(words), "")
    }

    /// Words of a `run` with the image at /data.
    fn words(&self, options: &[&str], script: &str) -> Vec<String> {
        let (root, volume) = (self.place.image(), format!("{}:/data:squashfs", self.image));
        let words = [&["run", "-v", &volume], options, &[&root, "sh", "-c", script]].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    fn run(&self, options: &[&str], script: &str) -> Ran {
        let words = self.words(options, script);
        self.usnea(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a container in the background that runs until it is removed.
    pub fn start(&self, name: &str) {
        self.run(&["-d", "--name", name], "exec sleep 1000").works();
    }

    pub fn exec(&self, name: &str, script: &str) -> Ran {
        self.usnea(&["exec", name, "sh", "-c", script])
    }

    pub fn remove(&self, name: &str) {
        self.usnea(&["rm", "-f", "-t", "0", name]).works();
    }

    fn servers(&self) -> Vec<i32> {
        servers_of(Path::new(&self.image))
    }

    fn holders(&self) -> Vec<i32> {
        with_open(&[&self.place.path("runtime/usnea/images")])
    }

    fn sockets(&self) -> usize {
        let entries = fs::read_dir(self.place.path("runtime/usnea/images")).into_iter().flatten();
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".sock")).count()
    }

    /// Waits until servers, holder and socket are gone.
    #[track_caller]
    pub fn ends(&self) {
        let left = || (self.servers(), self.holders(), self.sockets());
        assert!(within(PATIENCE, || left() == (vec![], vec![], 0)), "left: {:?}", left());
        self.place.nothing_is_left();
    }

    #[track_caller]
    fn has(&self, servers: usize, holders: usize) {
        let found = || (self.servers().len(), self.holders().len());
        assert!(within(PATIENCE, || found() == (servers, holders)), "{:?}", found());
    }
}

/// Numbers of the processes that have all these files open.
fn with_open(paths: &[&Path]) -> Vec<i32> {
    let opens = |process: &Process| {
        let links = fs::read_dir(format!("/proc/{}/fd", process.number)).into_iter().flatten();
        let links = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
        let links: Vec<_> = links.collect();
        paths.iter().all(|path| links.iter().any(|link| link == path)) && process.runs()
    };
    processes().into_iter().filter(opens).map(|process| process.number).collect()
}

/// Servers of the image at `path`. Monitors have a root's image open too.
pub fn servers_of(path: &Path) -> Vec<i32> {
    with_open(&[path, Path::new("/dev/fuse")])
}

fn kill(number: i32) {
    kill_process(Pid::from_raw(number).expect("a number"), Signal::KILL).expect("a signal");
}

#[test]
fn containers_of_one_image_have_one_server_that_ends_with_the_last_of_them() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    sharing.start("two");
    let device = |name: &str| sharing.exec(name, "stat -c %d /data").works().to_owned();
    assert_eq!(device("one"), device("two"));
    sharing.has(1, 1);
    let holder = Process { number: sharing.holders()[0] };
    assert_eq!(holder.text("cmdline").trim_end(), "usnea: image holder");
    assert_eq!(holder.text("environ").trim(), "");
    let server = sharing.servers();
    sharing.remove("one");
    assert_eq!(sharing.exec("two", "cat /data/text").works(), "hello");
    assert_eq!(sharing.servers(), server);
    // A container in the foreground shares it too, and leaves it to the other one.
    assert_eq!(sharing.run(&["--rm"], "cat /data/sub/deep").works(), "deep");
    assert_eq!(sharing.servers(), server);
    sharing.remove("two");
    sharing.ends();
}

#[test]
fn another_image_has_another_server_of_the_same_holder() {
    let Some(sharing) = Sharing::new() else { return };
    let other = image(&sharing.place, "other");
    sharing.start("one");
    let both = format!("{}:/other:squashfs", text(&other));
    let ran = sharing.run(&["--rm", "-v", &both], "cat /data/text /other/text; sleep 0.1");
    assert_eq!(ran.works(), "hello\nhello");
    sharing.has(1, 1);
    let other = sharing.place.path("other/t.sqsh");
    assert!(within(PATIENCE, || servers_of(&other).is_empty()));
    sharing.remove("one");
    sharing.ends();
}

#[test]
fn twenty_starts_at_once_make_one_server() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.place.folder("gate");
    let gate = format!("{}:/gate", text(&sharing.place.path("gate")));
    let script = "cat /data/text; stat -c %d /data; touch /gate/$HOSTNAME; until test -e /gate/go; do sleep 0.05; done";
    let words = sharing.words(&["--rm", "-v", &gate], script);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let all: Vec<Started> =
        (0..20).map(|_| Started::new(&mut sharing.command(&words), "")).collect();
    let up = || fs::read_dir(sharing.place.path("gate")).expect("the gate").count();
    assert!(within(Duration::from_secs(120), || up() == 20), "{} are up", up());
    sharing.has(1, 1);
    sharing.place.write("gate/go", "");
    let outputs: Vec<String> = all.into_iter().map(|one| one.end().works().to_owned()).collect();
    assert!(outputs.iter().all(|output| *output == outputs[0]), "{outputs:?}");
    sharing.ends();
}

#[test]
fn the_death_of_a_monitor_leaves_no_server() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    sharing.has(1, 1);
    let form = "{{.State.ConmonPid}}";
    let monitor = sharing.usnea(&["inspect", "-f", form, "one"]);
    kill(monitor.works().parse().expect("a number"));
    let left = || (sharing.servers(), sharing.holders(), sharing.sockets());
    assert!(within(PATIENCE, || left() == (vec![], vec![], 0)), "left: {:?}", left());
    sharing.remove("one");
    sharing.ends();
}

#[test]
fn a_killed_server_is_reported_and_the_next_start_has_a_new_one() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    sharing.has(1, 1);
    kill(sharing.servers()[0]);
    let fails = || sharing.exec("one", "ls /data > /dev/null 2>&1").status != 0;
    assert!(within(PATIENCE, fails));
    let logged = || {
        sharing.usnea(&["logs", "one"]).stderr.contains("the file server of the container has died")
    };
    assert!(within(PATIENCE, logged), "{:?}", sharing.usnea(&["logs", "one"]));
    sharing.start("two");
    assert_eq!(sharing.exec("two", "cat /data/text").works(), "hello");
    sharing.has(1, 1);
    sharing.remove("one");
    assert_eq!(sharing.exec("two", "cat /data/text").works(), "hello");
    sharing.remove("two");
    sharing.ends();
}

#[test]
fn containers_go_on_without_their_holder_and_the_next_start_replaces_it() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    sharing.has(1, 1);
    kill(sharing.holders()[0]);
    assert_eq!(sharing.exec("one", "cat /data/text").works(), "hello");
    assert_eq!(sharing.sockets(), 1);
    sharing.start("two");
    sharing.has(2, 1);
    assert_eq!(sharing.exec("two", "cat /data/text").works(), "hello");
    sharing.remove("one");
    sharing.has(1, 1);
    sharing.remove("two");
    sharing.ends();
}

#[test]
fn the_socket_of_a_killed_holder_is_removed_by_a_repair_and_by_prune() {
    let Some(sharing) = Sharing::new() else { return };
    for words in [
        &["check", "--repair"][..],
        &["container", "prune", "--force"],
        &["system", "prune", "--force"],
    ] {
        sharing.start("one");
        sharing.usnea(words).works();
        assert_eq!(sharing.sockets(), 1, "that of a holder that lives");
        kill(sharing.holders()[0]);
        sharing.remove("one");
        sharing.has(0, 0);
        assert_eq!(sharing.sockets(), 1);
        sharing.usnea(words).works();
        assert_eq!(sharing.sockets(), 0, "{words:?}");
    }
    sharing.ends();
}

#[test]
fn a_launch_that_is_killed_at_any_moment_leaves_nothing() {
    let Some(sharing) = Sharing::new() else { return };
    let words = sharing.words(&["--rm"], "exec sleep 1000");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for milliseconds in (0..40).map(|round| round * 3) {
        let started = Started::new(&mut sharing.command(&words), "");
        std::thread::sleep(Duration::from_millis(milliseconds));
        started.signal(Signal::KILL);
        started.end();
    }
    assert_eq!(sharing.run(&["--rm"], "cat /data/text").works(), "hello");
    sharing.ends();
}

/// The container's mounts are those of the caller, not of the holder.
#[test]
fn a_container_sees_the_files_of_its_callers_mount_namespace() {
    if !need("unshare") {
        return;
    }
    let Some(sharing) = Sharing::new() else { return };
    sharing.place.write("own/f", "outer");
    let run = |options: &str, script: &str| {
        let (own, root) = (text(&sharing.place.path("own")).to_owned(), sharing.place.image());
        let image = &sharing.image;
        format!(
            "$USNEA_BIN run {options} -v {image}:/data:squashfs -v {own}:/own {root} sh -c '{script}'"
        )
    };
    let first =
        run("--rm", "touch /own/up; cat /own/f; until test -e /own/go; do sleep 0.05; done");
    let second = run("--rm", "cat /own/f; cat /data/text; stat -c %d /data");
    let own = text(&sharing.place.path("own")).to_owned();
    let script = format!(
        "{first} & until test -e {own}/up; do sleep 0.05; done
         unshare -m sh -c \"mount -t tmpfs t {own} && echo inner > {own}/f && {second}\"
         touch {own}/go; wait",
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    sharing.place.prepare(&mut command);
    command.env("USNEA_BIN", crate::support::binary());
    command.env("XDG_RUNTIME_DIR", sharing.place.path("runtime"));
    let ran = finish(&mut command, "");
    let output = ran.works().to_owned();
    assert!(output.contains("outer"), "{output}");
    assert!(output.contains("inner\nhello\n"), "{output}");
    sharing.ends();
}

#[test]
fn other_maps_of_ids_share_the_base() {
    if !crate::support::need_subids() {
        return;
    }
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    let server = sharing.servers();
    let ran = sharing.run(&["--rm", "--userns", "keep-id"], "cat /data/text; sleep 0.1");
    assert_eq!(ran.works(), "hello");
    assert_eq!(sharing.servers(), server);
    sharing.remove("one");
    sharing.ends();
}

#[test]
fn a_container_that_joins_another_one_shares_its_image_if_that_one_does() {
    let Some(sharing) = Sharing::new() else { return };
    let root = sharing.place.image();
    let words = ["run", "-d", "--name", "zero", "--network", "none", &root, "sleep", "1000"];
    sharing.usnea(&words).works();
    sharing.run(&["-d", "--network", "none", "--name", "one"], "exec sleep 1000").works();
    let device = "stat -c %d /data; cat /data/text";
    let shared = sharing.exec("one", device).works().to_owned();
    let ran = sharing.run(&["--rm", "--network", "container:one"], device);
    assert_eq!(ran.works(), shared);
    let ran = sharing.run(&["--rm", "--network", "container:zero"], device);
    assert!(ran.works().ends_with("\nhello"));
    assert_ne!(ran.stdout.trim_end(), shared);
    sharing.remove("zero");
    sharing.remove("one");
    sharing.ends();
}

#[test]
fn containers_of_a_pod_share_an_image() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.usnea(&["pod", "create", "--name", "both", "--network", "none"]).works();
    sharing.run(&["-d", "--pod", "both", "--name", "one"], "exec sleep 1000").works();
    sharing.run(&["-d", "--pod", "both", "--name", "two"], "exec sleep 1000").works();
    let device = |name: &str| sharing.exec(name, "stat -c %d /data").works().to_owned();
    assert_eq!(device("one"), device("two"));
    sharing.has(1, 1);
    sharing.usnea(&["pod", "rm", "-f", "-t", "0", "both"]).works();
    sharing.ends();
}

/// The root of a container is one too, below the kernel's overlay. The server of usnea's own overlay reads it by itself.
#[test]
fn containers_whose_root_is_an_image_share_its_server_below_the_kernels_overlay() {
    let Some(sharing) = Sharing::new() else { return };
    let root = sharing.place.path("root.sqsh");
    let mut make = Command::new("mksquashfs");
    make.args([sharing.place.small_root().as_path(), &root]);
    finish(make.args(["-quiet", "-no-progress", "-all-root"]), "").works();
    let image = format!("sqsh:{}", text(&root));
    let start = |name: &str, driver: &str| {
        let words = ["run", "-d", "--network", "none", "--name", name, "--storage-driver", driver];
        sharing.usnea(&[&words[..], &[&image, "sleep", "1000"]].concat()).works();
    };
    let drivers = crate::support::drivers();
    let drivers: Vec<&str> = drivers.into_iter().filter(|driver| *driver != "copy").collect();
    for (index, driver) in drivers.iter().enumerate() {
        start(&format!("one{index}"), driver);
        start(&format!("two{index}"), driver);
    }
    let servers = || servers_of(&root).len();
    let count = |driver: &&str| if *driver == "fuse" { 2 } else { 1 };
    let expected: usize = drivers.iter().map(count).sum();
    assert!(within(PATIENCE, || servers() == expected), "{}", servers());
    for index in 0..drivers.len() {
        let name = format!("one{index}");
        let script = "echo new > /etc/new && cat /etc/new && wc -l < /etc/passwd && id -u";
        assert_eq!(sharing.exec(&name, script).works(), "new\n2\n0");
        sharing.remove(&name);
        let name = format!("two{index}");
        assert_eq!(sharing.exec(&name, "test -e /etc/new || echo none").works(), "none");
    }
    let ran = sharing.usnea(&["run", "--rm", "--network", "none", &image, "echo", "ran"]);
    assert_eq!(ran.works(), "ran");
    for index in 0..drivers.len() {
        sharing.remove(&format!("two{index}"));
    }
    assert!(within(PATIENCE, || servers() == 0), "{}", servers());
    sharing.ends();
}

#[test]
fn an_image_that_its_server_cannot_open_is_reported_and_leaves_nothing() {
    let Some(sharing) = Sharing::new() else { return };
    let whole = fs::read(&sharing.image).expect("an image");
    // bytes_used of the superblock: padding follows.
    let used = whole[40..48].try_into().map(u64::from_le_bytes).expect("a superblock");
    let cut = sharing.place.path("cut.sqsh");
    fs::write(&cut, &whole[..used as usize - 1]).expect("a truncated image");
    let volume = format!("{}:/cut:squashfs", text(&cut));
    let fails = || {
        let ran = sharing.run(&["--rm", "-v", &volume], "true");
        assert_eq!(ran.status, 125, "{}", ran.stderr);
        let phrase = format!("cannot mount {}: the squashfs image is truncated", text(&cut));
        assert!(ran.stderr.contains(&phrase), "{}", ran.stderr);
    };
    // With a holder of its own, which has to end; then with one that serves another container.
    fails();
    sharing.ends();
    sharing.start("one");
    fails();
    assert!(within(PATIENCE, || servers_of(&cut).is_empty()));
    assert_eq!(sharing.exec("one", "cat /data/text").works(), "hello");
    sharing.remove("one");
    sharing.ends();
}

#[test]
fn a_holder_and_its_servers_have_no_mount_of_the_caller() {
    let Some(sharing) = Sharing::new() else { return };
    sharing.start("one");
    sharing.has(1, 1);
    let points = |number: i32| {
        let mounts = Process { number }.text("mountinfo");
        let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
        let mut points: Vec<String> = mounts.lines().filter_map(point).collect();
        points.sort();
        points
    };
    // A server that had the mount of an image would keep it alive without any container.
    assert_eq!(points(sharing.servers()[0]), ["/", "/dev/fuse"]);
    let holder = points(sharing.holders()[0]);
    let own = |point: &String| !point.starts_with("/proc/") && *point != "/proc";
    let own: Vec<&String> = holder.iter().filter(|point| own(point)).collect();
    assert_eq!(own, ["/", "/0", "/dev/fuse", "/dev/null"]);
    sharing.remove("one");
    sharing.ends();
}
