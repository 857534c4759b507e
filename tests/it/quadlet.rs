//! Quadlet files and the services made from them, beside those of podman's generator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use usnea::quadlet::keys::FlagRule;

use crate::support::{Place, Ran, binary, finish, text};

/// Files, and podman's services.
const ORACLE: &str = include_str!("quadlet_oracle.txt");

/// Settings in which usnea's services differ from podman's, with the reason.
const DIFFERENT: [(&str, &str, &str); 11] = [
    (
        "metrics.service",
        "PartOf",
        "podman 5.4 leaves the name of a Quadlet file as it is: there is no such unit",
    ),
    ("", "SuccessExitStatus", "stopping the service is no failure: podman's ends with status 143"),
    ("", "ExecStop", "stop: usnea's rm --force, as docker's, gives no time to end; podman's does"),
    (
        "-pod.service",
        "ExecStart",
        "a pod of usnea has no process, so creating it is all there is to start",
    ),
    ("-pod.service", "ExecStartPre", "podman creates the pod here"),
    ("-pod.service", "ExecStop", "the same words in the other order"),
    ("-pod.service", "ExecStopPost", "the same words in the other order"),
    ("-pod.service", "Type", "no process to wait for"),
    ("-pod.service", "PIDFile", "no process to name"),
    ("-pod.service", "RemainAfterExit", "active without a process"),
    ("-pod.service", "Environment", "the unit's name for auto-update, as in containers"),
];
/// Unit with which podman waits for the network, and usnea's.
const NETWORK_WAITS: [&str; 2] =
    ["podman-user-wait-network-online.service", "usnea-user-wait-network-online.service"];

/// Folder of Quadlet files.
pub struct Quadlets {
    pub place: Place,
    pub folder: PathBuf,
}

impl Quadlets {
    pub fn new() -> Self {
        let place = Place::new();
        let folder = place.folder("quadlets");
        Self { place, folder }
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(&[&["quadlet"], words].concat());
        command.env("QUADLET_UNIT_DIRS", &self.folder);
        command
    }

    pub fn quadlet(&self, words: &[&str]) -> Ran {
        finish(&mut self.command(words), "")
    }

    /// Writes the files of the oracle.
    pub fn write_examples(&self) {
        for part in ORACLE.split("\n==== ").skip(1) {
            let file = part.split("\n---- ").next().and_then(|file| file.split_once('\n'));
            let (name, content) = file.expect("a file");
            self.write(name, content);
        }
    }

    /// Services of all files: by their name the settings, without groups that systemd ignores.
    fn services(&self) -> BTreeMap<String, Settings> {
        let ran = self.quadlet(&["generate", "--user", "--dryrun"]);
        let units = ran.stdout.split("\n---").map(|unit| unit.trim_start_matches('-'));
        let unit = |unit: &str| {
            unit.split_once("---\n").map(|(name, text)| (name.to_owned(), settings(text)))
        };
        units.filter_map(unit).collect()
    }
}

/// Values by group and key.
type Settings = BTreeMap<(String, String), Vec<String>>;

fn settings(text: &str) -> Settings {
    let mut settings = Settings::new();
    let mut group = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            group = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !group.starts_with("X-"))
        {
            settings.entry((group.clone(), key.to_owned())).or_default().push(value.to_owned());
        }
    }
    settings
}

/// Values of a key whose order means nothing, as a set: units, and flags of a command line with their values.
fn comparable(key: &str, values: &[String]) -> BTreeSet<String> {
    if !key.starts_with("Exec") {
        return values
            .iter()
            .flat_map(|value| value.split_whitespace())
            .map(str::to_owned)
            .collect();
    }
    let mut set = BTreeSet::new();
    for value in values {
        let mut words = value.split(' ').peekable();
        while let Some(word) = words.next() {
            let has_value = word.starts_with("--") && !word.contains('=');
            let next = words.next_if(|next| has_value && !next.starts_with('-'));
            let flag = next.map_or_else(|| word.to_owned(), |next| format!("{word}={next}"));
            // podman writes capabilities in small letters.
            let is_capability = flag.starts_with("--cap-");
            set.insert(if is_capability { flag.to_lowercase() } else { flag });
        }
    }
    set
}

