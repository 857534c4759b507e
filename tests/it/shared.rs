//! Namespaces of other containers by the command line: `container:NAME` and `ns:PATH`.

use std::fs;

use crate::support::{Place, Started, finish, need_subids, within};

/// Namespaces of a container that others join in these tests.
const KINDS: [(&str, &str); 5] = [
    ("--network", "net"),
    ("--pid", "pid"),
    ("--ipc", "ipc"),
    ("--uts", "uts"),
    ("--cgroupns", "cgroup"),
];

fn start_target(place: &Place, options: &[&str]) {
    place.run_kept(&[&["-d", "--name", "target"], options].concat(), "exec sleep 1000").works();
}

fn field(place: &Place, name: &str, format: &str) -> String {
    place.usnea(&["inspect", "-f", format, name]).works().to_owned()
}

fn namespace(place: &Place, name: &str, kind: &str) -> String {
    let pid = field(place, name, "{{.State.Pid}}");
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.display().to_string()
}

fn end(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

/// Options that join namespaces, and the kinds of the namespaces.
type AskedKinds<'a> = (Vec<&'a str>, &'a [(&'a str, &'a str)]);

#[test]
fn each_namespace_of_another_container_can_be_joined() {
    let place = Place::new();
    start_target(&place, &["--hostname", "donor"]);
    let all: Vec<&str> =
        KINDS.iter().flat_map(|(option, _)| [*option, "container:target"]).collect();
    let mut asked: Vec<AskedKinds<'_>> = vec![(all, &KINDS)];
    for kind in KINDS.chunks(1) {
        asked.push((vec![kind[0].0, "container:target"], kind));
    }
    for (options, kinds) in asked {
        let names: Vec<_> = kinds.iter().map(|(_, name)| *name).collect();
        let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", names.join(" "));
        let theirs: Vec<_> = names.iter().map(|name| namespace(&place, "target", name)).collect();
        let ran = place.run(&options, &script);
        assert_eq!(ran.works().lines().collect::<Vec<_>>(), theirs, "{options:?}");
        let ran = place.run_kept(&[&["--name", "kept"], &options[..]].concat(), &script);
        assert_eq!(ran.works().lines().collect::<Vec<_>>(), theirs, "{options:?}");
        let ran = place.usnea(&["start", "--attach", "kept"]);
        assert_eq!(ran.works().lines().collect::<Vec<_>>(), theirs, "started again: {options:?}");
        place.usnea(&["rm", "kept"]).works();
    }
    end(&place);
}

#[test]
fn containers_on_one_network_share_localhost_and_the_names() {
    let place = Place::new();
    let server = "busybox nc -ll -p 8080 -e echo served & exec sleep 1000";
    let options = ["-d", "--name", "server", "--hostname", "donor", "--add-host", "more:192.0.2.7"];
    place.run_kept(&options, server).works();
    let ask = "i=0; until busybox nc 127.0.0.1 8080 </dev/null; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.05; done";
    let files = "hostname; echo $HOSTNAME; cat /etc/hostname /etc/hosts /etc/resolv.conf";
    let theirs = place.usnea(&["exec", "server", "sh", "-c", files]).works().to_owned();
    assert!(
        theirs.contains("192.0.2.7\tmore") && theirs.starts_with("donor\ndonor\ndonor\n"),
        "{theirs}"
    );
    for joiner in ["container:server", &format!("container:{}", field(&place, "server", "{{.Id}}"))]
    {
        let ran = place.run(&["--network", joiner], &format!("{ask}; {files}"));
        assert_eq!(ran.works(), format!("served\n{theirs}"));
    }
    let ran =
        place.run(&["--uts", "container:server"], "hostname; echo $HOSTNAME; cat /etc/hostname");
    assert_eq!(ran.works(), "donor\ndonor\ndonor");
    end(&place);
}

#[test]
fn containers_of_one_pid_namespace_see_each_other() {
    let place = Place::new();
    start_target(&place, &[]);
    let options = ["-d", "--name", "joiner", "--pid", "container:target"];
    place.run_kept(&options, "sleep 1003 & setsid sleep 1004 & exec sleep 1001").works();
    let list = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    for name in ["target", "joiner"] {
        let seen = place.usnea(&["exec", name, "sh", "-c", list]);
        for mark in ["sleep 1000", "sleep 1001", "sleep 1003", "sleep 1004"] {
            assert!(seen.works().contains(mark), "{name}: {seen:?}");
        }
    }
    // `top` and `pause` are about the processes of one container.
    let of = |name: &str| place.usnea(&["top", name, "-eo", "pid,args"]).works().to_owned();
    assert!(of("joiner").contains("sleep 1004") && !of("joiner").contains("sleep 1000"));
    assert!(of("target").contains("sleep 1000") && !of("target").contains("sleep 100[1-4]"));
    assert!(!of("target").contains("sleep 1004"), "{}", of("target"));
    // Processes that the joiner leaves running, and commands in it, end with it.
    place.usnea(&["exec", "-d", "joiner", "sleep", "1005"]).works();
    place.usnea(&["stop", "-t", "0", "joiner"]).works();
    assert!(
        within(std::time::Duration::from_secs(10), || {
            let seen = place.usnea(&["exec", "target", "sh", "-c", list]);
            !seen.works().contains("sleep 1001")
                && ["1003", "1004", "1005"]
                    .iter()
                    .all(|mark| !seen.works().contains(&format!("sleep {mark}")))
        }),
        "{:?}",
        place.usnea(&["exec", "target", "sh", "-c", list])
    );
    end(&place);
}

#[test]
fn the_end_of_a_pid_namespace_ends_the_containers_that_joined_it() {
    let place = Place::new();
    start_target(&place, &[]);
    let options = ["-d", "--name", "joiner", "--pid", "container:target"];
    place.run_kept(&options, "exec sleep 1001").works();
    place.usnea(&["stop", "-t", "0", "target"]).works();
    assert_eq!(place.usnea(&["wait", "joiner"]).works(), "137");
    let phrase = "cannot join PID namespace of a non running container: target is exited";
    place.usnea(&["start", "joiner"]).fails_with(1, &[phrase]);
    place.usnea(&["start", "target"]).works();
    place.usnea(&["start", "joiner"]).works();
    assert_eq!(namespace(&place, "joiner", "pid"), namespace(&place, "target", "pid"));
    end(&place);
}

#[test]
fn containers_of_one_ipc_namespace_share_memory_and_queues() {
    let place = Place::new();
    start_target(&place, &["--ipc", "shareable", "--sysctl", "kernel.msgmni=77"]);
    let script = "echo mine > /dev/shm/from-joiner; touch /dev/mqueue/queue; cat /proc/sys/kernel/msgmni; exec sleep 1000";
    let options = ["-d", "--name", "joiner", "--ipc", "container:target"];
    place.run_kept(&options, script).works();
    let look = "until [ -e /dev/mqueue/queue ]; do sleep 0.02; done; cat /dev/shm/from-joiner; ls /dev/mqueue; echo theirs > /dev/shm/from-target";
    let seen = place.usnea(&["exec", "target", "sh", "-c", look]);
    assert_eq!(seen.works(), "mine\nqueue");
    let seen =
        place.usnea(&["exec", "joiner", "cat", "/dev/shm/from-target", "/proc/sys/kernel/msgmni"]);
    assert_eq!(seen.works(), "theirs\n77");
    // The memory outlives the joiner, and a third container finds it.
    place.usnea(&["rm", "-f", "joiner"]).works();
    let ran = place.run(
        &["--ipc", "container:target"],
        "cat /dev/shm/from-joiner; touch /dev/shm/x; stat -f -c %T /dev/shm",
    );
    assert_eq!(ran.works(), "mine\ntmpfs");
    place.usnea(&["exec", "target", "test", "-e", "/dev/shm/x"]).works();
    end(&place);
}

#[test]
fn a_container_without_shared_memory_shares_none() {
    let place = Place::new();
    start_target(&place, &["--ipc", "none"]);
    let phrase = "container target has no shared memory to share";
    place.run(&["--ipc", "container:target"], "true").fails_with(125, &[phrase]);
    end(&place);
}

#[test]
fn a_namespace_shared_with_the_host_is_the_hosts_for_a_third_too() {
    let place = Place::new();
    start_target(&place, &["--network", "host", "--ipc", "host", "--uts", "host", "--pid", "host"]);
    let options: Vec<&str> =
        KINDS[..4].iter().flat_map(|(option, _)| [*option, "container:target"]).collect();
    let ran = place.run(&options, "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done");
    let ours = ["net", "pid", "ipc", "uts"].map(|name| {
        fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string()
    });
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ours);
    end(&place);
}

