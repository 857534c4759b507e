//! Created containers, through the library: the command waits until it is started, and a container that is given up
//! leaves no process.
//!
//! A program of its own: a launch needs a process with a single thread, which libtest's are not.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use oci_spec::runtime::{
    LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder,
};
use usnea::engine::{
    self, CallerStreams, Created, LaunchOptions, LaunchStreams, Plan, StartTrigger,
};
use usnea::ids::IdMap;
use usnea::sys::process;
use usnea::sys::signal::Signals;
use usnea::userns::Base;

fn main() {
    type HeldTest = (&'static str, fn(&Path));
    let tests: [HeldTest; 2] = [
        ("the_command_of_a_created_container_waits_for_its_start", waits),
        ("a_created_container_that_is_dropped_leaves_no_process", is_dropped),
    ];
    for (name, test) in tests {
        let folder = tempfile::tempdir().expect("a folder");
        test(folder.path());
        println!("test {name} ... ok");
    }
    println!("test result: ok. {} passed; 0 failed;", tests.len());
}

fn waits(folder: &Path) {
    let plan = plan(folder);
    let signals = Signals::block(&[libc::SIGTERM]).expect("signals");
    let created = created(&plan, &signals);
    let pid = created.pid().expect("a process");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!folder.join("ran").exists(), "the command has run already");
    let root = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("a namespace");
    assert_ne!(root(&pid.to_string()), root("self"));
    let launched = created.start(&signals).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(launched.command.pid, pid);
    assert_eq!(launched.command.wait().expect("its end").status(), 7);
    assert!(folder.join("ran").exists());
    drop(launched);
    engine::end_children();
}

fn is_dropped(folder: &Path) {
    // A child from before the launch is none of its business.
    let mut before = Command::new("sleep").arg("100").process_group(0).spawn().expect("sleep");
    let plan = plan(folder);
    let signals = Signals::block(&[libc::SIGTERM]).expect("signals");
    let created = created(&plan, &signals);
    let pid = created.pid().expect("a process");
    // base is the container itself where it maps its own ID.
    assert!(process::children().expect("children").len() > 1, "nothing but sleep");
    let start = Instant::now();
    drop(created);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the container's process lives");
    assert_eq!(process::children().expect("children"), [before.id() as i32]);
    assert!(!folder.join("ran").exists(), "the command has run");
    before.kill().and_then(|()| before.wait()).expect("its end");
}

fn created<'a>(plan: &'a Plan, signals: &Signals) -> Created<'a> {
    let caller = CallerStreams {
        input: rustix::stdio::stdin(),
        output: rustix::stdio::stdout(),
        error: rustix::stdio::stderr(),
    };
    let streams = LaunchStreams { command: None, caller: Some(caller) };
    engine::create(plan, streams, signals).unwrap_or_else(|error| panic!("{error}"))
}

/// A container in the host's files, whose command makes the file `ran` in `folder` and ends with 7.
fn plan(folder: &Path) -> Plan {
    let base = Base::of_user().expect("a base");
    let options = LaunchOptions { begin: StartTrigger::AtStart, ..LaunchOptions::default() };
    engine::plan(&spec(folder, &base), base, options).unwrap_or_else(|error| panic!("{error}"))
}

fn spec(folder: &Path, base: &Base) -> Spec {
    let script = format!("echo > {}/ran; exit 7", folder.display());
    let arguments = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let kinds = [LinuxNamespaceType::Mount, LinuxNamespaceType::Pid, LinuxNamespaceType::Uts];
    let namespaces = kinds.map(|kind| LinuxNamespaceBuilder::default().typ(kind).build());
    let namespaces: Result<Vec<_>, _> = namespaces.into_iter().collect();
    let linux = LinuxBuilder::default()
        .namespaces(namespaces.expect("namespaces"))
        .uid_mappings(mappings(&base.maps.uids))
        .gid_mappings(mappings(&base.maps.gids));
    let process = ProcessBuilder::default().args(arguments).cwd("/").terminal(false);
    SpecBuilder::default()
        .root(RootBuilder::default().path("/").readonly(false).build().expect("a root"))
        .mounts(Vec::new())
        .process(process.build().expect("a process"))
        .linux(linux.build().expect("a linux"))
        .build()
        .expect("a config")
}

fn mappings(map: &[IdMap]) -> Vec<LinuxIdMapping> {
    let one = |line: &IdMap| {
        let one = LinuxIdMappingBuilder::default();
        one.container_id(line.inside).host_id(line.outside).size(line.count).build()
    };
    map.iter().map(one).collect::<Result<_, _>>().expect("a map")
}
