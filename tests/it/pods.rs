//! Pods: containers that share namespaces, started, stopped and removed together.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::networked::LIMIT;
use crate::support::{Place, Ran, Started, binary, finish, has_subids, need, within};

/// Answer of a template about a container.
pub fn field(place: &Place, name: &str, format: &str) -> String {
    place.usnea(&["inspect", "-f", format, name]).works().to_owned()
}

/// Answer of a template about a pod.
pub fn of_pod(place: &Place, pod: &str, format: &str) -> String {
    place.usnea(&["pod", "inspect", "-f", format, pod]).works().to_owned()
}

fn namespace(place: &Place, name: &str, kind: &str) -> String {
    let pid = field(place, name, "{{.State.Pid}}");
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.display().to_string()
}

/// Makes a pod without a network.
fn pod(place: &Place, options: &[&str], name: &str) -> String {
    let words = [&["pod", "create", "--network", "none"], options, &[name]].concat();
    place.usnea(&words).works().to_owned()
}

fn member(place: &Place, pod: &str, name: &str, script: &str) -> String {
    place.run_kept(&["-d", "--pod", pod, "--name", name], script).works().to_owned()
}

fn end(place: &Place) {
    place.usnea(&["pod", "rm", "--all", "--force"]).works();
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    assert!(!place.store().join("pods").read_dir().is_ok_and(|mut pods| pods.next().is_some()));
    place.nothing_is_left();
}

#[test]
fn members_share_localhost_host_name_and_shared_memory() {
    let place = Place::new();
    pod(&place, &["--hostname", "box", "--add-host", "more:192.0.2.7", "--shm-size", "4m"], "shop");
    let server = "echo told >/dev/shm/note; exec busybox nc -ll -p 8080 -e echo served";
    member(&place, "shop", "server", server);
    let ask = "i=0; until busybox nc 127.0.0.1 8080 </dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done";
    let script =
        format!("{ask}; hostname; cat /dev/shm/note; grep more /etc/hosts; cat /etc/hostname");
    let ran = place.run_kept(&["--rm", "--pod", "shop"], &script);
    assert_eq!(ran.works(), "served\nbox\ntold\n192.0.2.7\tmore\nbox");
    let size = place.usnea(&["exec", "server", "sh", "-c", "df -k /dev/shm | tail -n 1"]);
    assert!(size.works().contains("4096"), "{size:?}");
    member(&place, "shop", "other", "exec sleep 1000");
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(&place, "server", kind), namespace(&place, "other", kind), "{kind}");
    }
    assert_ne!(namespace(&place, "server", "pid"), namespace(&place, "other", "pid"));
    // A container that is in no pod has none of it.
    let ran =
        place.run(&["--network", "none"], "busybox nc 127.0.0.1 8080 </dev/null; ls /dev/shm");
    assert_eq!(ran.works(), "");
    end(&place);
}

#[test]
fn namespaces_live_as_long_as_any_member() {
    let place = Place::new();
    pod(&place, &[], "shop");
    member(&place, "shop", "first", "echo told >/dev/shm/note; exec sleep 1000");
    member(&place, "shop", "second", "exec sleep 1000");
    let shared = namespace(&place, "second", "net");
    place.usnea(&["stop", "-t", "0", "first"]).works();
    member(&place, "shop", "third", "exec sleep 1000");
    assert_eq!(namespace(&place, "third", "net"), shared);
    assert_eq!(place.usnea(&["exec", "third", "cat", "/dev/shm/note"]).works(), "told");
    place.usnea(&["start", "first"]).works();
    assert_eq!(namespace(&place, "first", "net"), shared);
    // With the last member they go, and the next one makes new ones.
    place.usnea(&["pod", "stop", "-t", "0", "shop"]).works();
    place.usnea(&["pod", "start", "shop"]).works();
    assert_eq!(place.usnea(&["exec", "third", "ls", "/dev/shm"]).works(), "note");
    let all = ["first", "second", "third"].map(|name| namespace(&place, name, "ipc"));
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    end(&place);
}

