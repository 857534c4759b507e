//! Networks of the store: `usnea network create`, `ls`, `inspect`, `rm`, `prune`, `exists`, and the commands that know of
//! them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kills::kill_at_call;
use crate::stocked::Stocked;
use crate::support::{Place, Ran, finish, need, within};

fn create(place: &Place, words: &[&str]) -> Ran {
    place.usnea(&[&["network", "create"], words].concat())
}

/// Names of the networks that fit, without the built-in ones.
fn names(place: &Place, filters: &[&str]) -> Vec<String> {
    let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
    let words = ["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"];
    let words: Vec<&str> = words.into_iter().chain(filters).collect();
    place.usnea(&words).works().lines().map(str::to_owned).collect()
}

fn inspect(place: &Place, name: &str) -> Value {
    let text = place.usnea(&["network", "inspect", name]).works().to_owned();
    serde_json::from_str::<Value>(&text).unwrap()[0].clone()
}

fn subnet(place: &Place, name: &str) -> String {
    let config = inspect(place, name)["IPAM"]["Config"][0].clone();
    format!("{} {}", config["Subnet"].as_str().unwrap(), config["Gateway"].as_str().unwrap())
}

#[test]
fn a_network_is_made_listed_inspected_and_removed() {
    let place = Place::new();
    let id = create(&place, &["--label", "a=1", "--label", "b", "backend"]).works().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let listed = place.usnea(&["network", "ls"]).works().to_owned();
    let lines: Vec<String> =
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "NETWORK ID NAME DRIVER SCOPE");
    assert_eq!(lines[1], format!("{} backend bridge local", &id[..12]));
    let rest: Vec<&str> = lines[2..].iter().map(|line| &line[13..]).collect();
    assert_eq!(rest, ["bridge bridge local", "host host local", "none null local"]);
    let quiet = ["network", "ls", "-q", "--no-trunc", "--filter", "name=backend"];
    assert_eq!(place.usnea(&quiet).works(), id);

    let path = place.path("store/networks/backend.json");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let found = inspect(&place, &id[..5]);
    assert_eq!((&found["Id"], &found["Name"]), (&json!(id), &json!("backend")));
    assert_eq!(found["Labels"], json!({"a": "1", "b": ""}));
    assert_eq!(found["Containers"], json!({}));
    let template = "{{.Name}} {{.ID}} {{(index .Subnets 0).Subnet}} {{.DNSEnabled}}";
    let shown = place.usnea(&["network", "inspect", "-f", template, "backend"]);
    let subnet = subnet(&place, "backend");
    let subnet = subnet.split(' ').next().unwrap();
    assert_eq!(shown.works(), format!("backend {id} {subnet} true"));
    assert_eq!(
        place.usnea(&["inspect", "--type", "network", "-f", "{{.Id}}", "backend"]).works(),
        id
    );
    assert_eq!(place.usnea(&["inspect", "-f", "{{.Id}}", "backend"]).works(), id);

    for name in ["backend", &id, &id[..4], "bridge", "host", "none"] {
        assert_eq!(place.usnea(&["network", "exists", name]).status, 0, "{name}");
    }
    assert_eq!(place.usnea(&["network", "exists", "other"]).status, 1);
    assert_eq!(place.usnea(&["network", "rm", &id[..6]]).works(), &id[..6]);
    assert_eq!(names(&place, &[]), [""; 0]);
    place.usnea(&["network", "rm", "backend"]).fails_with(1, &["no network is called 'backend'"]);
    assert_eq!(place.usnea(&["network", "rm", "-f", "backend"]).works(), "");
    place.usnea(&["network", "inspect", "backend"]).exits(1);
    place.usnea(&["network", "rm", "-f", "bridge"]).fails_with(1, &["bridge is built in"]);
}