#[test]
fn a_target_that_is_not_there_or_does_not_run_is_refused_by_name() {
    let place = Place::new();
    for (option, word) in [
        ("--network", "network"),
        ("--pid", "PID namespace"),
        ("--ipc", "IPC namespace"),
        ("--uts", "UTS namespace"),
    ] {
        let phrase = format!("{option} container:nobody: no container is called 'nobody'");
        place.run(&[option, "container:nobody"], "true").fails_with(125, &[&phrase]);
        let create = place.kept(&["create", option, "container:nobody"], "true");
        place.usnea(&create).fails_with(125, &[&phrase]);
        place.usnea(&place.kept(&["create", "--name", "idle"], "true")).works();
        let phrase = format!("cannot join {word} of a non running container: idle is created");
        place.run(&[option, "container:idle"], "true").fails_with(125, &[&phrase]);
        place.run_kept(&[option, "container:idle"], "true").fails_with(125, &[&phrase]);
        // As with docker, a container can be made before the other one runs.
        let create = place.kept(&["create", "--name", "early", option, "container:idle"], "true");
        place.usnea(&create).works();
        place.usnea(&["start", "early"]).fails_with(1, &[&phrase]);
        place.usnea(&["rm", "idle"]).works();
        place.usnea(&["start", "early"]).fails_with(1, &["is gone"]);
        place.usnea(&["rm", "early"]).works();
    }
    place.run_kept(&["-d", "--name", "own"], "exec sleep 1000").works();
    let phrase = "a container cannot join its own namespaces";
    place
        .run_kept(&["--replace", "--name", "own", "--pid", "container:own"], "true")
        .fails_with(125, &[phrase]);
    end(&place);
}

