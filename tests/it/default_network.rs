//! Network of a container whose flags name none: a way out, the one of the settings, or the loopback interface alone where
//! no helper can work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Place, Ran, binary, finish, need, text, within};

/// Interfaces of the container, in the order of their names.
const INTERFACES: &str = "ls /sys/class/net | sort | tr '\\n' ' '";

/// Script that hides both helpers. `$0` is the program, and the rest are its arguments.
const WITHOUT_HELPERS: &str = "mount --bind /dev/null /usr/bin/pasta && \
    mount --bind /dev/null /usr/bin/slirp4netns && exec \"$0\" \"$@\"";

/// A place with a runtime folder and settings of its own.
struct Site(Place);

impl Site {
    fn new() -> Self {
        let site = Self(Place::new());
        let folder = site.0.folder("runtime");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its mode");
        site
    }

    fn set(&self, default: &str) {
        self.0.write("config/usnea/usnea.toml", format!("[network]\ndefault = \"{default}\"\n"));
    }

    fn prepare(&self, command: &mut Command) {
        self.0.prepare(command);
        command
            .env("XDG_RUNTIME_DIR", self.0.path("runtime"))
            .env("XDG_CONFIG_HOME", self.0.path("config"));
    }

    fn usnea(&self, words: &[String]) -> Ran {
        let mut command = Command::new(binary());
        self.prepare(command.args(words));
        finish(&mut command, "")
    }

    fn run(&self, options: &[&str], script: &str) -> Ran {
        self.usnea(&self.0.arguments(options, &["sh", "-c", script]))
    }

    /// Runs usnea as root of a namespace in which `script` has changed the machine.
    fn within(&self, script: &str, words: &[String]) -> Ran {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        self.prepare(command.arg(binary()).args(words));
        finish(&mut command, "")
    }

    fn run_within(&self, script: &str, options: &[&str]) -> Ran {
        self.within(script, &self.0.arguments(options, &["sh", "-c", INTERFACES]))
    }
}

fn have_all() -> bool {
    ["pasta", "slirp4netns", "unshare"].into_iter().all(need)
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_container_has_external_connectivity_unless_flag_or_setting_disable_it() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    assert_eq!(site.run(&[], INTERFACES).works(), "eth0 lo");
    assert_eq!(site.run(&["--network", "none"], INTERFACES).works(), "lo");
    let names = site.run(&[], "cat /etc/resolv.conf; tail -n 1 /etc/hosts").works().to_owned();
    assert!(names.contains("nameserver 10.0.2.3\n"), "{names}");
    assert!(names.lines().last().is_some_and(|line| line.starts_with("10.0.2.100\t")), "{names}");
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace").display().to_string();
    for (default, interfaces) in
        [("none", "lo"), ("private", "eth0 lo"), ("bridge", "eth0 lo"), ("slirp4netns", "eth0 lo")]
    {
        site.set(default);
        assert_eq!(site.run(&[], INTERFACES).works(), interfaces, "{default}");
        assert_eq!(site.run(&["--network", "private"], INTERFACES).works(), "eth0 lo");
        assert_eq!(site.run(&["-p", "127.0.0.1::80"], INTERFACES).works(), "eth0 lo");
    }
    site.set("host");
    assert_eq!(site.run(&[], "readlink /proc/self/ns/net").works(), own);
    assert_eq!(site.run(&["-p", "127.0.0.1::80"], INTERFACES).works(), "eth0 lo");
    assert_eq!(site.run(&["--network", "none"], INTERFACES).works(), "lo");
    site.set("lan");
    let ran = site.run(&[], "true");
    ran.exits(125);
    assert!(ran.stderr.contains("usnea.toml: unknown variant `lan`"), "{ran:?}");
    site.0.nothing_is_left();
}

#[test]
fn a_container_keeps_the_network_that_it_was_created_with() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    site.usnea(&site.0.kept(&["create", "--name", "open"], INTERFACES)).works();
    site.set("none");
    site.usnea(&site.0.kept(&["create", "--name", "closed"], INTERFACES)).works();
    site.set("private");
    for (name, network, interfaces) in [("open", "bridge", "eth0 lo"), ("closed", "none", "lo")] {
        assert_eq!(site.usnea(&words(&["start", "-a", name])).works(), interfaces);
        let mode = words(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", name]);
        assert_eq!(site.usnea(&mode).works(), network);
        let filter = format!("network={network}");
        let listed =
            words(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.Networks}}"]);
        assert_eq!(site.usnea(&listed).works(), format!("{name} {network}"));
        site.usnea(&words(&["rm", name])).works();
    }
    site.0.nothing_is_left();
}

#[test]
fn without_a_helper_containers_run_with_a_single_warning() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    let first = site.run_within(WITHOUT_HELPERS, &[]);
    assert_eq!(first.works(), "lo");
    for phrase in ["pasta or slirp4netns", "install", "default = \"none\""] {
        assert!(first.stderr.contains(phrase), "{first:?}");
    }
    let second = site.run_within(WITHOUT_HELPERS, &[]);
    assert_eq!((second.works(), second.stderr.as_str()), ("lo", ""));
    // A requested network that fails is an error.
    let script = WITHOUT_HELPERS;
    site.run_within(script, &["--network", "private"]).fails_with(125, &["pasta or slirp4netns"]);
    site.run_within(script, &["-p", "80"]).fails_with(125, &["pasta or slirp4netns"]);
    // Another boot, and a site that wants it so.
    let mark = site.0.path("runtime/usnea/no-network-helper");
    fs::write(&mark, "of another boot").expect("the mark");
    assert!(site.run_within(script, &[]).stderr.contains("pasta or slirp4netns"));
    fs::remove_file(&mark).expect("the mark");
    site.set("none");
    assert_eq!(site.run_within(script, &[]).stderr, "");
    assert!(!mark.exists());
    site.0.nothing_is_left();
}