#[test]
fn a_network_has_the_subnets_gateways_and_ranges_that_are_asked_for() {
    let place = Place::new();
    create(
        &place,
        &[
            "--subnet",
            "fd51::/64",
            "--subnet",
            "10.51.0.0/16",
            "--gateway",
            "10.51.0.254",
            "--ip-range",
            "10.51.3.0/24",
            "--ip-range",
            "fd51::100-fd51::101",
            "--aux-address",
            "router=10.51.0.7",
            "--internal",
            "--dns",
            "10.51.0.7",
            "-o",
            "mtu=1400",
            "both",
        ],
    )
    .works();
    let found = inspect(&place, "both");
    let of_v4 = json!({
        "Subnet": "10.51.0.0/16", "IPRange": "10.51.3.0/24", "Gateway": "10.51.0.254",
        "AuxiliaryAddresses": {"router": "10.51.0.7"},
    });
    let of_v6 = json!({"Subnet": "fd51::/64", "IPRange": "fd51::100/127", "Gateway": "fd51::1"});
    assert_eq!(found["IPAM"]["Config"], json!([of_v4, of_v6]));
    assert_eq!((&found["Internal"], &found["EnableIPv6"]), (&json!(true), &json!(true)));
    assert_eq!(found["Options"], json!({"mtu": "1400"}));
    assert_eq!(found["network_dns_servers"], json!(["10.51.0.7"]));
    create(&place, &["--ipv6", "random"]).works();
    let found = inspect(&place, "random");
    let of_v6 = found["IPAM"]["Config"][1]["Subnet"].as_str().unwrap();
    assert!(of_v6.starts_with("fd") && of_v6.ends_with("::/64"), "{of_v6}");
    assert_eq!(names(&place, &[]), ["both", "random"]);
}

#[test]
fn invalid_definitions_of_networks_are_refused() {
    let place = Place::new();
    create(&place, &["--subnet", "10.52.0.0/24", "there"]).works();
    for (words, phrases) in [
        (&["--driver", "overlay", "x"][..], &["--driver overlay", "no such driver"][..]),
        (&["--opt", "vlan=3", "x"], &["--opt vlan=3", "no such option"]),
        (&["--opt", "mtu=12", "x"], &["--opt mtu=12", "68"]),
        (&["--opt", "mtu", "x"], &["--opt mtu", "KEY=VALUE"]),
        (&["-o", "mtu=1400", "-o", "mtu=1500", "x"], &["twice"]),
        (&["-o", "com.docker.network.bridge.name=sixteen-bytes-is", "x"], &["at most 15"]),
        (
            &["--interface-name", "br1", "-o", "com.docker.network.bridge.name=br2", "x"],
            &["--interface-name br1", "differs"],
        ),
        (&["-o", "com.docker.network.bridge.enable_ip_masquerade=false", "x"], &["masquerade"]),
        (&["--label", "=1", "x"], &["--label =1", "no key"]),
        (&["--aux-address", "10.53.0.1", "x"], &["--aux-address", "NAME=ADDRESS"]),
        (&["--subnet", "10.52.0.128/25", "x"], &["overlaps with 10.52.0.0/24 of network there"]),
        (&["--subnet", "10.0.2.0/25", "x"], &["overlaps with 10.0.2.0/24"]),
        (&["--subnet", "10.53.0.0/31", "x"], &["at most /30"]),
        (
            &["--subnet", "10.53.0.0/24", "--gateway", "10.54.0.1", "x"],
            &["outside of 10.53.0.0/24"],
        ),
        (&["--subnet", "10.53.0.0/24", "--ip-range", "10.53.0.0/16", "x"], &["outside"]),
        (&["there"], &["a network is called there already"]),
    ] {
        let refused = create(&place, words);
        refused.fails_with(125, phrases);
    }
    create(&place, &["--dns", "1.1.1.1", "--disable-dns", "x"]).exits(125);
    for name in ["", ".x", "a/b", "../x", "a b", "a:b", "host", "bridge", "container", "pasta"] {
        assert_eq!(create(&place, &["--", name]).status, 125, "{name:?}");
    }
    assert_eq!(names(&place, &[]), ["there"]);
    // podman's flag: the network stays as it is.
    let id = inspect(&place, "there")["Id"].as_str().unwrap().to_owned();
    let kept = create(&place, &["--ignore", "--subnet", "10.53.0.0/24", "there"]);
    assert_eq!(kept.works(), id);
    assert_eq!(subnet(&place, "there"), "10.52.0.0/24 10.52.0.1");
}