#[test]
fn settings_of_the_shared_namespace_are_the_other_containers() {
    let place = Place::new();
    start_target(&place, &[]);
    for (options, setting) in [
        (&["--network", "container:target", "-p", "8080:80"][..], "--publish"),
        (&["--network", "container:target", "-P"], "--publish-all"),
        (&["--network", "container:target", "--expose", "80"], "--expose"),
        (&["--network", "container:target", "--hostname", "x"], "--hostname"),
        (&["--network", "container:target", "--dns", "192.0.2.1"], "--dns"),
        (&["--network", "container:target", "--dns-search", "example"], "--dns"),
        (&["--network", "container:target", "--add-host", "a:192.0.2.1"], "--add-host"),
        (&["--uts", "container:target", "--hostname", "x"], "--hostname"),
        (&["--uts", "container:target", "--domainname", "x"], "--domainname"),
        (&["--network", "ns:/proc/self/ns/net", "-p", "8080:80"], "--publish"),
    ] {
        place.run(options, "true").fails_with(125, &[setting, options[1], "exclude each other"]);
    }
    for (options, phrase) in [
        (&["--network", "container:target", "--ip", "10.0.0.1"][..], "a named network"),
        (
            &["--network", "container:target", "--mac-address", "02:00:00:00:00:01"],
            "a named network",
        ),
        (&["--network", "container:target", "--network-alias", "x"], "a named network"),
        (&["--network", "container:target", "--network", "host"], "can be combined"),
    ] {
        place.run(options, "true").fails_with(125, &[phrase]);
    }
    end(&place);
}

#[test]
fn a_network_of_its_own_works_in_another_containers_pid_namespace() {
    let place = Place::new();
    start_target(&place, &[]);
    let options = ["--network", "private", "--pid", "container:target"];
    let ran = place.run(&options, "ip -o address show eth0; cat /proc/1/cmdline | tr '\\0' ' '");
    assert!(ran.works().contains("10.0.2.100") && ran.works().contains("sleep 1000"), "{ran:?}");
    end(&place);
}

#[test]
fn a_named_network_works_in_another_containers_pid_namespace() {
    let place = Place::new();
    place.usnea(&["network", "create", "--subnet", "10.79.61.0/24", "one"]).works();
    start_target(&place, &["--network", "one"]);
    let options = ["-d", "--name", "joiner", "--network", "one", "--pid", "container:target"];
    place.run_kept(&options, "exec busybox nc -ll -p 80 -e echo here").works();
    let asks = |from: &str, to: &str| {
        let script = format!("busybox nc -w 2 {to} 80 < /dev/null");
        place.usnea(&["exec", from, "sh", "-c", &script]).stdout.contains("here")
    };
    let limit = std::time::Duration::from_secs(30);
    assert!(crate::support::within(limit, || asks("target", "joiner")));
    assert_eq!(namespace(&place, "joiner", "pid"), namespace(&place, "target", "pid"));
    place.usnea(&["network", "disconnect", "one", "joiner"]).works();
    assert!(!asks("target", "joiner"));
    place.usnea(&["network", "connect", "one", "joiner"]).works();
    assert!(crate::support::within(limit, || asks("target", "joiner")));
    end(&place);
}