#[test]
fn the_states_are_podman_s_and_verbs_act_on_all_members() {
    let place = Place::new();
    let id = pod(&place, &["--label", "kind=test"], "shop");
    let state = || of_pod(&place, "shop", "{{.State}}");
    assert_eq!(state(), "Created");
    member(&place, "shop", "one", "exec sleep 1000");
    assert_eq!(state(), "Running");
    member(&place, "shop", "two", "exec sleep 1000");
    place.usnea(&["stop", "-t", "0", "one"]).works();
    assert_eq!(state(), "Degraded");
    assert_eq!(place.usnea(&["pod", "start", "shop"]).works(), id);
    assert_eq!(state(), "Running");
    let before = field(&place, "two", "{{.State.Pid}}");
    place.usnea(&["pod", "restart", "-t", "0", "shop"]).works();
    assert_ne!(field(&place, "two", "{{.State.Pid}}"), before);
    place.usnea(&["pod", "rm", "shop"]).fails_with(1, &["pod shop has members that run: one, two"]);
    place.usnea(&["pod", "kill", "shop"]).works();
    assert_eq!(state(), "Exited");
    assert_eq!(place.usnea(&["pod", "stop", &id[..12]]).works(), id);
    let rows =
        place.usnea(&["pod", "ps", "--ctr-names", "--format", "{{.Name}} {{.ContainerNames}}"]);
    assert_eq!(rows.works(), "shop one,two");
    for (filter, count) in [
        ("status=exited", 1),
        ("status=running", 0),
        ("label=kind=test", 1),
        ("label!=kind", 0),
        ("ctr-names=^two$", 1),
        ("ctr-number=2", 1),
        ("ctr-status=exited", 1),
        ("name=^sho$", 0),
    ] {
        let found = place.usnea(&["pod", "ps", "-q", "--filter", filter]);
        assert_eq!(found.works().lines().count(), count, "{filter}");
    }
    place.usnea(&["rm", "one"]).works();
    assert_eq!(of_pod(&place, "shop", "{{.NumContainers}}"), "1");
    assert_eq!(place.usnea(&["pod", "rm", "shop"]).works(), id);
    place.usnea(&["container", "exists", "two"]).exits(1);
    place.usnea(&["pod", "exists", "shop"]).exits(1);
    let events = place.usnea(&[
        "events",
        "--since",
        "5m",
        "--until",
        "0s",
        "--filter",
        "type=pod",
        "--format",
        "{{.Action}}",
    ]);
    let words: Vec<_> = events.works().lines().collect();
    assert_eq!(words, ["create", "start", "restart", "kill", "stop", "remove"]);
    end(&place);
}

#[test]
fn one_name_is_of_one_pod_or_container() {
    let place = Place::new();
    let create = || {
        let mut command = place.command(&["pod", "create", "--network", "none", "shop"]);
        Started::new(&mut command, "")
    };
    let both: Vec<Ran> = [create(), create()].into_iter().map(Started::end).collect();
    assert_eq!(both.iter().filter(|ran| ran.status == 0).count(), 1, "{both:?}");
    let lost = both.iter().find(|ran| ran.status != 0).expect("one lost");
    lost.fails_with(125, &["the name shop is in use by pod"]);
    place.run_kept(&["--name", "shop"], "true").fails_with(125, &["in use by pod"]);
    place.run_kept(&["-d", "--name", "web"], "exec sleep 1000").works();
    place.usnea(&["pod", "create", "web"]).fails_with(125, &["in use by container"]);
    place.usnea(&["rename", "web", "shop"]).fails_with(125, &["in use by pod"]);
    let first = of_pod(&place, "shop", "{{.Id}}");
    member(&place, "shop", "one", "exec sleep 1000");
    place.usnea(&["pod", "create", "--network", "none", "--replace", "shop"]).works();
    assert_ne!(of_pod(&place, "shop", "{{.Id}}"), first);
    place.usnea(&["container", "exists", "one"]).exits(1);
    for words in [&["pod", "start", "gone"][..], &["pod", "stop", "gone"], &["pod", "rm", "gone"]] {
        place.usnea(words).fails_with(1, &["no pod is called 'gone'"]);
    }
    place.usnea(&["pod", "rm", "--force", "gone"]).works();
    place.run_kept(&["--pod", "gone"], "true").fails_with(125, &["no pod is called 'gone'"]);
    end(&place);
}