#[test]
fn of_several_that_make_networks_at_once_one_wins_a_name_and_none_shares_a_subnet() {
    let place = Place::new();
    let same: Vec<_> = (0..8).map(|_| ["network", "create", "same"].map(str::to_owned)).collect();
    let other =
        (0..8).map(|number| ["network", "create", &format!("n{number}")].map(str::to_owned));
    let commands: Vec<_> = same.into_iter().chain(other).collect();
    let children: Vec<_> = commands
        .iter()
        .map(|words| {
            let mut command = place.command(words);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let statuses: Vec<bool> =
        children.into_iter().map(|mut child| child.wait().unwrap().success()).collect();
    assert_eq!(statuses[..8].iter().filter(|is_winner| **is_winner).count(), 1, "{statuses:?}");
    assert!(statuses[8..].iter().all(|is_made| *is_made), "{statuses:?}");
    let all = names(&place, &[]);
    assert_eq!(all.len(), 9);
    let mut subnets: Vec<String> = all.iter().map(|name| subnet(&place, name)).collect();
    subnets.sort();
    subnets.dedup();
    assert_eq!(subnets.len(), 9, "{subnets:?}");
}

#[test]
fn automatic_subnets_leave_out_the_routes_of_the_host() {
    if !need("unshare") || !need("ip") {
        return;
    }
    let place = Place::new();
    let script = r#"
        ip link set lo up
        ip route add 10.89.0.0/16 dev lo
        ip route add 10.90.0.0/24 dev lo
        "$USNEA_BINARY" network create automatic
        "$USNEA_BINARY" network create --subnet 10.89.5.0/24 hiding 2>&1
    "#;
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-eu", "-c", script]);
    command.env("USNEA_BINARY", crate::support::binary());
    place.prepare(&mut command);
    let ran = finish(&mut command, "");
    let output = ran.works();
    assert!(output.contains("10.89.5.0/24 overlaps with 10.89.0.0/16"), "{output}");
    assert_eq!(subnet(&place, "automatic"), "10.90.1.0/24 10.90.1.1");
    assert_eq!(subnet(&place, "hiding"), "10.89.5.0/24 10.89.5.1");
}

#[test]
fn a_network_in_use_stays_until_its_containers_go() {
    let place = Place::new();
    let id = create(&place, &["--label", "keep", "used"]).works().to_owned();
    create(&place, &["unused"]).works();
    place
        .usnea(&place.kept(&["create", "--name", "member", "--network", &id[..9]], "true"))
        .works();
    let refused = place.usnea(&["network", "rm", "used"]);
    refused.fails_with(1, &["network used is in use by member"]);
    refused.hints();
    assert_eq!(names(&place, &["dangling=true"]), ["unused"]);
    assert_eq!(names(&place, &["dangling=false"]), ["used"]);
    for network in ["used", &id[..8]] {
        let filter = format!("network={network}");
        let found = place.usnea(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        assert_eq!(found.works(), "member", "{network}");
    }
    let none = place.usnea(&["ps", "-aq", "--filter", "network=unused"]);
    assert_eq!(none.works(), "");
    assert_eq!(place.usnea(&["network", "prune", "-f"]).works(), "Deleted Networks:\nunused");
    assert_eq!(names(&place, &[]), ["used"]);
    assert_eq!(place.usnea(&["network", "rm", "-f", "used"]).works(), "used");
    assert_eq!(names(&place, &[]), [""; 0]);
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "", "podman's --force removes containers");
}

#[test]
fn a_network_shows_its_running_containers_and_goes_with_them_by_force() {
    let place = Place::new();
    let words = ["--internal", "--subnet", "10.56.0.0/16", "--subnet", "fd56::/64", "live"];
    let id = create(&place, &words).works().to_owned();
    let run =
        ["run", "-d", "--name", "one", "--network", "live:ip=10.56.1.2,mac=02:00:00:00:00:56"];
    let one = place.usnea(&place.kept(&run, "exec sleep 1000")).works().to_owned();
    let run = ["run", "-d", "--name", "two", "--network", "live"];
    place.usnea(&place.kept(&run, "exec sleep 1000")).works();
    let found = inspect(&place, "live");
    let containers = found["Containers"].as_object().unwrap();
    assert_eq!(containers.len(), 2, "{found}");
    let member = &containers[&one];
    assert_eq!((&member["Name"], &member["IPv4Address"]), (&json!("one"), &json!("10.56.1.2/16")));
    assert_eq!(member["MacAddress"], "02:00:00:00:00:56");
    assert!(member["IPv6Address"].as_str().unwrap().ends_with("/64"), "{member}");
    assert_eq!(member["EndpointID"].as_str().unwrap().len(), 64);
    let addresses: Vec<&Value> = containers.values().map(|member| &member["IPv4Address"]).collect();
    assert!(addresses.contains(&&json!("10.56.0.2/16")), "{addresses:?}");
    let filter = format!("network={}", &id[..9]);
    let listed =
        place.usnea(&["ps", "--filter", &filter, "--sort", "names", "--format", "{{.Names}}"]);
    assert_eq!(listed.works(), "one\ntwo");
    place.usnea(&["network", "rm", "live"]).fails_with(1, &["in use by two, one"]);
    assert_eq!(place.usnea(&["network", "prune", "-f"]).works(), "");
    place.usnea(&["rm", "-f", "-t", "0", "two"]).works();
    assert_eq!(inspect(&place, "live")["Containers"].as_object().unwrap().len(), 1);
    assert_eq!(place.usnea(&["network", "rm", "-f", "live"]).works(), "live");
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    place.nothing_is_left();
}

#[test]
fn a_network_of_a_container_in_the_foreground_is_in_use_while_it_runs() {
    let place = Place::new();
    create(&place, &["--internal", "live"]).works();
    let fifo = place.path("wait");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bind = format!("{}:/wait", fifo.display());
    let words = place.arguments(&["--network", "live", "-v", &bind], &["cat", "/wait"]);
    let mut run = place.command(&words).spawn().unwrap();
    // The open of a pipe for writing waits for the reader.
    let writer = fs::File::options().write(true).open(&fifo).unwrap();
    place.usnea(&["network", "rm", "live"]).fails_with(1, &["network live is in use by "]);
    place.usnea(&["system", "prune", "-f"]).works();
    assert_eq!(names(&place, &[]), ["live"]);
    drop(writer);
    assert!(run.wait().unwrap().success());
    place.usnea(&["network", "rm", "live"]).works();
}

#[test]
fn ports_of_members_are_published_at_the_address_of_the_network() {
    let place = Place::new();
    let option = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
    create(&place, &["-o", option, "local"]).works();
    let ports = ["-p", "18751:80", "-p", "127.0.0.2:18752:81"];
    let options = ["create", "--name", "web", "--network", "local"];
    place.usnea(&place.kept(&[&options[..], &ports].concat(), "true")).works();
    let port = |port: &str| place.usnea(&["port", "web", port]).works().to_owned();
    assert_eq!(port("80"), "127.0.0.1:18751");
    assert_eq!(port("81"), "127.0.0.2:18752");
    place.usnea(&["rm", "web"]).works();
}

#[test]
fn options_and_ranges_are_those_of_the_members_interfaces() {
    let place = Place::new();
    let prefix = "com.docker.network.container_iface_prefix=net";
    let words = ["--subnet", "10.58.0.0/24", "--ip-range", "10.58.0.128/25", "--aux-address"];
    let more = ["router=10.58.0.128", "--internal", "-o", "mtu=1300", "-o", prefix, "small"];
    create(&place, &[&words[..], &more].concat()).works();
    let shown = place.run(&["--network", "small"], "ip -o -4 address; ip link show net0");
    assert!(shown.works().contains("net0    inet 10.58.0.129/24"), "{shown:?}");
    assert!(shown.works().contains("mtu 1300"), "{shown:?}");
    for (address, why) in [
        ("10.58.0.1", "10.58.0.1 is the gateway's"),
        ("10.58.0.128", "reserved for router"),
        ("10.58.0.255", "broadcast"),
        ("10.59.0.2", "outside of the subnet 10.58.0.0/24"),
    ] {
        let network = format!("small:ip={address}");
        place.run(&["--network", &network], "true").fails_with(125, &[why]);
    }
    place.nothing_is_left();
}

#[test]
fn members_reach_each_other_unless_the_network_forbids_it() {
    let place = Place::new();
    for (name, icc, number) in [("open", "true", 60), ("closed", "false", 61)] {
        let subnet = format!("10.{number}.0.0/24");
        let option = format!("com.docker.network.bridge.enable_icc={icc}");
        create(&place, &["--internal", "--subnet", &subnet, "-o", &option, name]).works();
        let run = ["run", "-d", "--name", "server", "--network", name];
        place.usnea(&place.kept(&run, "exec busybox nc -ll -p 99 -e echo hello")).works();
        let own = ["exec", "server", "busybox", "nc", "127.0.0.1", "99"];
        let is_served = || place.usnea(&own).stdout == "hello\n";
        assert!(within(Duration::from_secs(30), is_served), "{name}");
        let address = format!("10.{number}.0.2");
        let ran = place.run(&["--network", name], &format!("busybox nc -w 2 {address} 99"));
        let expected = if icc == "true" { "hello\n" } else { "" };
        assert_eq!(ran.stdout, expected, "{name}: {ran:?}");
        assert_eq!(ran.status == 0, icc == "true", "{name}: {ran:?}");
        place.usnea(&["network", "rm", "-f", name]).works();
    }
    place.nothing_is_left();
}

#[test]
fn lists_and_prunes_are_filtered() {
    let place = Place::new();
    let one = create(&place, &["--label", "tier=front", "one"]).works().to_owned();
    create(&place, &["--label", "tier=back", "two"]).works();
    for (filters, found) in [
        (&["label=tier"][..], &["one", "two"][..]),
        (&["label=tier=back"], &["two"]),
        (&["label!=tier=back"], &["one"]),
        (&["name=^o"], &["one"]),
        (&["name=^o", "name=w"], &["one", "two"]),
        (&["name=^o", "label=tier=back"], &[]),
        (&["driver=bridge"], &["one", "two"]),
        (&["driver=null"], &[]),
        (&["scope=swarm"], &[]),
        (&["until=10m"], &[]),
    ] {
        assert_eq!(names(&place, filters), found, "{filters:?}");
    }
    let by_id = format!("id={}", &one[..9]);
    assert_eq!(names(&place, &[&by_id]), ["one"]);
    let builtin = ["network", "ls", "--filter", "type=builtin", "--format", "{{.Name}}"];
    assert_eq!(place.usnea(&builtin).works(), "bridge\nhost\nnone");
    let prune = |filter: &str| place.usnea(&["network", "prune", "-f", "--filter", filter]);
    prune("name=one").exits(125);
    assert_eq!(prune("until=10m").works(), "");
    assert_eq!(prune("label!=tier=front").works(), "Deleted Networks:\ntwo");
    let pruned = place.usnea(&["system", "prune", "-f", "--filter", "label=tier=back"]);
    assert!(!pruned.works().contains("network"), "{pruned:?}");
    assert!(place.usnea(&["system", "prune", "-f"]).works().contains("Deleted: network one"));
    assert_eq!(names(&place, &[]), [""; 0]);
}

#[test]
fn making_and_removing_a_network_are_events() {
    let place = Place::new();
    let id = create(&place, &["backend"]).works().to_owned();
    create(&place, &["other"]).works();
    place.usnea(&["network", "rm", "backend"]).works();
    let events = |filter: &str| {
        let words = ["events", "--stream=false", "--since", "10m", "--filter", filter];
        let text = place.usnea(&words).works().to_owned();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines().map(parse).collect::<Vec<_>>()
    };
    let of_backend = events("network=backend");
    let actions: Vec<&Value> = of_backend.iter().map(|event| &event["Action"]).collect();
    assert_eq!(actions, ["create", "destroy"]);
    assert_eq!(of_backend[0]["Type"], "network");
    let attributes = json!({"name": "backend", "type": "bridge"});
    assert_eq!(of_backend[0]["Actor"], json!({"ID": id, "Attributes": attributes}));
    assert_eq!(events("type=network").len(), 3);
    assert_eq!(events("event=remove").len(), 1, "podman's word");
}

#[test]
fn a_damaged_definition_is_reported_and_can_be_removed() {
    let place = Place::new();
    for name in ["whole", "cut", "twin"] {
        create(&place, &[name]).works();
    }
    assert_eq!(place.usnea(&["check", "--quick"]).works(), "");
    fs::write(place.path("store/networks/cut.json"), "{\"id\":").unwrap();
    let mut twin: Value = serde_json::from_str(&place.read("store/networks/twin.json")).unwrap();
    let whole: Value = serde_json::from_str(&place.read("store/networks/whole.json")).unwrap();
    twin["subnets"] = whole["subnets"].clone();
    fs::write(place.path("store/networks/twin.json"), twin.to_string()).unwrap();
    let found = place.usnea(&["check", "--quick"]);
    let faults = found.exits(1);
    assert!(
        faults.contains("network cut: ") && faults.contains("addresses of network twin"),
        "{faults}"
    );
    let left = place.usnea(&["check", "--quick", "--repair"]);
    assert!(left.exits(1).contains("'usnea network rm cut' removes it"), "{left:?}");
    let listed =
        place.usnea(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]);
    assert_eq!(listed.works(), "twin\nwhole");
    assert!(listed.stderr.contains("network cut"), "{listed:?}");
    place.usnea(&["network", "inspect", "cut"]).exits(1);
    create(&place, &["cut"]).fails_with(125, &["a network is called cut already"]);
    for name in ["cut", "twin"] {
        assert_eq!(place.usnea(&["network", "rm", name]).works(), name);
    }
    assert_eq!(place.usnea(&["check", "--quick"]).works(), "");
}

#[test]
fn a_reset_removes_networks_too() {
    let place = Place::new();
    create(&place, &["backend"]).works();
    place.usnea(&["system", "reset", "-f"]).works();
    assert!(!place.store().exists());
}

#[test]
fn a_kill_at_any_change_of_a_file_leaves_a_network_or_none() {
    if !need("strace") {
        return;
    }
    let shop = Stocked::new();
    let place = &shop.place;
    let is_survived = |when: &str| {
        let check = place.usnea(&["check", "--quick"]);
        assert_eq!((check.status, check.stdout.as_str()), (0, ""), "{when}: {check:?}");
        create(place, &["--ignore", "data"]).works();
        assert_eq!(names(place, &[]), ["data"], "{when}");
    };
    for (words, before) in [
        (["network", "create", "data"], ["network", "rm", "-f", "data"]),
        (["network", "rm", "data"], ["network", "create", "--ignore", "data"]),
    ] {
        for calls in ["rename,renameat,renameat2", "mkdir,mkdirat", "unlink,unlinkat", "fsync"] {
            for number in 1..4 {
                place.usnea(&before).works();
                let reached = kill_at_call(&shop, &words, calls, number);
                is_survived(&format!("{words:?} killed at {calls} number {number}"));
                let must = number == 1
                    && calls.starts_with(match words[1] {
                        "create" => "rename",
                        _ => "unlink",
                    });
                assert!(reached || !must, "{words:?} was not killed at {calls}");
                if !reached {
                    break;
                }
            }
        }
    }
}
