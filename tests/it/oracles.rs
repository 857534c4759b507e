//! Documents for programs, field by field against those of docker and podman as Debian 13 has them. `oracles.txt` holds
//! their fields and says how it was made; what usnea leaves out of them is listed here with its reason.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stocked::Stocked;
use crate::support::text;

const ORACLES: &str = include_str!("oracles.txt");

/// Documents with the fields that usnea leaves out, and the reason. `FIELD/` is all below a field.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    (
        "container",
        "HostConfig/CpuCount HostConfig/CpuPercent HostConfig/IOMaximumBandwidth HostConfig/IOMaximumIOps",
        "of Windows",
    ),
    (
        "container",
        "HostConfig/HostsFile UseImageHosts UseImageHostname",
        "there are no flags for it",
    ),
    ("container", "KubeExitCodePropagation", "there is no play kube"),
    ("container", "State/CheckpointedAt State/RestoredAt", "there are no checkpoints"),
    ("container", "lockNumber", "podman's numbered locks: folders are locked here"),
    ("volume", "LockNumber", "podman's numbered locks: folders are locked here"),
    ("volume-ls", "LockNumber", "podman's numbered locks: folders are locked here"),
    ("image", "History/created_by", "no command made an image that was imported"),
    ("images", "History", "former names are not kept"),
    ("ps", "ExposedPorts/ Labels/ Ports/ Size/", "docker's text: inspect has the parts"),
    ("volume-ls", "Labels/", "docker's text: inspect has the parts"),
    (
        "history",
        "comment created id size tags",
        "docker's names: Comment, CreatedAt, ID, Size, Tags",
    ),
    (
        "events",
        "Attributes Attributes/ ContainerExitCode ID Image Name Status health_status network",
        "docker's document: Actor.Attributes, id, from, status. Templates have podman's names",
    ),
    ("info", "BridgeNfIp6tables BridgeNfIptables", "nothing here filters a bridge's packets"),
    ("info", "CDISpecDirs GenericResources Swarm/RemoteManagers", "there is no CDI and no swarm"),
    (
        "info",
        "ContainerdCommit ContainerdCommit/ InitCommit InitCommit/ RuncCommit RuncCommit/ Runtimes/*/status Runtimes/*/status/ \
         host/buildahVersion host/conmon host/conmon/",
        "there is neither containerd, runc, conmon nor buildah: one program does it all",
    ),
    ("info", "NEventsListener NFd NGoroutines", "there is no daemon"),
    ("info", "KernelMemoryTCP", "of cgroup v1"),
    (
        "info",
        "RegistryConfig RegistryConfig/",
        "registries.conf: registries has what it says, as podman has it",
    ),
    (
        "info",
        "host/cpuUtilization host/cpuUtilization/",
        "of the machine, not of containers: /proc/stat",
    ),
    (
        "info",
        "host/databaseBackend host/freeLocks",
        "there are neither databases nor numbered locks",
    ),
    (
        "info",
        "host/networkBackendInfo host/networkBackendInfo/ host/rootlessNetworkCmd",
        "there is no netavark: host.pasta and host.slirp4netns say what is used",
    ),
    (
        "info",
        "host/ociRuntime/package host/pasta/package host/pasta/version host/slirp4netns/package host/slirp4netns/version",
        "the package manager and the programs would have to be run for it",
    ),
    (
        "info",
        "host/linkmode host/variant host/distribution/codename",
        "the version of the distribution and the architecture say enough",
    ),
    ("info", "store/transientStore", "there are no transient stores"),
    ("info", "version/BuildOrigin", "one source, whoever builds it"),
    ("version", "Client/BuildOrigin", "one source, whoever builds it"),
];

/// Fields that usnea gives another type, and the reason.
const OTHER_TYPES: &[(&str, &str, &str)] = &[
    (
        "ps",
        "Command Created ExposedPorts Labels Mounts Names Networks Ports Size",
        "docker's texts, for templates and JSON alike; podman's JSON has parts",
    ),
    ("images", "Created SharedSize Size VirtualSize", "docker's texts; podman's JSON has numbers"),
    ("images", "Containers", "podman's number; docker has a text"),
    ("volume-ls", "Labels", "docker's text; podman's JSON has a map"),
    ("volume-ls", "Status", "podman's map; docker has a text, of clusters"),
    ("df", "Active TotalCount", "docker's texts; podman's JSON has numbers, Total too"),
    (
        "version",
        "Server/Components/Details/Experimental",
        "the same as Server.Experimental: a bool",
    ),
];