#[test]
fn a_helper_that_fails_stops_only_containers_that_asked_for_it() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    let broken = site.0.write("broken", "#!/bin/sh\necho broken on purpose >&2\nexit 1\n");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("its mode");
    let script = format!(
        "mount --bind {0} /usr/bin/pasta && mount --bind {0} /usr/bin/slirp4netns && exec \"$0\" \"$@\"",
        text(&broken)
    );
    for _ in 0..2 {
        let ran = site.run_within(&script, &[]);
        assert_eq!(ran.works(), "lo");
        assert!(ran.stderr.contains("broken on purpose"), "{ran:?}");
    }
    site.run_within(&script, &["--network", "private"]).fails_with(125, &["broken on purpose"]);
    site.run_within(&script, &["-P", "--expose", "80"]).fails_with(125, &["broken on purpose"]);
    let ran = site.within(&script, &site.0.kept(&["run", "-d", "--name", "box"], "sleep 1000"));
    assert!(ran.works().len() == 64 && ran.stderr.contains("broken on purpose"), "{ran:?}");
    let fields = "<{{.NetworkSettings.IPAddress}}> {{.State.Error}}";
    let shown = site.usnea(&words(&["inspect", "-f", fields, "box"]));
    assert!(shown.works().starts_with("<> ") && shown.stdout.contains("on purpose"), "{shown:?}");
    site.usnea(&words(&["rm", "-f", "-t", "0", "box"])).works();
    site.0.nothing_is_left();
}

#[test]
fn a_root_that_is_written_to_has_its_resolv_conf_replaced_and_gets_no_file() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    let root = site.0.small_root();
    let image = format!("dir:{}", text(&root));
    let show = |script: &str| {
        site.usnea(&words(&["run", "--rm", "--rw-root", &image, "sh", "-c", script]))
    };
    assert_eq!(show(INTERFACES).works(), "eth0 lo");
    assert!(!root.join("etc/resolv.conf").exists() && !root.join("etc/hosts").exists());
    site.0.write("root/etc/resolv.conf", "nameserver 192.0.2.1\n");
    site.0.write("root/etc/hosts", "192.0.2.2 own\n");
    let shown = show("cat /etc/resolv.conf /etc/hosts");
    assert!(shown.works().contains("nameserver 10.0.2.3"), "{shown:?}");
    assert!(shown.stdout.ends_with("192.0.2.2 own\n"), "{shown:?}");
    assert_eq!(site.0.read("root/etc/resolv.conf"), "nameserver 192.0.2.1\n");
    // A root without /etc, and one that is closed to changes.
    fs::remove_dir_all(root.join("etc")).expect("to remove it");
    assert_eq!(show("echo ran").works(), "ran");
    assert!(!root.join("etc").exists());
    site.0.nothing_is_left();
}

#[test]
fn helpers_that_failed_at_the_start_are_tried_again() {
    if !have_all() {
        return;
    }
    let site = Site::new();
    let real = site.0.path("slirp4netns");
    fs::copy("/usr/bin/slirp4netns", &real).expect("a copy");
    let mark = site.0.path("works");
    let script = format!(
        "#!/bin/sh\n[ -e {} ] && exec {} \"$@\"\necho broken on purpose >&2\nexit 1\n",
        text(&mark),
        text(&real)
    );
    let broken = site.0.write("broken", script);
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("its mode");
    let script = format!(
        "mount --bind /dev/null /usr/bin/pasta && mount --bind {} /usr/bin/slirp4netns && exec \"$0\" \"$@\"",
        text(&broken)
    );
    let ran = site.within(&script, &site.0.kept(&["run", "-d", "--name", "box"], "sleep 1000"));
    assert!(ran.works().len() == 64 && ran.stderr.contains("broken on purpose"), "{ran:?}");
    let shown =
        |format: &str| site.usnea(&words(&["inspect", "-f", format, "box"])).works().to_owned();
    assert!(shown("{{.State.Error}}").contains("broken on purpose"));
    let interfaces = || {
        let path = format!("/proc/{}/net/dev", shown("{{.State.Pid}}"));
        fs::read_to_string(path).expect("its interfaces")
    };
    assert!(!interfaces().contains("eth0"));
    fs::write(&mark, "").expect("the mark");
    let limit = std::time::Duration::from_secs(60);
    assert!(within(limit, || interfaces().contains("eth0")), "{}", shown("{{.State.Error}}"));
    let fields = "<{{.NetworkSettings.IPAddress}}> <{{.State.Error}}>";
    assert!(within(limit, || shown(fields) == "<10.0.2.100> <>"), "{}", shown(fields));
    let log = site.usnea(&words(&["logs", "box"]));
    assert!(log.stderr.contains("network helper slirp4netns started"), "{log:?}");
    site.usnea(&words(&["rm", "-f", "-t", "0", "box"])).works();
    site.0.nothing_is_left();
}
