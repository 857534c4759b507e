//! Networks that a container joins and leaves while it exists: `usnea network connect`, `disconnect`, `reload`.

use std::time::Duration;

use crate::support::{Place, Ran, Started, within};

const LIMIT: Duration = Duration::from_secs(30);

fn network(place: &Place, name: &str, number: u8) {
    let subnet = format!("10.78.{number}.0/24");
    place.usnea(&["network", "create", "--subnet", &subnet, name]).works();
}

fn start(place: &Place, name: &str, network: &str) {
    let options = ["-d", "--name", name, "--network", network];
    place.run_kept(&options, "exec busybox nc -ll -p 80 -e echo here").works();
}

fn exec(place: &Place, container: &str, script: &str) -> Ran {
    place.usnea(&["exec", container, "sh", "-c", script])
}

/// True if `from` gets the answer of the server at `name`.
fn reaches(place: &Place, from: &str, name: &str) -> bool {
    let script = format!("busybox nc -w 2 {name} 80 < /dev/null");
    exec(place, from, &script).stdout.contains("here")
}

fn addresses(place: &Place, container: &str) -> String {
    exec(place, container, "busybox ip -o -4 address").works().to_owned()
}

fn end(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn a_container_that_runs_joins_and_leaves_a_network() {
    let place = Place::new();
    network(&place, "one", 1);
    network(&place, "two", 2);
    start(&place, "web", "one");
    // A member of another network, and a container that has a helper alone.
    for (name, own, interface) in [("other", "two", "eth1"), ("alone", "private", "eth1")] {
        start(&place, name, own);
        assert!(!reaches(&place, name, "web") && !reaches(&place, name, "10.78.1.2"), "{name}");
        let alias = format!("{name}-alias");
        place.usnea(&["network", "connect", "--alias", &alias, "one", name]).works();
        assert!(within(LIMIT, || reaches(&place, name, "web")), "{name}");
        assert!(reaches(&place, "web", name) && reaches(&place, "web", &alias), "{name}");
        let shown = addresses(&place, name);
        assert!(shown.contains(interface) && shown.contains("10.78.1."), "{shown}");
        let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let known = place.usnea(&["inspect", "-f", networks, name]);
        assert!(known.works().contains("one"), "{known:?}");
        place
            .usnea(&["network", "connect", "one", name])
            .fails_with(1, &[name, "is connected to network one already"]);

        place.usnea(&["network", "disconnect", "one", name]).works();
        assert!(!reaches(&place, name, "10.78.1.2") && !reaches(&place, "web", name), "{name}");
        assert!(!addresses(&place, name).contains("10.78.1."), "{name}");
        place
            .usnea(&["network", "disconnect", "one", name])
            .fails_with(1, &[name, "is not connected to network one"]);
    }
    // The server of names is that of the network that is left.
    let resolver = exec(&place, "other", "cat /etc/resolv.conf");
    assert_eq!(resolver.works().lines().last(), Some("nameserver 10.78.2.1"));
    end(&place);
}

#[test]
fn a_connection_outlasts_a_restart_and_is_taken_up_by_a_start() {
    let place = Place::new();
    network(&place, "one", 3);
    network(&place, "two", 4);
    start(&place, "web", "one");
    start(&place, "client", "two");
    place.usnea(&["network", "connect", "--ip", "10.78.3.77", "one", "client"]).works();
    place.usnea(&["restart", "--time", "0", "client"]).works();
    assert!(addresses(&place, "client").contains("10.78.3.77/24"));
    assert!(within(LIMIT, || reaches(&place, "client", "web")));
    place.usnea(&["stop", "--time", "0", "client"]).works();
    place.usnea(&["network", "disconnect", "two", "client"]).works();
    place.usnea(&["start", "client"]).works();
    let shown = addresses(&place, "client");
    assert!(shown.contains("eth0") && !shown.contains("10.78.4."), "{shown}");
    // A stopped container uses its networks too.
    place.usnea(&["stop", "--time", "0", "client"]).works();
    place.usnea(&["rm", "--force", "--time", "0", "web"]).works();
    place.usnea(&["network", "rm", "one"]).fails_with(1, &["one", "in use", "client"]);
    place.usnea(&["network", "rm", "two"]).works();
    end(&place);
}

#[test]
fn external_connectivity_ends_with_the_last_network_that_has_it() {
    let place = Place::new();
    network(&place, "one", 9);
    place.usnea(&["network", "create", "--internal", "--subnet", "10.78.10.0/24", "inner"]).works();
    start(&place, "web", "one");
    place.usnea(&["network", "connect", "inner", "web"]).works();
    let routes = |place: &Place| exec(place, "web", "busybox ip route").works().to_owned();
    assert!(routes(&place).contains("default"));
    place.usnea(&["network", "disconnect", "one", "web"]).works();
    assert!(within(LIMIT, || !routes(&place).contains("default")), "{}", routes(&place));
    assert!(addresses(&place, "web").contains("10.78.10."));
    place.usnea(&["network", "disconnect", "inner", "web"]).works();
    let shown = place.usnea(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", "web"]);
    assert_eq!(shown.works(), "none");
    place.usnea(&["restart", "--time", "0", "web"]).works();
    assert_eq!(routes(&place), "");
    end(&place);
}

#[test]
fn impossible_connections_are_refused_and_change_nothing() {
    let place = Place::new();
    network(&place, "one", 5);
    start(&place, "web", "one");
    start(&place, "lonely", "none");
    start(&place, "client", "private");
    let before = place.usnea(&["inspect", "client"]).works().to_owned();
    for (words, phrases) in [
        (&["one", "lonely"][..], &["lonely", "network none"][..]),
        (&["absent", "client"], &["no network", "absent"]),
        (&["one", "absent"], &["absent"]),
        (&["--ip", "10.78.5.2", "one", "client"], &["10.78.5.2", "in use"]),
        (&["--ip", "10.78.6.2", "one", "client"], &["10.78.6.2"]),
        (&["--ip6", "fd00::2", "one", "client"], &["fd00::2", "no subnet"]),
    ] {
        let words = [&["network", "connect"], words].concat();
        place.usnea(&words).fails_with(1, phrases);
    }
    let after = place.usnea(&["inspect", "client"]).works().to_owned();
    assert_eq!(before, after);
    assert!(!addresses(&place, "client").contains("10.78.5."));
    place.usnea(&["network", "disconnect", "--force", "one", "absent"]).works();
    end(&place);
}

#[test]
fn of_many_connections_at_once_each_gets_an_address_and_one_network_once() {
    let place = Place::new();
    network(&place, "one", 7);
    let names: Vec<String> = (0..6).map(|number| format!("member{number}")).collect();
    for name in &names {
        start(&place, name, "private");
    }
    // Two for each container.
    let mut running: Vec<_> = names
        .iter()
        .chain(&names)
        .map(|name| {
            let mut command = place.command(&["network", "connect", "one", name]);
            command.stderr(std::process::Stdio::null()).spawn().expect("usnea")
        })
        .collect();
    let ended = running.iter_mut().map(|child| child.wait().expect("a status").success());
    assert_eq!(ended.filter(|works| *works).count(), names.len());
    let mut all: Vec<String> = Vec::new();
    for name in &names {
        let shown = addresses(&place, name);
        let of_network: Vec<_> =
            shown.split_whitespace().filter(|word| word.starts_with("10.78.7.")).collect();
        assert_eq!(of_network.iter().filter(|word| word.contains('/')).count(), 1, "{shown}");
        all.extend(of_network.iter().filter(|word| word.contains('/')).map(ToString::to_string));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), names.len());
    for name in &names {
        assert!(within(LIMIT, || reaches(&place, "member0", name)), "{name}");
    }
    end(&place);
}

#[test]
fn interfaces_are_made_anew_with_the_same_addresses() {
    let place = Place::new();
    network(&place, "one", 8);
    start(&place, "web", "one");
    start(&place, "client", "one");
    let before = addresses(&place, "web");
    exec(&place, "web", "busybox ip address").works();
    let reloaded = place.usnea(&["network", "reload", "--all"]);
    assert_eq!(reloaded.works().lines().count(), 2);
    let own = |shown: &str| {
        let words = shown.split_whitespace();
        words.filter(|word| word.starts_with("10.78.")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(own(&addresses(&place, "web")), own(&before));
    assert!(within(LIMIT, || reaches(&place, "client", "web")));
    place.usnea(&["stop", "--time", "0", "web"]).works();
    place.usnea(&["network", "reload", "web"]).fails_with(1, &["web"]);
    end(&place);
}

/// Has a container that shares a network with a running one reach it by each of the names.
fn is_found(place: &Place, names: &[&str]) {
    for name in names {
        let script = format!("busybox nc -w 2 {name} 81 < /dev/null");
        let answers = || exec(place, "web", &script).stdout.contains("there");
        assert!(within(LIMIT, answers), "{name}");
    }
}

#[test]
fn a_disposable_container_in_the_foreground_joins_and_leaves_a_network() {
    let place = Place::new();
    network(&place, "one", 11);
    network(&place, "two", 12);
    start(&place, "web", "one");
    for (own, prefix) in [("two", "10.78.12."), ("private", "10.0.2."), ("one", "10.78.11.")] {
        let list = place
            .kept(&["run", "--rm", "--network", own], "exec busybox nc -ll -p 81 -e echo there");
        let started = Started::new(&mut place.command(&list), "");
        let listed = || {
            place
                .usnea(&["ps", "--format", "{{.Names}}"])
                .works()
                .lines()
                .map(str::to_owned)
                .collect()
        };
        let other = |names: Vec<String>| names.into_iter().find(|name| name != "web");
        assert!(within(LIMIT, || other(listed()).is_some()), "{own}");
        let name = other(listed()).expect("a name");
        if own != "one" {
            assert!(addresses(&place, &name).contains(prefix), "{own}");
            assert!(!reaches(&place, &name, "10.78.11.2"), "{own}");
            place.usnea(&["network", "connect", "--alias", "other-name", "one", &name]).works();
            assert!(within(LIMIT, || reaches(&place, &name, "web")), "{own}");
            is_found(&place, &["other-name"]);
            place
                .usnea(&["network", "connect", "one", &name])
                .fails_with(1, &["is connected to network one already"]);
        }
        is_found(&place, &[&name]);
        let names = "{{range .Containers}}{{.Name}} {{end}}";
        let members = place.usnea(&["network", "inspect", "-f", names, "one"]);
        assert!(members.works().contains(&name), "{own}: {members:?}");
        place.usnea(&["network", "reload", &name]).works();
        place.usnea(&["network", "disconnect", "one", &name]).works();
        assert!(!addresses(&place, &name).contains("10.78.11."), "{own}");
        assert!(!reaches(&place, &name, "10.78.11.2"), "{own}");
        place
            .usnea(&["network", "disconnect", "one", &name])
            .fails_with(1, &["is not connected to network one"]);
        place.usnea(&["stop", "--time", "0", &name]).works();
        assert_eq!(started.end().status, 137, "{own}");
    }
    end(&place);
}

#[test]
fn a_container_gets_external_connectivity_with_its_first_network_that_has_it() {
    let place = Place::new();
    network(&place, "one", 13);
    place.usnea(&["network", "create", "--internal", "--subnet", "10.78.14.0/24", "inner"]).works();
    start(&place, "web", "one");
    start(&place, "closed", "inner");
    start(&place, "lonely", "none");
    let has_uplink =
        |name: &str| exec(&place, name, "busybox ip route").works().contains("default");
    place
        .usnea(&["network", "disconnect", "one", "lonely"])
        .fails_with(1, &["lonely", "is not connected to network one"]);
    place.usnea(&["network", "disconnect", "none", "lonely"]).works();
    place
        .usnea(&["network", "disconnect", "none", "lonely"])
        .fails_with(1, &["is not connected to network none"]);
    for name in ["closed", "lonely"] {
        assert!(!has_uplink(name), "{name}");
        place.usnea(&["network", "connect", "one", name]).works();
        assert!(within(LIMIT, || has_uplink(name)), "{name}: {:?}", place.usnea(&["logs", name]));
        assert!(within(LIMIT, || reaches(&place, name, "web")), "{name}");
        let error = place.usnea(&["inspect", "-f", "{{.State.Error}}", name]);
        assert_eq!(error.works(), "", "{name}");
        // The connection is kept at the next start, and ends with the network.
        place.usnea(&["restart", "--time", "0", name]).works();
        assert!(has_uplink(name), "{name}");
        place.usnea(&["network", "disconnect", "one", name]).works();
        assert!(within(LIMIT, || !has_uplink(name)), "{name}");
        place.usnea(&["network", "connect", "one", name]).works();
        assert!(within(LIMIT, || has_uplink(name)), "{name}");
    }
    end(&place);
}