#[test]
fn settings_of_the_pod_are_refused_for_a_member() {
    let place = Place::new();
    pod(&place, &[], "shop");
    for options in [
        &["-p", "8080:80"][..],
        &["--network", "host"],
        &["--hostname", "x"],
        &["--dns", "192.0.2.1"],
        &["--add-host", "a:192.0.2.1"],
        &["--ipc", "private", "--shm-size", "1m"],
        &["--userns", "host"],
        &["--uts", "host"],
    ] {
        let ran = place.run_kept(&[&["--pod", "shop"], options].concat(), "true");
        ran.fails_with(125, &["--pod shop exclude each other: it is set when the pod is created"]);
    }
    place
        .usnea(&["pod", "create", "--share", "ipc", "-p", "80"])
        .fails_with(125, &["do not share a network"]);
    place
        .usnea(&["pod", "create", "--share", "cgroup"])
        .fails_with(125, &["no namespace to share"]);
    place
        .usnea(&["pod", "create", "--network", "container:x"])
        .fails_with(125, &["a network of its own"]);
    place.usnea(&["pod", "create", "--exit-policy", "continue"]).exits(125);
    place.usnea(&["pod", "create", "--userns", "nope"]).fails_with(125, &["--userns"]);
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    end(&place);
}

#[test]
fn namespaces_that_are_not_shared_are_each_member_s_own() {
    let place = Place::new();
    place.usnea(&["pod", "create", "--share", "none", "apart"]).works();
    let options = ["-d", "--pod", "apart", "--network", "none", "--hostname"];
    place.run_kept(&[&options[..], &["a", "--name", "one"]].concat(), "exec sleep 1000").works();
    place.run_kept(&[&options[..], &["b", "--name", "two"]].concat(), "exec sleep 1000").works();
    for kind in ["net", "ipc", "uts", "pid"] {
        assert_ne!(namespace(&place, "one", kind), namespace(&place, "two", kind), "{kind}");
    }
    assert_eq!(place.usnea(&["exec", "two", "hostname"]).works(), "b");
    pod(&place, &["--share", "+pid"], "close");
    member(&place, "close", "init", "exec sleep 1007");
    member(&place, "close", "joiner", "exec sleep 1008");
    let seen =
        place.usnea(&["exec", "joiner", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]);
    assert!(seen.works().contains("sleep 1007"), "{seen:?}");
    // The first process of the namespace ends all.
    place.usnea(&["kill", "init"]).works();
    let has_ended = || field(&place, "joiner", "{{.State.Status}}") == "exited";
    assert!(within(LIMIT, has_ended));
    place.usnea(&["pod", "start", "close"]).works();
    assert_eq!(namespace(&place, "init", "pid"), namespace(&place, "joiner", "pid"));
    end(&place);
}

#[test]
fn a_member_that_fails_does_not_keep_the_others_from_starting() {
    let place = Place::new();
    pod(&place, &[], "shop");
    let image = place.image();
    place.usnea(&["create", "--pod", "shop", "--name", "bad", &image, "/nonexistent"]).works();
    place.usnea(&["create", "--pod", "shop", "--name", "good", &image, "sleep", "1000"]).works();
    place.usnea(&["pod", "start", "shop"]).fails_with(1, &["container bad"]);
    assert_eq!(field(&place, "good", "{{.State.Status}}"), "running");
    assert_eq!(of_pod(&place, "shop", "{{.State}}"), "Degraded");
    // Two starts at once: the namespaces are made once.
    place.usnea(&["stop", "-t", "0", "good"]).works();
    place.usnea(&["create", "--pod", "shop", "--name", "more", &image, "sleep", "1000"]).works();
    let start = |name: &str| Started::new(&mut place.command(&["start", name]), "");
    let both = [start("good"), start("more")];
    both.into_iter().for_each(|one| drop(one.end().works().to_owned()));
    assert_eq!(namespace(&place, "good", "net"), namespace(&place, "more", "net"));
    end(&place);
}

