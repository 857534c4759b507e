//! Containers on named networks: they find and reach the members of their own networks, and no others.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

use crate::networked::{LIMIT, Networked};
use crate::support::{need, within};

#[test]
fn members_find_each_other_by_name_alias_id_and_host_name() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal", "--ipv6"]);
    let options = ["--network", "net:alias=www,alias=api", "--hostname", "box"];
    let id = set.server("web", &options);
    set.idle("user", &["--network", "net"]);
    let v4 = set.address("web", "net");
    let v6 = set.of_network("web", "net", "GlobalIPv6Address");
    let own = set.address("user", "net");
    let names = ["web", "www", "api", "box", &id[..12], "WEB", "web.net"];
    for name in names {
        assert_eq!(set.addresses("user", name, "a"), [v4.as_str()], "{name}");
        assert_eq!(set.addresses("user", name, "+tcp aaaa"), [v6.as_str()], "{name}");
        let found = set.inside("user", &format!("getent ahostsv4 {name}"));
        assert_eq!(found.works().split_whitespace().next(), Some(v4.as_str()), "{name}");
        let found = set.inside("user", &format!("busybox nslookup {name}"));
        assert!(found.works().contains(&v4), "{found:?}");
    }
    for kind in ["tcp", "udp"] {
        assert_eq!(
            set.asks("user", kind, "www"),
            set.of_network("user", "net", "GlobalIPv6Address")
        );
        assert_eq!(set.asks("user", kind, &v4), own, "the caller's own address is seen");
    }
    for address in [&v4, &v6] {
        set.inside("user", &format!("ping -c 1 -W 5 {address}")).works();
        assert_eq!(set.addresses("user", &format!("-x {address}"), ""), ["web.net."]);
    }
    assert_eq!(set.dns_status("user", "nobody"), "NXDOMAIN");
    set.clean();
}

#[test]
fn members_of_two_networks_neither_see_nor_reach_each_other() {
    let Some(set) = Networked::new() else { return };
    // With a way out, and without: neither leads into the other network.
    set.network("one", &[]);
    set.network("two", &["--internal"]);
    set.server("first", &["--network", "one"]);
    set.server("second", &["--network", "two"]);
    set.server("both", &["--network", "one", "--network", "two"]);
    let (first, second) = (set.address("first", "one"), set.address("second", "two"));
    let both = [set.address("both", "one"), set.address("both", "two")];
    set.reaches_not("first", "second", &second);
    set.reaches_not("second", "first", &first);
    set.reaches_not("first", "both", &both[1]);
    assert_eq!(set.dns_status("second", "first"), "NXDOMAIN");
    assert_eq!(set.addresses("first", "second", ""), [""; 0]);
    assert_eq!(set.addresses("first", "both", ""), [both[0].as_str()]);
    assert_eq!(set.addresses("second", "both", ""), [both[1].as_str()]);
    assert_eq!(set.asks("both", "tcp", "first"), both[0]);
    assert_eq!(set.asks("both", "udp", "second"), both[1]);
    assert_eq!(set.asks("first", "tcp", "both"), first);
    let listed = set.place.usnea(&["ps", "--format", "{{.Networks}}", "--filter", "name=both"]);
    assert_eq!(listed.works(), "one,two");
    for network in ["one", "two"] {
        let filter = format!("network={network}");
        let words = ["ps", "--format", "{{.Names}}", "--filter", &filter, "--filter", "name=both"];
        assert_eq!(set.place.usnea(&words).works(), "both");
    }
    let interfaces = set.inside("both", "ls /sys/class/net | grep -c '^eth'");
    assert_eq!(interfaces.works(), "2");
    for (first, second) in [("x0", "x0"), ("eth5", "tap0")] {
        let [first, second] =
            [format!("one:interface_name={first}"), format!("two:interface_name={second}")];
        let words = ["run", "-d", "--rm", "--network", &first, "--network", &second];
        set.place
            .usnea(&set.words(&words, "true"))
            .fails_with(125, &["network two", "interface of"]);
    }
    set.idle("named", &["--network", "one", "--network", "two:interface_name=eth0"]);
    let eth0 = set.inside("named", "ip -o -4 address show eth0");
    assert!(eth0.works().contains(&set.address("named", "two")), "{eth0:?}");
    set.clean();
}