#[test]
fn a_container_that_requires_the_one_it_joins_starts_it() {
    let place = Place::new();
    let create = |options: &[&str]| {
        let words = [&["create"], options].concat();
        place.usnea(&place.kept(&words, "exec sleep 1000")).works();
    };
    create(&["--name", "target"]);
    let joined = ["--network", "container:target", "--ipc", "container:target"];
    create(&[&["--name", "joiner", "--requires", "target"], &joined[..]].concat());
    for _ in 0..2 {
        place.usnea(&["start", "joiner"]).works();
        for kind in ["net", "ipc"] {
            let (joiner, target) = ("joiner", "target");
            assert_eq!(namespace(&place, joiner, kind), namespace(&place, target, kind), "{kind}");
        }
        place.usnea(&["stop", "--time", "0", "joiner", "target"]).works();
    }
    end(&place);
}

#[test]
fn a_joined_network_keeps_the_external_connectivity_of_its_owner() {
    let place = Place::new();
    start_target(&place, &["--network", "private"]);
    let ran =
        place.run(&["--network", "container:target"], "ip -o address show eth0; ls /sys/class/net");
    assert!(ran.works().contains("10.0.2.100") && ran.works().contains("\neth0"), "{ran:?}");
    end(&place);
}

#[test]
fn a_restarted_container_joins_the_namespaces_of_the_present() {
    let place = Place::new();
    start_target(&place, &[]);
    let options =
        ["-d", "--name", "joiner", "--restart", "always", "--network", "container:target"];
    place.run_kept(&options, "exec sleep 1001").works();
    place.usnea(&["restart", "-t", "0", "target"]).works();
    let theirs = namespace(&place, "target", "net");
    assert_ne!(
        namespace(&place, "joiner", "net"),
        theirs,
        "a namespace lives as long as its users"
    );
    // The monitor starts the command again.
    let pid = field(&place, "joiner", "{{.State.Pid}}");
    finish(std::process::Command::new("kill").args(["-9", &pid]), "").works();
    assert!(within(std::time::Duration::from_secs(20), || {
        let pid = field(&place, "joiner", "{{.State.Pid}}");
        fs::read_link(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|link| link.display().to_string() == theirs)
    }));
    end(&place);
}

#[test]
fn containers_in_the_foreground_share_too() {
    let place = Place::new();
    let target = place.arguments(
        &["--name", "front", "--hostname", "donor"],
        &["sh", "-c", "echo up; exec sleep 1000"],
    );
    let mut target = Started::new(&mut place.command(&target), "");
    target.wait_for("up");
    assert!(within(std::time::Duration::from_secs(10), || {
        place.usnea(&["ps", "-q", "--filter", "name=front"]).works() != ""
    }));
    let options =
        ["--network", "container:front", "--pid", "container:front", "--ipc", "container:front"];
    let ran = place.run(&options, "hostname; cat /proc/1/cmdline | tr '\\0' ' '");
    assert_eq!(ran.works(), "donor\nsleep 1000");
    place.usnea(&["stop", "-t", "0", "front"]).works();
    target.end();
    end(&place);
}

#[test]
fn a_killed_monitor_on_either_side_leaves_nothing() {
    for killed in ["target", "joiner"] {
        let place = Place::new();
        start_target(&place, &["--network", "private"]);
        let all: Vec<&str> =
            KINDS[..4].iter().flat_map(|(option, _)| [*option, "container:target"]).collect();
        let options = [&["-d", "--name", "joiner"], &all[..]].concat();
        place.run_kept(&options, "sleep 1003 & setsid sleep 1004 & exec sleep 1001").works();
        let monitor = field(&place, killed, "{{.State.ConmonPid}}");
        let killed = finish(std::process::Command::new("kill").args(["-9", &monitor]), "");
        killed.works();
        end(&place);
    }
}