/// Maps whose keys are somebody's names: `*` in the fixture.
const NAMED: [&str; 16] = [
    "Labels",
    "Annotations",
    "Data",
    "Tmpfs",
    "PortBindings",
    "Ports",
    "Volumes",
    "Networks",
    "ExposedPorts",
    "Sysctls",
    "Options",
    "DriverOpts",
    "Runtimes",
    "Containers",
    "Attributes",
    "ImageAnnotations",
];

/// Fields of a document with the types that each has.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// The fields of the fixture, by program and document.
fn oracles() -> BTreeMap<(String, String), Fields> {
    let mut oracles: BTreeMap<_, Fields> = BTreeMap::new();
    for line in ORACLES.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [program, document, field, kind] = words[..] else { panic!("four words: {line}") };
        let fields = oracles.entry((program.to_owned(), document.to_owned())).or_default();
        fields.entry(field.to_owned()).or_default().insert(kind.to_owned());
    }
    oracles
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// Adds the fields of `value` at a path. `is_named`: its keys are somebody's names.
fn add_fields(value: &Value, path: &str, is_named: bool, fields: &mut Fields) {
    match value {
        Value::Object(map) => {
            for (key, below) in map.iter().filter(|(key, _)| !key.starts_with(' ')) {
                let name = if is_named { "*" } else { key };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                fields.entry(path.clone()).or_default().insert(kind(below).to_owned());
                add_fields(below, &path, NAMED.contains(&key.as_str()) && !is_named, fields);
            }
        }
        Value::Array(list) => {
            list.iter().for_each(|below| add_fields(below, path, is_named, fields));
        }
        _ => {}
    }
}

/// The commands whose documents are compared: name, words, format as docker is asked, format as podman is asked.
const COMMANDS: &[(&str, &[&str], &str, &str)] = &[
    ("container", &["container", "inspect", "-s", "web"], "", ""),
    ("image", &["image", "inspect", "shop:1"], "", ""),
    ("volume", &["volume", "inspect", "named"], "", ""),
    ("ps", &["ps", "-a", "-s"], "{{json .}}", "json"),
    ("images", &["images"], "{{json .}}", "json"),
    ("history", &["history", "shop:1"], "{{json .}}", "json"),
    ("volume-ls", &["volume", "ls"], "{{json .}}", "json"),
    ("stats", &["stats", "--no-stream", "web"], "{{json .}}", "json"),
    ("df", &["system", "df"], "{{json .}}", "json"),
    ("info", &["info"], "{{json .}}", "json"),
    ("version", &["version"], "{{json .}}", "json"),
    ("events", &["events", "--since", "1h", "--stream=false"], "{{json .}}", "json"),
];

/// A running container with all that documents can show, of an image that has the same.
pub fn web() -> Stocked {
    let shop = Stocked::new();
    let root = shop.place.small_root();
    let tar = shop.place.path("small.tar");
    shop.other("tar", &["-cf", text(&tar), "-C", text(&root), "."]).works();
    let changes = [
        "ENTRYPOINT [\"/bin/sh\",\"-c\"]",
        "CMD [\"sleep 1000\"]",
        "LABEL a.b=c",
        "VOLUME /vol",
        "USER 0",
        "EXPOSE 80",
        "ENV A=b",
        "WORKDIR /etc",
    ];
    let changes = changes.iter().flat_map(|change| ["--change", change]);
    let words: Vec<&str> = std::iter::once("import").chain(changes).collect();
    shop.usnea(&[&words[..], &[text(&tar), "shop:1"]].concat()).works();
    shop.usnea(&["volume", "create", "-l", "k=v", "named"]).works();
    let options = "run -d --name web --health-cmd true --health-interval 1s --tmpfs /t:size=64k --ulimit nofile=64:128 \
         --network private -p 127.0.0.1::80 --device /dev/null:/dev/zilch -v named:/data -v /usr:/host:ro -l x=y \
         --restart on-failure:3 --cap-add SYS_PTRACE --cap-drop CHOWN --security-opt no-new-privileges \
         --sysctl net.ipv4.ip_unprivileged_port_start=0 --add-host a:1.2.3.4 --dns 1.1.1.1 --log-opt max-size=1m \
         --stop-signal INT --stop-timeout 3 shop:1";
    shop.usnea(&options.split_whitespace().collect::<Vec<_>>()).works();
    shop.usnea(&["healthcheck", "run", "web"]).works();
    let address = "<{{.NetworkSettings.Networks.bridge.IPAddress}}>";
    assert_eq!(shop.usnea(&["inspect", "-f", address, "web"]).works(), "<10.0.2.100>");
    shop
}