#[test]
fn an_internal_network_has_no_external_connectivity_and_no_published_ports() {
    let Some(set) = Networked::new() else { return };
    set.network("inside", &["--internal"]);
    set.idle("alone", &["--network", "inside"]);
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let gateway = set.of_network("alone", "inside", "Gateway");
    assert_eq!(gateway, "", "docker's internal networks have none");
    for address in ["203.0.113.1", "10.0.2.2", "127.0.0.1"] {
        let ran = set.inside("alone", &format!("python3 /srv/ask.py tcp {address} {port}"));
        assert_eq!(ran.status, 1, "{ran:?}");
    }
    assert_eq!(set.dns_status("alone", "example.org"), "NXDOMAIN");
    let words = ["run", "-d", "--network", "inside", "-p", "127.0.0.1::80"];
    let refused = set.place.usnea(&set.words(&words, "true"));
    refused.fails_with(125, &["internal"]);
    set.clean();
}

#[test]
fn asked_addresses_and_names_are_given_and_shown() {
    let Some(set) = Networked::new() else { return };
    let subnets = ["--internal", "--subnet", "10.57.0.0/24", "--subnet", "fd57::/64"];
    let id = set.network("net", &subnets);
    let wish = "net:ip=10.57.0.9,ip6=fd57::9,mac=02:00:00:00:57:09,alias=a1,interface_name=lan";
    let container = set.idle("web", &["--network", wish, "--hostname", "box"]);
    let shown = set.field("web", "/NetworkSettings/Networks/net");
    for (field, value) in [
        ("IPAddress", json!("10.57.0.9")),
        ("IPPrefixLen", json!(24)),
        ("Gateway", json!("")),
        ("GlobalIPv6Address", json!("fd57::9")),
        ("GlobalIPv6PrefixLen", json!(64)),
        ("MacAddress", json!("02:00:00:00:57:09")),
        ("NetworkID", json!(id)),
        ("Aliases", json!(["a1"])),
        ("DNSNames", json!(["web", "a1", &container[..12], "box"])),
        ("IPAMConfig", json!({"IPv4Address": "10.57.0.9", "IPv6Address": "fd57::9"})),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["EndpointID"].as_str().unwrap().len(), 64);
    assert_eq!(set.field("web", "/HostConfig/NetworkMode"), json!("net"));
    assert_eq!(set.field("web", "/NetworkSettings/IPAddress"), json!(""));
    let link = set.inside("web", "cat /sys/class/net/lan/address; grep lan /proc/net/if_inet6");
    assert!(link.works().starts_with("02:00:00:00:57:09\n"), "{link:?}");
    assert!(link.works().contains("\nfd57000000000000"), "{link:?}");

    // Ports that are taken are refused: nothing begins.
    for (wish, phrase) in [
        ("net:ip=10.57.0.9", "10.57.0.9"),
        ("net:mac=02:00:00:00:57:09", "02:00:00:00:57:09"),
        ("net:mac=02:42:0a:39:00:01", "the gateway"),
        ("net:ip=10.58.0.1", "10.58.0.1"),
    ] {
        let mark = format!("{}:/mark", set.place.folder("mark").display());
        let words = ["run", "-d", "--rm", "--network", wish, "-v", &mark];
        let refused = set.place.usnea(&set.words(&words, "touch /mark/begun"));
        refused.fails_with(125, &["net", phrase]);
        assert!(!set.place.path("mark/begun").exists());
    }
    set.place.usnea(&["stop", "--time", "0", "web"]).works();
    let shown = set.field("web", "/NetworkSettings/Networks/net");
    assert_eq!((&shown["IPAddress"], &shown["MacAddress"]), (&json!(""), &json!("")));
    assert_eq!((&shown["NetworkID"], &shown["Aliases"]), (&json!(id), &json!(["a1"])));
    set.clean();
}

