//! Networks of pods: published ports, named networks and names, which outlive the member that owns them.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;

use crate::networked::{LIMIT, Networked};
use crate::pods::{field, of_pod};
use crate::support::within;

/// Port of the host that leads to port 7000 of a pod.
fn port(set: &Networked, pod: &str) -> u16 {
    let format = "{{(index (index .InfraConfig.PortBindings \"7000/tcp\") 0).HostPort}}";
    of_pod(&set.place, pod, format).parse().expect("a port")
}

/// True if a server answers at the port within some seconds.
fn answers(port: u16) -> bool {
    within(LIMIT, || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && !text.is_empty()
    })
}

fn monitor(set: &Networked, name: &str) -> String {
    field(&set.place, name, "{{.State.ConmonPid}}")
}

fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-9", pid]).status().expect("kill");
    assert!(killed.success());
}

#[test]
fn ports_and_external_connectivity_outlive_the_member_that_owns_them() {
    let Some(set) = Networked::new() else { return };
    set.place.usnea(&["pod", "create", "-p", "127.0.0.1::7000", "shop"]).works();
    set.idle("first", &["--pod", "shop"]);
    set.server("web", &["--pod", "shop"]);
    set.idle("third", &["--pod", "shop"]);
    let port = port(&set, "shop");
    assert!(answers(port));
    for name in ["first", "web"] {
        let shown = set.place.usnea(&["port", name]);
        assert_eq!(shown.works(), format!("7000/tcp -> 127.0.0.1:{port}"), "{name}");
        let filter = format!("name=^{name}$");
        let row = set.place.usnea(&["ps", "--filter", &filter, "--format", "{{.Ports}}"]);
        assert_eq!(row.works(), format!("127.0.0.1:{port}->7000/tcp"), "{name}");
    }
    set.place.usnea(&["stop", "-t", "0", "first"]).works();
    assert!(answers(port), "after the end of the owner");
    set.place.usnea(&["start", "first"]).works();
    // Each monitor but that of the server is killed: one of them is the owner's, unless that is the server's.
    for name in ["third", "first"] {
        kill(&monitor(&set, name));
        assert!(answers(port), "after the death of the monitor of {name}");
    }
    set.inside("web", "ip -o address show eth0 | grep -q 10.0.2.100").works();
    let helpers = |text: String| text.contains("slirp4netns") || text.contains("pasta");
    let server: i32 = monitor(&set, "web").parse().expect("a number");
    let own = crate::support::processes()
        .into_iter()
        .filter(|one| one.parent() == Some(server) && helpers(one.text("cmdline")));
    assert_eq!(own.count(), 1, "the helper is a child of the member that is left");
    kill(&monitor(&set, "web"));
    assert!(within(LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_err()));
    assert_eq!(of_pod(&set.place, "shop", "{{.State}}"), "Exited");
    set.place.usnea(&["pod", "rm", "shop"]).works();
    set.clean();
}

#[test]
fn a_pod_keeps_its_address_and_its_name_on_a_named_network() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    let options = ["--network", "net", "--network-alias", "api", "--hostname", "box"];
    set.place.usnea(&[&["pod", "create"], &options[..], &["shop"]].concat()).works();
    set.idle("first", &["--pod", "shop"]);
    set.server("web", &["--pod", "shop"]);
    set.idle("user", &["--network", "net"]);
    let address = set.addresses("user", "shop", "a");
    assert_eq!(address.len(), 1, "{address:?}");
    let id = of_pod(&set.place, "shop", "{{.Id}}");
    for name in ["api", "box", &id[..12]] {
        assert_eq!(set.addresses("user", name, "a"), address, "{name}");
    }
    set.asks("user", "tcp", "shop");
    assert_eq!(set.asks("web", "tcp", "localhost"), "127.0.0.1");
    set.place.usnea(&["network", "rm", "net"]).fails_with(1, &["is in use by", "shop"]);
    for (what, lose) in [("stop", false), ("kill", true)] {
        match lose {
            false => drop(set.place.usnea(&["stop", "-t", "0", "first"]).works().to_owned()),
            true => kill(&monitor(&set, "first")),
        }
        assert!(within(LIMIT, || set.addresses("user", "shop", "a") == address), "{what}");
        set.asks("user", "tcp", "shop");
        // The other way, with names: the member that is left answers, or any other of the network.
        assert_eq!(set.addresses("web", "user", "a").len(), 1, "{what}");
        // The owner is `first` again: the server, which has the way out now, leaves and comes back.
        set.place.usnea(&["start", "first"]).works();
        set.place.usnea(&["restart", "-t", "0", "web"]).works();
        assert!(within(LIMIT, || set.addresses("user", "shop", "a") == address), "{what}");
        set.asks("user", "udp", "shop");
    }
    set.place.usnea(&["pod", "rm", "-f", "shop"]).works();
    assert_eq!(set.dns_status("user", "shop"), "NXDOMAIN");
    set.clean();
    set.place.usnea(&["network", "rm", "net"]).works();
}

#[test]
fn members_are_found_by_their_names_from_the_pod_s_network() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    set.place.usnea(&["pod", "create", "--network", "net", "shop"]).works();
    set.idle("first", &["--pod", "shop"]);
    let web = set.server("web", &["--pod", "shop"]);
    set.idle("user", &["--network", "net"]);
    let pod = set.addresses("user", "shop", "a");
    for name in ["first", "web", "WEB", "web.net", &web[..12]] {
        assert_eq!(set.addresses("user", name, "a"), pod, "{name}");
    }
    set.asks("user", "tcp", "web");
    assert_eq!(set.addresses("user", &pod[0], "-x"), ["shop.net."], "an address has one name");
    // Inside the pod it is localhost, or the pod's address for those who ask the name server.
    assert_eq!(set.asks("first", "tcp", "web"), "127.0.0.1");
    assert_eq!(set.addresses("first", "web", "a"), pod);
    set.place.usnea(&["rename", "web", "site"]).works();
    assert_eq!(set.addresses("user", "site", "a"), pod);
    assert_eq!(set.asks("first", "tcp", "site"), "127.0.0.1");
    assert_eq!(set.dns_status("user", "web"), "NXDOMAIN");
    // A name goes with its member, also with one that was killed, and those of the others stay when the way out moves.
    for lose in [false, true] {
        match lose {
            false => drop(set.place.usnea(&["stop", "-t", "0", "first"]).works().to_owned()),
            true => kill(&monitor(&set, "first")),
        }
        assert!(within(LIMIT, || set.dns_status("user", "first") == "NXDOMAIN"));
        assert!(within(LIMIT, || set.addresses("user", "site", "a") == pod));
        set.place.usnea(&["start", "first"]).works();
        assert_eq!(set.addresses("user", "first", "a"), pod);
        set.place.usnea(&["restart", "-t", "0", "site"]).works();
        assert!(within(LIMIT, || set.addresses("user", "site", "a") == pod));
        assert!(within(LIMIT, || set.addresses("user", "first", "a") == pod));
    }
    set.place.usnea(&["pod", "stop", "-t", "0", "shop"]).works();
    for name in ["shop", "first", "site"] {
        assert_eq!(set.dns_status("user", name), "NXDOMAIN", "{name}");
    }
    set.place.usnea(&["pod", "rm", "-f", "shop"]).works();
    set.clean();
}
