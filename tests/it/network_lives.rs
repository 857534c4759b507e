//! Lives of members of named networks: restarts, new names and sudden ends, and what the networks leave.

use std::fs;
use std::process::Command;

use crate::networked::{LIMIT, Networked};
use crate::support::{finish, need, need_subids, within};

/// Network namespaces that a process has open, as /proc names them: `net:[4026532000]`.
fn held_by(pid: i64) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let names = links.map(|link| link.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("net:[")).collect()
}

/// True if any process that this user can look at is in the namespace, or has it open.
fn is_held(namespace: &str) -> bool {
    crate::support::processes().iter().any(|process| {
        let own = fs::read_link(format!("/proc/{}/ns/net", process.number));
        own.is_ok_and(|own| own.to_string_lossy() == namespace)
            || held_by(process.number.into()).iter().any(|held| held == namespace)
    })
}

fn monitor(set: &Networked, name: &str) -> i64 {
    set.field(name, "/State/MonitorPid").as_i64().expect("a number")
}

#[test]
fn a_killed_monitor_takes_its_names_and_leaves_the_network_to_the_others() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    // The first member has made the bridge.
    set.server("first", &["--network", "net"]);
    set.server("second", &["--network", "net"]);
    set.idle("third", &["--network", "net"]);
    let namespaces = held_by(monitor(&set, "first"));
    assert_eq!(namespaces, held_by(monitor(&set, "second")));
    let [namespace] = &namespaces[..] else { panic!("{namespaces:?}") };
    let third = set.address("third", "net");
    assert_eq!(set.asks("third", "tcp", "first"), third);
    let killed = Command::new("kill").args(["-KILL", &monitor(&set, "first").to_string()]).status();
    assert!(killed.unwrap().success());
    let is_gone = || set.dns_status("third", "first") == "NXDOMAIN";
    assert!(within(LIMIT, is_gone));
    assert_eq!(set.asks("third", "tcp", "second"), third);
    // A newcomer gets the address that is free again.
    set.server("fourth", &["--network", "net"]);
    assert_eq!(set.asks("third", "udp", "fourth"), third);
    assert!(is_held(namespace));
    set.clean();
    assert!(within(LIMIT, || !is_held(namespace)), "{namespace} outlives the last member");
    let again = set.server("first", &["--network", "net"]);
    assert_eq!(set.field(&again, "/NetworkSettings/Networks/net/IPPrefixLen"), 24);
    set.clean();
}

#[test]
fn a_restarted_and_a_renamed_container_are_found() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    set.idle("user", &["--network", "net"]);
    let id = set.server("web", &["--network", "net:alias=www"]);
    let user = set.address("user", "net");
    assert_eq!(set.asks("user", "tcp", "web"), user);
    set.place.usnea(&["restart", "--time", "0", "web"]).works();
    assert_eq!(set.asks("user", "tcp", "www"), user);
    set.place.usnea(&["rename", "web", "app"]).works();
    let address = set.address("app", "net");
    for name in ["app", "www", &id[..12]] {
        assert_eq!(set.addresses("user", name, ""), [address.as_str()], "{name}");
    }
    assert_eq!(set.dns_status("user", "web"), "NXDOMAIN");
    let shown = set.place.usnea(&["network", "inspect", "-f", "{{json .Containers}}", "net"]);
    assert!(shown.works().contains("\"app\"") && !shown.works().contains("\"web\""), "{shown:?}");
    set.place.usnea(&["stop", "--time", "0", "app"]).works();
    assert_eq!(set.dns_status("user", "app"), "NXDOMAIN");
    set.place.usnea(&["start", "app"]).works();
    assert_eq!(set.asks("user", "tcp", "app"), user);
    let clone = ["container", "clone", "--run", "app", "twin"];
    set.place.usnea(&clone).works();
    assert_eq!(set.asks("user", "tcp", "twin"), user);
    let both = set.addresses("user", "www", "");
    assert_eq!(both.len(), 2, "{both:?}");
    set.clean();
}

#[test]
fn joining_and_leaving_are_events() {
    let Some(set) = Networked::new() else { return };
    let id = set.network("net", &["--internal"]);
    let container = set.idle("web", &["--network", "net"]);
    set.place.usnea(&["stop", "--time", "0", "web"]).works();
    let format = "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}} \
                  {{.Actor.Attributes.container}}";
    let words =
        ["events", "--since", "1h", "--until", "0s", "--filter", "type=network", "--filter"];
    let told = |event: &str| {
        let filter = format!("event={event}");
        set.place.usnea(&[&words[..], &[&filter, "--format", format]].concat()).works().to_owned()
    };
    for event in ["connect", "disconnect"] {
        assert_eq!(told(event), format!("{event} {id} net bridge {container}"));
    }
    set.clean();
}

#[test]
fn the_commands_of_a_network_are_explained() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--subnet", "10.57.1.0/24", "--opt", "mtu=1400"]);
    let words = set.words(&["run", "--explain", "--network", "net:alias=x"], "true");
    let explained = set.place.usnea(&words);
    for line in [
        "ip link add br0 address 02:42:0a:39:01:01 mtu 1400 type bridge",
        "ip address add 10.57.1.1/24 dev br0",
        "type veth peer name eth0 mtu 1400",
        "ip address add 10.57.1.2/24 dev eth0",
        "ip route replace $(ip route show default) src 10.57.1.2",
    ] {
        assert!(explained.works().contains(line), "'{line}' is not in:\n{}", explained.stdout);
    }
    set.idle("web", &["--network", "net"]);
    let pid = monitor(&set, "web");
    let explained = set.place.usnea(&words);
    assert!(explained.works().contains(&format!("network=/proc/{pid}/fd/")), "{explained:?}");
    assert!(explained.works().contains("10.57.1.3/24 dev eth0"), "{explained:?}");
    let words = set.words(&["--log-level", "debug", "run", "--rm", "--network", "net"], "true");
    let told = set.place.usnea(&words);
    told.works();
    assert!(told.stderr.contains("network net: eth0 10.57.1.3/24"), "{told:?}");
    set.clean();
}

#[test]
fn another_user_enters_no_network() {
    let Some(set) = Networked::new() else { return };
    if !need_subids() || !need("unshare") || !need("setpriv") {
        return;
    }
    set.network("net", &["--internal"]);
    set.idle("web", &["--network", "net"]);
    let pid = monitor(&set, "web");
    // Another user of the machine: a subordinate ID, without powers over the containers' user namespaces.
    let look =
        format!("ls /proc/{pid}/fd/; ls /proc/{pid}/fd/ && echo seen; cat /proc/{pid}/ns/net");
    let mut other = Command::new("unshare");
    other.args(["--user", "--map-root-user", "--map-auto", "setpriv", "--reuid=1", "--regid=1"]);
    other.args(["--clear-groups", "sh", "-c", &look]);
    let ran = finish(&mut other, "");
    assert!(ran.stderr.contains("Permission denied") && !ran.stdout.contains("seen"), "{ran:?}");
    let live = set.place.usnea(&["network", "inspect", "-f", "{{.ID}}", "net"]).works().to_owned();
    let runtime = std::env::var("XDG_RUNTIME_DIR").expect("a session");
    let mut find = Command::new("find");
    let found =
        finish(find.args([&runtime, "-name", &format!("{live}.json"), "-perm", "/077"]), "");
    assert_eq!(found.works(), "", "files that others may read");
    set.clean();
}