#[test]
fn networks_of_blocked_members_and_of_a_size_of_packets_are_so() {
    let Some(set) = Networked::new() else { return };
    let options = ["--internal", "--opt", "com.docker.network.bridge.enable_icc=false"];
    set.network("apart", &[&options[..], &["--opt", "mtu=1300"]].concat());
    set.server("one", &["--network", "apart"]);
    set.server("two", &["--network", "apart"]);
    let two = set.address("two", "apart");
    assert_eq!(set.addresses("one", "two", ""), [two.as_str()], "names are known");
    set.reaches_not("one", "two", &two);
    assert_eq!(set.inside("one", "cat /sys/class/net/eth0/mtu").works(), "1300");
    set.clean();
}

#[test]
fn a_name_of_several_members_has_all_their_addresses() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    set.idle("user", &["--network", "net"]);
    let mut all = Vec::new();
    for name in ["s1", "s2", "s3"] {
        set.idle(name, &["--network", "net:alias=service"]);
        all.push(set.address(name, "net"));
    }
    all.sort();
    assert_eq!(set.addresses("user", "service", ""), all);
    // The gateway's hardware address stays when members come and go, or their neighbour caches would be wrong.
    let gateway = "grep \"^$(awk '/nameserver/ { print $2 }' /etc/resolv.conf) \" /proc/net/arp";
    let arp = set.inside("user", gateway);
    assert!(arp.works().contains(" 02:42:0a:59:"), "{arp:?}");
    set.place.usnea(&["rm", "-f", "--time", "0", "s2"]).works();
    let left = [set.address("s1", "net"), set.address("s3", "net")];
    assert_eq!(set.addresses("user", "service", "+tcp"), left);
    assert_eq!(set.dns_status("user", "s2"), "NXDOMAIN");
    set.clean();
}

#[test]
fn ports_lead_in_and_connections_out_come_from_the_networks_address() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &[]);
    set.server("web", &["--network", "net", "-p", "127.0.0.1::7000"]);
    let port = set.place.usnea(&["port", "web", "7000"]).works().to_owned();
    let answers = || {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(&port).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.read_to_string(&mut answer).ok().filter(|length| *length > 0)
    };
    assert!(within(LIMIT, || answers().is_some()), "{port} leads nowhere");
    let source = "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                  s.connect((\"203.0.113.1\", 9)); print(s.getsockname()[0])'";
    assert_eq!(set.inside("web", source).works(), set.address("web", "net"));
    set.clean();
}

#[test]
fn a_service_of_two_networks_asks_the_one_behind_it() {
    let Some(set) = Networked::new() else { return };
    set.network("front", &[]);
    set.network("back", &["--internal"]);
    set.server("db", &["--network", "back:alias=store"]);
    let web = "import socket\nfront = socket.create_server((\"\", 8000))\nwhile True:\n    \
               one, _ = front.accept()\n    \
               with socket.create_connection((\"store\", 7000), 5) as back: one.sendall(back.recv(99))\n    \
               one.close()\n";
    set.place.write("full/srv/web.py", web);
    let options = ["--network", "front", "--network", "back", "-p", "127.0.0.1::8000"];
    // The web server is started again until the store answers.
    let script = "while :; do python3 /srv/web.py; sleep 0.1; done";
    set.start("web", &options, script);
    let port = set.place.usnea(&["port", "web", "8000"]).works().to_owned();
    let expected = format!("{}\n", set.address("web", "back"));
    let asked = || {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(&port).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    assert!(within(LIMIT, || asked().is_some_and(|answer| answer == expected)));
    set.idle("user", &["--network", "front"]);
    assert_eq!(set.addresses("user", "store", ""), [""; 0]);
    set.clean();
}

#[test]
fn a_container_that_listens_on_port_53_does_not_disturb_others() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    set.start("resolver", &["--network", "net"], "exec python3 /srv/serve.py 53");
    set.server("web", &["--network", "net"]);
    let web = set.address("web", "net");
    let listens = || set.inside("resolver", "grep -q ':0035 ' /proc/net/tcp6").status == 0;
    assert!(within(LIMIT, listens), "nothing listens");
    assert_eq!(set.addresses("resolver", "web", ""), [web.as_str()]);
    assert_eq!(set.addresses("web", "resolver", ""), [set.address("resolver", "net")]);
    let own = set.inside("web", "python3 /srv/ask.py udp resolver 53");
    assert_eq!(own.works(), web);
    set.clean();
}