#[test]
fn a_pod_is_made_with_its_first_container_and_found_by_a_file() {
    let place = Place::new();
    let options =
        ["-d", "--pod", "new:shop", "--network", "none", "--hostname", "box", "--name", "one"];
    place.run_kept(&options, "exec sleep 1000").works();
    assert_eq!(of_pod(&place, "shop", "{{.Hostname}}"), "box");
    place
        .run_kept(&["-d", "--pod", "new:shop"], "true")
        .fails_with(125, &["the name shop is in use"]);
    // Without its container, the new pod does not stay.
    place.usnea(&["run", "-d", "--pod", "new:lost", "dir:/nonexistent", "true"]).exits(125);
    place.usnea(&["pod", "exists", "lost"]).exits(1);
    let file = place.path("pod-id");
    let file = file.to_str().expect("UTF-8");
    pod(&place, &["--pod-id-file", file], "second");
    place.run_kept(&["-d", "--pod-id-file", file, "--name", "two"], "exec sleep 1000").works();
    let id = of_pod(&place, "second", "{{.Id}}");
    assert_eq!(field(&place, "two", "{{.Pod}}"), id);
    let row = place.usnea(&[
        "ps",
        "--filter",
        "pod=second",
        "--no-trunc",
        "--format",
        "{{.Names}} {{.Pod}} {{.PodName}}",
    ]);
    assert_eq!(row.works(), format!("two {id} second"));
    place.usnea(&["pod", "stop", "-t", "0", "--pod-id-file", file]).works();
    assert_eq!(place.usnea(&["pod", "prune", "--force"]).works(), id);
    place.usnea(&["pod", "stop", "-t", "0", "shop"]).works();
    let pruned = place.usnea(&["system", "prune", "--force"]);
    assert!(pruned.works().contains("Deleted: pod "), "{pruned:?}");
    end(&place);
}

