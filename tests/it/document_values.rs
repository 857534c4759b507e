//! Documents for programs, as they are: every field of every document in its order, with its type, and its value where that
//! is the same in each place. `document_values.txt` holds them, so that a change of the code behind them changes none.
//!
//! `USNEA_UPDATE=1` writes the file again. A value that differs from the one in the file varies from then on (`~`): it has
//! to be run twice, and as both users.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::oracles::web;
use crate::stocked::Stocked;
use crate::support::source;

const FILE: &str = "tests/it/document_values.txt";

/// Commands with the names of their documents. A text that is not JSON counts with its first line: the headings.
const COMMANDS: &[(&str, &str)] = &[
    ("container", "container inspect -s web"),
    ("container-ended", "container inspect ended"),
    ("container-created", "inspect created"),
    ("image", "image inspect shop:1"),
    ("volume", "volume inspect named"),
    ("network", "network inspect backend"),
    ("network-built-in", "network inspect host"),
    ("ps", "ps -a -s --format json"),
    ("ps-template", "ps --no-trunc --filter name=web --format {{json.}}"),
    ("ps-table", "ps -a"),
    ("ps-table-size", "ps -a -s"),
    ("ps-table-ns", "ps -a --ns"),
    ("ps-table-pod", "ps -a --pod"),
    ("ps-quiet-sorted", "ps -a --sort names --format {{.Names}}:{{.Mounts}}:{{.LocalVolumes}}"),
    ("images", "images --format json"),
    ("images-template", "images --digests --format {{json.}}"),
    ("images-table", "images"),
    ("images-table-digests", "images --digests"),
    ("tree", "image tree --format json"),
    ("history", "history shop:1 --format json"),
    ("history-bytes", "history -H=false --no-trunc shop:1 --format {{json.}}"),
    ("history-table", "history shop:1"),
    ("volume-ls", "volume ls --filter name=named --format json"),
    ("volume-ls-template", "volume ls --filter name=named --format {{json.}}"),
    ("volume-ls-table", "volume ls"),
    ("network-ls", "network ls --filter name=backend --format json"),
    ("network-ls-template", "network ls --filter id=9e7b649bc8ea --format {{json.}}"),
    ("network-ls-table", "network ls"),
    ("stats", "stats --no-stream web --format json"),
    ("stats-stopped", "stats --no-stream -a --format {{json.}}"),
    ("stats-table", "stats --no-stream web"),
    ("df", "system df --format json"),
    ("df-table", "system df"),
    ("df-images", "system df -v --format json"),
    ("info", "info --format json"),
    ("info-template", "info --format {{json.}}"),
    ("version", "version --format json"),
    ("version-template", "version --format {{json.}}"),
    ("events-volume", "events --since 1h --stream=false --filter volume=named"),
    ("events-network", "events --since 1h --stream=false --filter network=backend"),
    ("events-container", "events --since 1h --stream=false --filter container=created"),
    ("events-image", "events --since 1h --stream=false --filter type=image"),
    (
        "events-template",
        "events --since 1h --stream=false --filter container=created --format {{json.}}",
    ),
    ("events-end", "events --since 1h --stream=false --filter event=die --format {{json.}}"),
    ("diff", "diff ended --format json"),
    ("diff-template", "diff ended --format {{json.}}"),
];

/// Documents, or parts of them, with facts about the machine. Another machine has other values, and another number of
/// equal things.
const OF_MACHINE: &[&str] = &[
    "container 0/State/",
    "info host/",
    "info store/",
    "info registries/",
    "info-template ",
    "stats 0/",
    "ps 1/Status",
    "ps 2/Status",
    "ps-template Status",
];

/// Fields, here or above, whose values are ages, sizes, or facts about the machine, in any document.
const VARYING: &[&str] = &[
    "Annotations",
    "Arch",
    "Architecture",
    "Cgroup",
    "CgroupManager",
    "CgroupMode",
    "CgroupParent",
    "Cgroups",
    "CgroupnsMode",
    "CreateCommand",
    "Created",
    "CreatedHuman",
    "CreatedSince",
    "Driver",
    "GraphDriver",
    "Helper",
    "KernelVersion",
    "MemLimit",
    "Os",
    "OsArch",
    "Packed",
    "RawReclaimable",
    "RawSize",
    "Reclaimable",
    "RunningFor",
    "Shared",
    "SharedSize",
    "Size",
    "SizeRootFs",
    "SizeRw",
    "Unique",
    "UniqueSize",
    "VirtualSize",
    "packed",
    "size",
];

/// Keys that only some users have.
const OF_SOME: &[&str] = &["usnea.root-emulation"];

/// JSON whose objects keep the order of their keys.
enum Ordered {
    Scalar(Value),
    List(Vec<Ordered>),
    Map(Vec<(String, Ordered)>),
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Ordered, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Ordered::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Ordered, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = access.next_entry()? {
            map.push(pair);
        }
        Ok(Ordered::Map(map))
    }
}