#[test]
fn resolvers_of_musl_and_go_know_the_names() {
    let Some(set) = Networked::new() else { return };
    if !need("musl-gcc") || !need("skopeo") {
        return;
    }
    let source = "#include <stdio.h>\n#include <netdb.h>\n#include <arpa/inet.h>\n\
        int main(int count, char **words) {\n    struct addrinfo hints = { .ai_family = AF_INET }, *found;\n    \
        if (getaddrinfo(words[1], 0, &hints, &found)) return 1;\n    \
        puts(inet_ntoa(((struct sockaddr_in *)found->ai_addr)->sin_addr));\n}\n";
    let source = set.place.write("find.c", source);
    let mut compile = Command::new("musl-gcc");
    compile.arg("-static").arg("-o").arg(set.place.path("full/srv/find")).arg(source);
    assert!(compile.status().unwrap().success());
    set.network("net", &["--internal"]);
    set.server("web", &["--network", "net:alias=www"]);
    set.idle("user", &["--network", "net"]);
    let (web, user) = (set.address("web", "net"), set.address("user", "net"));
    for name in ["web", "www", "web.net"] {
        assert_eq!(set.inside("user", &format!("/srv/find {name}")).works(), web);
    }
    assert_eq!(set.inside("user", "/srv/find nobody").status, 1);
    // skopeo is a Go program: its connection comes to the server, whose answer is none of a registry's.
    set.asks("user", "tcp", "web");
    let lines = || set.place.usnea(&["logs", "web"]).works().matches(&user).count();
    let before = lines();
    let go = "GODEBUG=netdns=go HOME=/tmp skopeo inspect --tls-verify=false docker://www:7000/x";
    assert_ne!(set.inside("user", go).status, 0);
    assert!(lines() > before, "Go did not find www");
    set.clean();
}

#[test]
fn a_port_that_is_not_published_has_no_socket_on_the_host() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &[]);
    let options = ["--network", "net", "-p", "127.0.0.1::7001"];
    set.start("web", &options, "exec python3 /srv/serve.py 7123");
    set.idle("user", &["--network", "net"]);
    let ask = "python3 /srv/ask.py tcp web 7123";
    assert!(within(LIMIT, || set.inside("user", ask).status == 0), "nobody answers inside");
    let port = set.place.usnea(&["port", "web", "7001"]).works().to_owned();
    let published = port.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let has_socket = |port: u16| {
        let end = format!(":{port:04X}");
        ["tcp", "tcp6", "udp", "udp6"].into_iter().any(|kind| {
            let table = std::fs::read_to_string(format!("/proc/net/{kind}")).unwrap_or_default();
            let own = |line: &str| line.split_whitespace().nth(1).map(|one| one.ends_with(&end));
            table.lines().filter_map(own).any(|is_here| is_here)
        })
    };
    assert!(has_socket(published), "the published port");
    assert!(!has_socket(7123) && !has_socket(7001));
    set.clean();
}