#[test]
fn a_container_with_other_ids_joins_all_but_the_processes() {
    let place = Place::new();
    let alone = ["--network", "none"];
    start_target(&place, &alone);
    let options = [&["-d", "--name", "kept", "--userns", "keep-id"], &alone[..]].concat();
    place.run_kept(&options, "exec sleep 1000").works();
    let script = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ls /sys/class/net; [ -d /dev/mqueue ] && id -u";
    let id = rustix::process::geteuid().as_raw().to_string();
    for (options, target, uid) in
        [(&["--userns", "keep-id"][..], "target", id.as_str()), (&[], "kept", "0")]
    {
        let target_is = format!("container:{target}");
        let joins = ["--network", &target_is, "--ipc", &target_is, "--uts", &target_is];
        let ran = place.run(&[options, &joins].concat(), script);
        let (net, ipc) = (namespace(&place, target, "net"), namespace(&place, target, "ipc"));
        assert_eq!(ran.works(), format!("{net}\n{ipc}\nlo\n{uid}"), "{options:?}");
    }
    let phrase = "with a user namespace of its own cannot join a PID namespace";
    if need_subids() {
        let options = ["--userns", "keep-id", "--pid", "container:target"];
        place.run(&options, "true").fails_with(125, &[phrase]);
    }
    end(&place);
}

#[test]
fn inspect_shows_what_is_joined() {
    let place = Place::new();
    start_target(&place, &[]);
    let id = field(&place, "target", "{{.Id}}");
    let all: Vec<&str> =
        KINDS.iter().flat_map(|(option, _)| [*option, "container:target"]).collect();
    place.usnea(&place.kept(&[&["create", "--name", "joiner"], &all[..]].concat(), "true")).works();
    for name in ["NetworkMode", "PidMode", "IpcMode", "UTSMode", "CgroupnsMode"] {
        let shown = field(&place, "joiner", &format!("{{{{.HostConfig.{name}}}}}"));
        assert_eq!(shown, format!("container:{id}"), "{name}");
    }
    assert_eq!(field(&place, "joiner", "{{json .NetworkSettings.Networks}}"), "{}");
    // The network namespace is the other container's, also while the joiner does not run.
    for format in ["{{.NetworkSettings.SandboxID}}", "{{.NetworkSettings.SandboxKey}}"] {
        let of_target = field(&place, "target", format);
        assert!(!of_target.is_empty());
        assert_eq!(field(&place, "joiner", format), of_target, "{format}");
    }
    let filter = format!("network=container:{id}");
    let listed = place.usnea(&["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]);
    assert_eq!(listed.works(), "joiner");
    assert_eq!(place.usnea(&["port", "joiner"]).works(), "");
    end(&place);
}

#[test]
fn explain_enters_the_namespaces_of_the_other_container() {
    let place = Place::new();
    start_target(&place, &[]);
    let pid = field(&place, "target", "{{.State.Pid}}");
    let options =
        ["--network", "container:target", "--pid", "container:target", "--ipc", "container:target"];
    let words = place.arguments(&[&options[..], &["--explain"]].concat(), &["true"]);
    let shown = place.usnea(&words);
    for kind in ["net", "pid", "ipc"] {
        let option = format!("--{kind}=/proc/{pid}/ns/{kind}");
        assert!(shown.works().contains(&option), "{option}: {shown:?}");
    }
    end(&place);
}

#[test]
fn a_namespace_is_joined_by_its_path() {
    let place = Place::new();
    start_target(&place, &["--hostname", "donor"]);
    let pid = field(&place, "target", "{{.State.Pid}}");
    for (option, kind) in KINDS {
        let path = format!("ns:/proc/{pid}/ns/{kind}");
        let ran = place.run(&[option, &path], &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(ran.works(), namespace(&place, "target", kind), "{option}");
    }
    let phrase = "cannot join the namespace /nowhere";
    place.run(&["--network", "ns:/nowhere"], "true").fails_with(125, &[phrase]);
    let phrase = "is no namespace of that type";
    place.run(&["--network", "ns:/dev/null"], "true").fails_with(125, &[phrase]);
    let ran = place.run(&["--network", "ns:/proc/self/ns/net"], "readlink /proc/self/ns/net");
    let ours = fs::read_link("/proc/self/ns/net").expect("a namespace");
    assert_eq!(ran.works(), ours.display().to_string());
    end(&place);
}