#[test]
fn services_are_podman_s_in_effect() {
    let quadlets = Quadlets::new();
    let mut expected: BTreeMap<&str, Settings> = BTreeMap::new();
    let folder = format!("{}/", text(&quadlets.folder));
    for part in ORACLE.split("\n==== ").skip(1) {
        let mut services = part.split("\n---- ");
        let (name, content) =
            services.next().and_then(|file| file.split_once('\n')).expect("a file");
        quadlets.write(name, content);
        expected.extend(services.filter_map(|service| {
            let (name, text) = service.split_once('\n')?;
            let text = text.replace("/usr/bin/podman", text_of(&binary()).as_str());
            let text = text.replace(NETWORK_WAITS[0], NETWORK_WAITS[1]).replace("/q/", &folder);
            let text = text.replace("RequiresMountsFor=%t/containers", "");
            Some((name, settings(&text)))
        }));
    }
    let services = quadlets.services();
    let names: Vec<&str> =
        services.keys().map(String::as_str).filter(|name| *name != NETWORK_WAITS[1]).collect();
    assert_eq!(names, expected.keys().copied().collect::<Vec<_>>());
    let mut differences = Vec::new();
    for (name, expected) in &expected {
        let made = &services[*name];
        let keys: BTreeSet<_> = expected.keys().chain(made.keys()).collect();
        for key in keys {
            let values =
                |all: &Settings| comparable(&key.1, all.get(key).map_or(&[], Vec::as_slice));
            let (podman, usnea) = (values(expected), values(made));
            let is_explained = DIFFERENT
                .iter()
                .any(|(end, explained, _)| name.ends_with(end) && key.1 == *explained);
            if podman != usnea && !is_explained {
                let only = |one: &BTreeSet<String>, other| {
                    one.difference(other).cloned().collect::<Vec<_>>()
                };
                differences.push(format!(
                    "{name} {key:?}: podman {:?}, usnea {:?}",
                    only(&podman, &usnea),
                    only(&usnea, &podman)
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn text_of(path: &Path) -> String {
    fs::canonicalize(path).expect("a program").display().to_string()
}

/// Every table of keys is in the examples, so that no flag is one that usnea does not have.
#[test]
fn the_commands_of_services_are_in_the_grammar() {
    let quadlets = Quadlets::new();
    quadlets.write_examples();
    for (group, keys) in usnea::quadlet::key_tables() {
        let extension = group.to_lowercase();
        for (key, rule) in keys {
            let value = match rule {
                FlagRule::Refused(_) | FlagRule::Special => continue,
                FlagRule::Switch(_) | FlagRule::IfTrue(..) => "yes",
                FlagRule::Pairs(_) | FlagRule::Words(_) if *key == "Sysctl" => {
                    "net.core.somaxconn=5"
                }
                FlagRule::Pairs(_) => "key=value",
                _ => match *key {
                    "IP" | "DNS" => "192.0.2.7",
                    "IP6" => "2001:db8::7",
                    "PublishPort" | "ExposeHostPort" => "8080",
                    "Memory" | "ShmSize" => "64m",
                    "PidsLimit"
                    | "StopTimeout"
                    | "HealthRetries"
                    | "HealthMaxLogCount"
                    | "HealthMaxLogSize"
                    | "HealthStartupRetries"
                    | "HealthStartupSuccess" => "10",
                    "HealthInterval"
                    | "HealthStartPeriod"
                    | "HealthTimeout"
                    | "HealthStartupInterval"
                    | "HealthStartupTimeout" => "10s",
                    "HealthOnFailure" => "kill",
                    "AddHost" => "name:192.0.2.7",
                    "AddCapability" | "DropCapability" => "CHOWN",
                    "UIDMap" | "GIDMap" => "0:0:1",
                    "UserNS" => "keep-id",
                    "Ulimit" => "nofile=10:20",
                    "SeccompProfile" => "unconfined",
                    "Mask" | "Unmask" => "/proc/uptime",
                    "Pull" | "Policy" => "missing",
                    "StopSignal" => "INT",
                    "Driver" => {
                        if group == "Network" {
                            "bridge"
                        } else {
                            "local"
                        }
                    }
                    "GroupAdd" => "keep-groups",
                    "Tmpfs" => "/tmp",
                    "Retry" => "3",
                    "RetryDelay" => "2s",
                    _ => "value",
                },
            };
            let needed = match group {
                "Container" | "Image" => "Image=x\n",
                _ => "",
            };
            let values = match rule {
                FlagRule::Switch(_) => &[value, "no"][..],
                _ => &[value],
            };
            for value in values {
                // Words before and after a flag are read with it.
                let around = if *group == *"Container" { "Pull=never\nTmpfs=/run\n" } else { "" };
                let content = format!("[{group}]\n{needed}{around}{key}={value}\n");
                let name = format!("key-{}-{}.{extension}", key.to_lowercase(), value.len());
                quadlets.write(&name, &content);
            }
        }
    }
    let mut wrong = Vec::new();
    for (name, settings) in quadlets.services() {
        for ((_, key), values) in settings.iter().filter(|((_, key), _)| key.starts_with("Exec")) {
            // Other commands are the file's own.
            let commands = values.iter().map(|value| value.trim_start_matches('-'));
            for value in commands.filter(|value| value.starts_with(text(&binary()))) {
                let words = usnea::quadlet::words::split(value).expect("words");
                let specified = |word: String| {
                    let word = word.replace("%t", "/run").replace("%h", "/home/x");
                    ["%N", "%n", "%p", "%i"].iter().fold(word, |word, one| word.replace(one, "x"))
                };
                let words = words.into_iter().map(|word| specified(word).into()).collect();
                if let Err(error) = usnea::cli::parse(words) {
                    wrong.push(format!("{name} {key}={value}: {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_with_an_error_is_named_by_its_line_and_the_others_give_services() {
    let quadlets = Quadlets::new();
    for (name, content, line) in [
        ("a.container", "[Container]\nExec=x\n", ""),
        ("b.container", "[Container]\nImage=x\nRootfs=/y\n", ":3"),
        ("c.container", "[Container\nImage=x\n", ":1"),
        ("d.container", "[Container]\nImage x\n", ":2"),
        ("e.container", "[Container]\nImage=x\n\nVolume=no.volume:/x\n", ":4"),
        ("f.container", "[Container]\nImage=x\nPod=no.pod\n", ":3"),
        ("g.container", "[Container]\nImage=x\nGroup=3\n", ":3"),
        ("h.container", "[Container]\nImage=x\n[Service]\nType=simple\n", ":4"),
        ("i.container", "[Container]\nImage=x\n[Service]\nKillMode=process\n", ":4"),
        ("j.container", "[Container]\nImage=x\nExec=a \\q\n", ":3"),
        ("k.container", "[Container]\nImage=x\nReadOnly=perhaps\n", ":3"),
        ("l.container", "[Container]\nImage=x\nSubUIDMap=s\n", ":3"),
        ("m.container", "[Container]\nImage=x\n[Unit]\nAfter=no.container\n", ":4"),
        ("n.container", "[Container]\nImage=x\nReloadCmd=a\nReloadSignal=HUP\n", ":4"),
        ("o.network", "[Network]\nGateway=192.0.2.1\n", ":2"),
        ("p.volume", "[Volume]\nType=tmpfs\n", ":2"),
        ("q.volume", "[Volume]\nUser=nobody-has-this-name\n", ":2"),
        ("r.image", "[Image]\n", ""),
        ("s.kube", "[Kube]\nYaml=x\n", ""),
        ("t.build", "[Build]\nImageTag=x\n", ""),
        ("w.container", "[Container]\nImage=w.build\n", ":2"),
        (
            "x.container",
            "[Container]\nImage=x\nMount=type=image,source=w.build,destination=/x\n",
            ":3",
        ),
        ("u.container", "[Container]\nImage=x\nServiceName=../u\n", ""),
        ("v.container", "[Container]\nImage=x\nServiceName=good\n", ""),
    ] {
        quadlets.write("good.container", "[Container]\nImage=x\n");
        quadlets.write(name, content);
        let ran = quadlets.quadlet(&["generate", "--user", "--dryrun"]);
        assert_eq!(ran.status, 1, "{name}: {ran:?}");
        assert!(ran.stdout.contains("---good.service---"), "{name}: {ran:?}");
        let place = format!("usnea: error: {}/{name}{line}: ", text(&quadlets.folder));
        assert!(ran.stderr.starts_with(&place), "{name}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{name}: {ran:?}");
        let checked = quadlets.quadlet(&["check", name]);
        assert_eq!(checked.status, 1, "{checked:?}");
        assert!(checked.stdout.starts_with(&place.replace("usnea: ", "")), "{checked:?}");
        quadlets.quadlet(&["check", "good.container"]).works();
        fs::remove_file(quadlets.folder.join(name)).expect("a file");
    }
    quadlets.quadlet(&["check", "missing.container"]).exits(1);
}

#[test]
fn a_build_file_is_refused_with_the_way_out_and_so_is_what_names_it() {
    let quadlets = Quadlets::new();
    quadlets.write("good.container", "[Container]\nImage=localhost/app\n");
    quadlets.write("app.build", "[Build]\nImageTag=localhost/app\nSetWorkingDirectory=unit\n");
    quadlets.write("app.container", "[Container]\nImage=app.build\n");
    let way_out =
        ["podman build", "buildah build", "podman save NAME | usnea load", "Image=localhost/NAME"];
    let generated = quadlets.quadlet(&["generate", "--user", "--dryrun"]);
    assert!(generated.stdout.contains("---good.service---"), "{generated:?}");
    assert!(
        !generated.stdout.contains("app.service") && !generated.stdout.contains("app-build"),
        "{generated:?}"
    );
    let checked = quadlets.quadlet(&["check"]);
    for (ran, said) in [(&generated, &generated.stderr), (&checked, &checked.stdout)] {
        assert_eq!((ran.status, said.lines().count()), (1, 2), "{ran:?}");
        for place in
            ["app.build: usnea does not build images", "app.container:2: Image=app.build: "]
        {
            let line = said.lines().find(|line| line.contains(place)).expect(place);
            assert!(way_out.iter().all(|way| line.contains(way)), "{line}");
        }
    }
    let listed = quadlets.quadlet(&["ls", "--format", "{{.Name}}"]);
    assert!(listed.stdout.contains("good.container"), "{listed:?}");
}

#[test]
fn of_two_files_with_one_name_the_one_in_the_first_folder_counts() {
    let quadlets = Quadlets::new();
    let first = quadlets.place.folder("first");
    fs::write(first.join("web.container"), "[Container]\nImage=first\n").expect("a file");
    quadlets.write("web.container", "[Container]\nImage=second\n");
    quadlets.write("sub/web.container", "[Container]\nImage=third\n");
    quadlets.write("other.container", "[Container]\nImage=other\n");
    let mut command = quadlets.command(&["generate", "--user", "--dryrun"]);
    let folders = format!("{}:{}", text(&first), text(&quadlets.folder));
    let ran = finish(command.env("QUADLET_UNIT_DIRS", folders), "");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let images = |image: &str| ran.stdout.matches(&format!("Image={image}\n")).count();
    assert_eq!([images("first"), images("second"), images("third"), images("other")], [1, 0, 0, 1]);
}

#[test]
fn an_unknown_key_is_a_warning_with_its_line() {
    let quadlets = Quadlets::new();
    quadlets.write(
        "a.container",
        "[Container]\nImage=x\nColour=red\n[Quadlet]\nOther=1\n[X-Own]\nAny=1\n",
    );
    let ran = quadlets.quadlet(&["generate", "--user", "--dryrun"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let warnings: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{ran:?}");
    assert!(warnings[0].contains("a.container:3: unknown key Colour= in [Container]"), "{ran:?}");
    assert!(warnings[1].contains("a.container:5: unknown key Other= in [Quadlet]"), "{ran:?}");
}

#[test]
fn the_program_is_systemd_s_generator_under_its_names() {
    let quadlets = Quadlets::new();
    quadlets.write(
        "sub/folder/web@.container",
        "[Container]\nImage=x\n[Install]\nWantedBy=default.target\nDefaultInstance=one\n",
    );
    quadlets.write("db.container", "[Container]\nImage=x\n[Install]\nWantedBy=default.target a.target\nRequiredBy=b.target\nAlias=data.service ../../etc/bad\n");
    quadlets.write("db.container.d/10-more.conf", "[Container]\nExec=more\n");
    quadlets.write("container.d/10-more.conf", "[Container]\nExec=less\n");
    quadlets.write("container.d/20-all.conf", "[Container]\nHostName=all\n");
    quadlets.write("notes.txt", "no unit\n");
    let output = quadlets.place.folder("units");
    for (name, waits) in [
        ("usnea-user-generator", NETWORK_WAITS[1]),
        ("usnea-system-generator", "network-online.target"),
    ] {
        let program = quadlets.place.path(name);
        symlink(binary(), &program).expect("a link");
        let mut generator = Command::new(&program);
        generator.env("QUADLET_UNIT_DIRS", &quadlets.folder).args([&output, &output, &output]);
        assert_eq!(finish(&mut generator, "").works(), "");
        let unit = fs::read_to_string(output.join("db.service")).expect("a unit");
        assert!(unit.contains(&format!("After={waits}\n")), "{unit}");
        assert!(
            unit.contains("--hostname all") && unit.ends_with("x more\n")
                || unit.contains(" x more\n"),
            "{unit}"
        );
        let target =
            |link: &str| fs::read_link(output.join(link)).expect(link).display().to_string();
        assert_eq!(target("default.target.wants/db.service"), "../db.service");
        assert_eq!(target("a.target.wants/db.service"), "../db.service");
        assert_eq!(target("b.target.requires/db.service"), "../db.service");
        assert_eq!(target("data.service"), "db.service");
        assert_eq!(target("default.target.wants/web@one.service"), "../web@.service");
        assert!(!output.join("../../etc").exists());
        assert_eq!(output.join(NETWORK_WAITS[1]).exists(), name.contains("user"));
        fs::remove_dir_all(&output).expect("the units");
        fs::create_dir(&output).expect("a folder");
    }
}

#[test]
fn files_are_installed_listed_printed_and_removed() {
    let quadlets = Quadlets::new();
    quadlets.write("web.container", "[Container]\nImage=x\n");
    quadlets.write("bad.container", "[Container\n");
    let home = quadlets.place.folder("config");
    let run = |words: &[&str]| {
        let mut command = quadlets.command(words);
        finish(command.env_remove("QUADLET_UNIT_DIRS").env("XDG_CONFIG_HOME", &home), "")
    };
    let file = quadlets.folder.join("web.container");
    let installed = home.join("containers/systemd/web.container");
    let words = ["install", "--reload-systemd=false", text(&file)];
    assert_eq!(run(&words).works(), text(&installed));
    let again = run(&words);
    assert!(again.status == 1 && again.stderr.contains("is there already"), "{again:?}");
    run(&["install", "--replace", "--reload-systemd=false", text(&file)]).works();
    let bad = quadlets.folder.join("bad.container");
    let refused = run(&["install", "--reload-systemd=false", text(&bad)]);
    assert!(refused.status == 1 && refused.stderr.contains("bad.container:1: "), "{refused:?}");
    assert!(!home.join("containers/systemd/bad.container").exists());
    let list = run(&["ls", "--format", "{{.Name}} {{.UnitName}} {{.Path}}"]);
    assert_eq!(list.works(), format!("web.container web.service {}", text(&installed)));
    assert_eq!(run(&["print", "web.container"]).works(), "[Container]\nImage=x");
    assert!(run(&["print", "--service", "web.container"]).works().contains("ExecStart="));
    run(&["print", "other.container"]).exits(1);
    assert_eq!(run(&["rm", "--reload-systemd=false", "web.container"]).works(), "web.container");
    assert!(!installed.exists());
    run(&["rm", "--reload-systemd=false", "web.container"]).exits(1);
    run(&["rm", "--reload-systemd=false", "--ignore", "web.container"]).works();
}

#[test]
fn a_file_that_would_hang_or_flood_the_boot_is_refused() {
    let quadlets = Quadlets::new();
    quadlets.write("good.container", "[Container]\nImage=x\n");
    let fifo = quadlets.folder.join("fifo.container");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a FIFO");
    quadlets.write("large.container", &"#".repeat(2 << 20));
    quadlets.write("bytes.container", "[Container]\nImage=x\0\u{fffd}\n");
    symlink(&quadlets.folder, quadlets.folder.join("loop")).expect("a link");
    let ran = quadlets.quadlet(&["generate", "--user", "--dryrun"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("fifo.container: cannot read it"), "{ran:?}");
    assert!(ran.stderr.contains("large.container: cannot read it"), "{ran:?}");
    assert!(ran.stdout.contains("---good.service---"), "{ran:?}");
}