fn fields_of(shop: &Stocked, words: &[&str], format: &str) -> Fields {
    let options = if format.is_empty() { &[][..] } else { &["--format", format] };
    let ran = shop.usnea(&[words, options].concat());
    let mut fields = Fields::new();
    for value in serde_json::Deserializer::from_str(ran.works()).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        add_fields(&value, "", false, &mut fields);
    }
    fields
}

/// The entry of a list of differences that covers a field.
fn excuse(
    list: &'static [(&'static str, &'static str, &'static str)],
    document: &str,
    field: &str,
) -> Option<(&'static str, &'static str)> {
    let covers = |name: &str| name == field || name.ends_with('/') && field.starts_with(name);
    let of_document = list.iter().filter(|(named, ..)| *named == document);
    let mut names = of_document.flat_map(|(named, names, why)| {
        assert!(!why.is_empty(), "{named} {names} without a reason");
        names.split_whitespace().map(|name| (*named, name))
    });
    names.find(|(_, name)| covers(name))
}

/// Holds what usnea says against a list: a field that differs is in it, and one that is in it differs.
fn compare(
    list: &'static [(&'static str, &'static str, &'static str)],
    differing: &[(String, String)],
) {
    let mut used = BTreeSet::new();
    let mut unexpected = Vec::new();
    for (document, field) in differing {
        let name = field.split(' ').next().unwrap_or_default();
        match excuse(list, document, name) {
            Some(entry) => drop(used.insert(entry)),
            None => unexpected.push(format!("{document} {field}")),
        }
    }
    let all = list.iter();
    let all = all.flat_map(|(document, names, _)| {
        names.split_whitespace().map(move |name| (*document, name))
    });
    let stale: Vec<_> = all.filter(|entry| !used.contains(entry)).collect();
    assert!(
        unexpected.is_empty() && stale.is_empty(),
        "{} unexpected differences:\n{}\nlisted, but not different: {stale:?}",
        unexpected.len(),
        unexpected.join("\n")
    );
}

#[test]
fn documents_have_the_fields_of_docker_26_and_podman_5() {
    let shop = web();
    let oracles = oracles();
    let (mut missing, mut other_types) = (Vec::new(), Vec::new());
    for (document, words, of_docker, of_podman) in COMMANDS {
        for (program, format) in [("docker", of_docker), ("podman", of_podman)] {
            let wanted = oracles.get(&(program.to_owned(), (*document).to_owned()));
            // podman's stats are not in the fixture.
            let Some(wanted) = wanted else { continue };
            let found = fields_of(&shop, words, format);
            for (field, theirs) in wanted {
                let Some(ours) = found.get(field) else {
                    missing.push(((*document).to_owned(), format!("{field} ({program})")));
                    continue;
                };
                let is_null = |kinds: &BTreeSet<String>| kinds.iter().all(|kind| kind == "null");
                if ours.is_disjoint(theirs) && !is_null(ours) && !is_null(theirs) {
                    let types = format!("{field} ({program}: {theirs:?}, usnea: {ours:?})");
                    other_types.push(((*document).to_owned(), types));
                }
            }
        }
    }
    shop.usnea(&["rm", "-af", "-t", "0"]).works();
    compare(LEFT_OUT, &missing);
    compare(OTHER_TYPES, &other_types);
}