#[test]
fn documents_are_in_podman_s_shape() {
    let place = Place::new();
    let id = pod(&place, &["--label", "a=b", "--restart", "always", "-v", "/tmp:/mnt"], "shop");
    let one = member(&place, "shop", "one", "exec sleep 1000");
    let text = place.usnea(&["pod", "inspect", "shop"]).works().to_owned();
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let pod = document[0].as_object_mut().expect("one pod");
    assert!(
        pod.remove("Created")
            .is_some_and(|time| time.as_str().is_some_and(|time| time.ends_with('Z')))
    );
    assert!(pod.remove("CreateCommand").is_some_and(|words| words.is_array()));
    let expected = json!([{
        "Id": id,
        "Name": "shop",
        "ExitPolicy": "stop",
        "State": "Running",
        "Hostname": "shop",
        "Labels": { "a": "b" },
        "CreateCgroup": false,
        "CreateInfra": false,
        "InfraContainerID": "",
        "InfraConfig": {
            "PortBindings": {},
            "HostNetwork": false,
            "StaticIP": "",
            "StaticMAC": "",
            "NoManageResolvConf": false,
            "DNSServer": [],
            "DNSSearch": [],
            "DNSOption": [],
            "NoManageHosts": false,
            "HostAdd": [],
            "Networks": ["none"],
            "NetworkOptions": null,
            "userns": "host",
        },
        "SharedNamespaces": ["ipc", "net", "uts"],
        "NumContainers": 1,
        "Containers": [{ "Id": one, "Name": "one", "State": "running" }],
        "Mounts": ["/tmp:/mnt"],
        "RestartPolicy": "always",
        "LockNumber": 0,
    }]);
    assert_eq!(document, expected);
    let text = place.usnea(&["pod", "ps", "--format", "json"]).works().to_owned();
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    let row = &rows[0];
    for (name, value) in [
        ("Id", json!(id)),
        ("Name", json!("shop")),
        ("Status", json!("Running")),
        ("InfraId", json!("")),
        ("Cgroup", json!("")),
        ("Namespace", json!("")),
        ("Networks", json!(["none"])),
        ("Labels", json!({ "a": "b" })),
        (
            "Containers",
            json!([{ "Id": one, "Names": "one", "Status": "running", "RestartCount": 0 }]),
        ),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    // The settings of the pod are the member's.
    assert_eq!(field(&place, "one", "{{.HostConfig.RestartPolicy.Name}}"), "always");
    assert_eq!(field(&place, "one", "{{(index .Mounts 0).Destination}}"), "/mnt");
    end(&place);
}

#[test]
fn the_output_of_all_members_is_shown_with_its_source() {
    let place = Place::new();
    pod(&place, &[], "shop");
    let one = member(
        &place,
        "shop",
        "one",
        "echo first; echo bad >&2; until [ -e /dev/shm/two ]; do sleep 0.05; done; printf end",
    );
    let two = member(&place, "shop", "two", "echo second; echo third; touch /dev/shm/two");
    place.usnea(&["wait", "one", "two"]).works();
    let (short_one, short_two) = (&one[..12], &two[..12]);
    let ran = place.usnea(&["pod", "logs", "shop"]);
    ran.works();
    let expected =
        format!("{short_one} first\n{short_one} end{short_two} second\n{short_two} third\n");
    assert_eq!((ran.stdout, ran.stderr), (expected, format!("{short_one} bad\n")));
    let ran = place.usnea(&["pod", "logs", "--names", "--tail", "1", "-c", "two", "shop"]);
    assert_eq!(ran.works(), "two third");
    let ran = place.usnea(&["pod", "logs", "--color", "--latest"]);
    assert!(ran.works().contains(&format!("\x1b[31m{short_one} first\x1b[0m")), "{ran:?}");
    assert!(ran.stdout.contains(&format!("\x1b[32m{short_two} second\x1b[0m")), "{ran:?}");
    place
        .usnea(&["pod", "logs", "-c", "nobody", "shop"])
        .fails_with(125, &["has no container 'nobody'"]);
    place.usnea(&["pod", "logs", "nobody"]).fails_with(125, &["no pod is called 'nobody'"]);
    // Followed side by side: the second one speaks while the first one is silent.
    let wait = "until [ -e /dev/shm/go ]; do sleep 0.05; done; echo late one";
    member(&place, "shop", "slow", wait);
    member(&place, "shop", "quick", "echo early; sleep 0.5; touch /dev/shm/go; echo last");
    let mut command = place.command(&["pod", "logs", "--follow", "--names", "shop"]);
    let followed = finish(&mut command, "");
    for line in ["one first", "two third", "slow late one", "quick early", "quick last"] {
        assert!(followed.works().lines().any(|one| one.ends_with(line)), "{line}: {followed:?}");
    }
    end(&place);
}

#[test]
fn processes_and_usage_of_a_pod_are_those_of_its_members() {
    let place = Place::new();
    let id = pod(&place, &[], "shop");
    place
        .usnea(&["pod", "top", "shop"])
        .fails_with(125, &["pod shop is not running: it is created"]);
    let one = member(&place, "shop", "one", "exec sleep 1001");
    member(&place, "shop", "two", "sleep 1002");
    member(&place, "shop", "ended", "true");
    place.usnea(&["wait", "ended"]).works();
    place.run_kept(&["-d", "--name", "outside", "--network", "none"], "exec sleep 1003").works();
    let table = place.usnea(&["pod", "top", "shop", "-o", "pid,args"]);
    let lines: Vec<_> = table.works().lines().collect();
    assert!(lines[0].contains("PID"), "{table:?}");
    let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert!(count("sleep 1001") >= 1 && count("sleep 1002") >= 1, "{table:?}");
    assert_eq!(count("sleep 1003"), 0, "{table:?}");
    let rows = |words: &[&str]| {
        let words = [&["pod", "stats", "--no-stream"], words].concat();
        place.usnea(&words).works().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let table = rows(&[]);
    assert!(table[0].starts_with("POD") && table[0].contains("CID"), "{table:?}");
    assert_eq!(table.len(), 3, "{table:?}");
    assert!(
        table.iter().any(|row| row.contains(&id[..12]) && row.contains(&one[..12])),
        "{table:?}"
    );
    let mut names = rows(&["--format", "{{.Pod}} {{.Name}}", "shop"]);
    names.sort();
    assert_eq!(names, [format!("{} one", &id[..12]), format!("{} two", &id[..12])]);
    let json: Value = serde_json::from_str(
        place.usnea(&["pod", "stats", "--no-stream", "--format", "json"]).works(),
    )
    .expect("JSON");
    assert!(json[0]["PIDS"].is_string() && json[0]["MemUsage"].is_string(), "{json}");
    place.usnea(&["pod", "stats", "--no-stream", "nobody"]).fails_with(125, &["no pod is called"]);
    end(&place);
}

#[test]
fn members_have_each_other_s_names() {
    let place = Place::new();
    pod(&place, &[], "shop");
    member(&place, "shop", "server", "exec busybox nc -ll -p 8080 -e echo served");
    let ask = "i=0; until busybox nc server 8080 </dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done";
    let ran = place.run_kept(&["--rm", "--pod", "shop", "--name", "client"], ask);
    assert_eq!(ran.works(), "served");
    // The one that was there before knows those that came later, once each.
    place.usnea(&["pod", "restart", "-t", "0", "shop"]).works();
    member(&place, "shop", "later", "exec sleep 1000");
    let hosts = |name: &str| place.usnea(&["exec", name, "cat", "/etc/hosts"]).works().to_owned();
    for name in ["server", "later"] {
        let text = hosts(name);
        for known in ["server", "later", "shop"] {
            let has_it = |line: &&str| *line == format!("127.0.0.1\t{known}");
            assert_eq!(text.lines().filter(has_it).count(), 1, "{name}: {text}");
        }
    }
    end(&place);
}

#[test]
fn a_policy_that_needs_a_process_of_the_pod_is_refused_with_the_reason() {
    let place = Place::new();
    place.usnea(&["pod", "create", "--exit-policy", "stop", "one"]).works();
    assert_eq!(of_pod(&place, "one", "{{.ExitPolicy}}"), "stop");
    let ran = place.usnea(&["pod", "create", "--exit-policy", "continue", "two"]);
    ran.fails_with(125, &["a pod has no process of its own", "use stop"]);
    let ran = place.usnea(&["pod", "create", "--exit-policy", "never", "two"]);
    ran.fails_with(125, &["no such policy"]);
    assert_eq!(place.usnea(&["pod", "exists", "two"]).status, 1);
    end(&place);
}

/// Processes that strace(1) has stopped.
fn stopped(place: &Place) -> Vec<String> {
    let trace = fs::read_to_string(place.path("trace")).unwrap_or_default();
    let stopped = trace.lines().filter(|line| line.contains("stopped by SIGSTOP"));
    stopped.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn a_member_joins_another_one_when_its_first_choice_ends_during_the_launch() {
    if !need("strace") {
        return;
    }
    let place = Place::new();
    // newuidmap has no powers under strace: with subordinate IDs, there is another member, whose IDs are joined.
    let sets: &[&[&str]] = if has_subids() { &[&["other"]] } else { &[&["other"], &[]] };
    for others in sets {
        pod(&place, &[], "shop");
        member(&place, "shop", "first", "exec sleep 1000");
        for other in *others {
            member(&place, "shop", other, "exec sleep 1000");
        }
        let words = place.kept(&["create", "--pod", "shop", "--name", "second"], "exec sleep 1000");
        place.usnea(&words).works();
        // Its monitor calls setsid(2) when the namespaces are chosen and not yet joined.
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "trace", "-e", "trace=setsid"]);
        command.args(["-e", "inject=setsid:signal=STOP", binary().to_str().unwrap()]);
        place.prepare(command.args(["start", "second"]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut start = command.spawn().expect("strace");
        assert!(within(LIMIT, || !stopped(&place).is_empty()));
        place.usnea(&["kill", "first"]).works();
        place.usnea(&["wait", "first"]).works();
        let runs = || {
            for pid in stopped(&place) {
                // One that was continued before may have ended.
                let _ = Command::new("kill").args(["-CONT", &pid]).stderr(Stdio::null()).status();
            }
            field(&place, "second", "{{.State.Status}}") == "running"
        };
        assert!(within(LIMIT, runs), "{}", place.read("trace"));
        for other in *others {
            for kind in ["net", "ipc", "uts"] {
                assert_eq!(namespace(&place, "second", kind), namespace(&place, other, kind));
            }
        }
        assert_eq!(place.usnea(&["exec", "second", "hostname"]).works(), "shop");
        place.usnea(&["exec", "second", "touch", "/dev/shm/file"]).works();
        end(&place);
        start.wait().expect("strace");
        fs::remove_file(place.path("trace")).expect("the trace");
    }
}