/// Adds the lines `PATH TYPE VALUE` of a value. A list of plain values is one line; of a list about the machine, only the
/// first element counts.
fn add_lines(value: &Ordered, document: &str, path: &str, lines: &mut Vec<String>) {
    let field = format!("{document} {path}");
    let is_of_machine = OF_MACHINE.iter().any(|prefix| field.starts_with(prefix));
    let varies = is_of_machine || path.split('/').any(|name| VARYING.contains(&name));
    let scalar = |value: &Ordered| match value {
        Ordered::Scalar(value) => Some(value.clone()),
        _ => None,
    };
    let mut line = |kind: &str, value: String| {
        let value = if varies { "~".to_owned() } else { value };
        let path = if path.is_empty() { "." } else { path };
        lines.push(format!("{document} {} {kind} {value}", path.replace(' ', "_")));
    };
    match value {
        Ordered::Scalar(value) => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                _ => "string",
            };
            line(kind, value.to_string());
        }
        Ordered::List(list) => {
            match list.iter().map(scalar).collect::<Option<Vec<Value>>>() {
                Some(all) => line("list", Value::from(all).to_string()),
                None => line("list", String::from("of")),
            }
            let most = if is_of_machine { 1 } else { list.len() };
            let parts = list.iter().take(most).enumerate();
            for (at, part) in parts.filter(|(_, part)| scalar(part).is_none()) {
                add_lines(part, document, &below(path, &at.to_string()), lines);
            }
        }
        Ordered::Map(map) => {
            line("map", format!("{}", map.len()));
            for (key, value) in map.iter().filter(|(key, _)| !OF_SOME.contains(&key.as_str())) {
                add_lines(value, document, &below(path, key), lines);
            }
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Adds two containers to the running one: one that has ended, and one that never ran.
fn shop() -> Stocked {
    let shop = web();
    let network = "network create --subnet 10.55.0.0/24 --ip-range 10.55.0.128/25 --subnet fd55::/64 --label k=v -o mtu=1400 \
         --aux-address router=10.55.0.9 --internal --dns 10.55.0.9 backend";
    shop.usnea(&network.split_whitespace().collect::<Vec<_>>()).works();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for command in
        ["run --name ended -l e=f shop:1", "create --name created --no-healthcheck shop:1"]
    {
        let mut words = words(command);
        words.push("echo out; touch /tmp/new; rm -r /etc; exit 3".to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        shop.usnea(&words).exits(if command.starts_with("run") { 3 } else { 0 });
    }
    shop
}

fn lines_of(shop: &Stocked, document: &str, command: &str) -> Vec<String> {
    let words: Vec<String> =
        command.split(' ').map(|word| word.replace("json.", "json .")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = shop.usnea(&words).works().to_owned();
    let mut lines = Vec::new();
    if !text.starts_with(['{', '[']) {
        let count = if document.ends_with("sorted") { 9 } else { 1 };
        let lines = text.lines().take(count).map(|line| {
            let cells = line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim);
            format!("{document} . text {}", cells.collect::<Vec<_>>().join("|"))
        });
        return lines.collect();
    }
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Ordered>() {
        let value = value.unwrap_or_else(|error| panic!("{command}: {error}: {text}"));
        add_lines(&value, document, "", &mut lines);
    }
    lines
}

/// Splits a line into its field and its value.
fn parts(line: &str) -> (String, String) {
    let mut words = line.splitn(4, ' ');
    let field: Vec<&str> = words.by_ref().take(3).collect();
    (field.join(" "), words.next().unwrap_or_default().to_owned())
}

#[test]
fn documents_keep_their_fields_types_order_and_values() {
    let shop = shop();
    let found: Vec<String> = COMMANDS
        .iter()
        .flat_map(|(document, command)| lines_of(&shop, document, command))
        .collect();
    shop.usnea(&["rm", "-af", "-t", "0"]).works();
    let known = std::fs::read_to_string(source().join(FILE)).unwrap_or_default();
    if std::env::var_os("USNEA_UPDATE").is_some() {
        let known: BTreeMap<_, _> = known.lines().map(parts).collect();
        let line = |line: &String| {
            let (field, value) = parts(line);
            let is_new = known.get(&field).is_none_or(|there| *there == value);
            format!("{field} {}\n", if is_new { &value } else { "~" })
        };
        let text: String = found.iter().map(line).collect();
        std::fs::write(source().join(FILE), text).expect("the file written");
        return;
    }
    let known: Vec<(String, String)> = known.lines().map(parts).collect();
    let found: Vec<(String, String)> = found.iter().map(|line| parts(line)).collect();
    let names = |all: &[(String, String)]| -> Vec<String> {
        all.iter().map(|(field, _)| field.clone()).collect()
    };
    let (before, now) = (names(&known), names(&found));
    let gone: Vec<_> = before.iter().filter(|field| !now.contains(field)).collect();
    let new: Vec<_> = now.iter().filter(|field| !before.contains(field)).collect();
    assert!(gone.is_empty() && new.is_empty(), "missing: {gone:#?}\nnew: {new:#?}");
    assert_eq!(before, now, "another order");
    let pairs = known.iter().zip(&found);
    let other: Vec<_> =
        pairs.filter(|((_, value), (_, now))| value != "~" && value != now).collect();
    assert!(other.is_empty(), "other values: {other:#?}");
}
