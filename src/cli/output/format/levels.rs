//! Missing fields: finds the level of the row that lacks a field, and the fields at that level.

use serde_json::Value;

use super::actions::pieces;
use crate::documents::text::LABELS;

/// Fields of the same meaning under two names: that of the JSON, and that of the Go struct. Templates of docker and
/// podman may use both.
const TWINS: [(&str, &str); 9] = [
    ("Id", "ID"),
    ("HostIp", "HostIP"),
    ("Domainname", "DomainName"),
    ("OomScoreAdj", "OOMScoreAdj"),
    ("CgroupnsMode", "CgroupNSMode"),
    ("DnsOptions", "DNSOptions"),
    ("Dns", "DNS"),
    ("DnsSearch", "DNSSearch"),
    // docker's name of a container's default network.
    ("private", "bridge"),
];

/// Adds `key` to all objects that have its other name. Returns true if any object got it.
pub fn add_twin(row: &mut Value, key: &str) -> bool {
    let other = TWINS.iter().find_map(|(one, two)| match key {
        key if key == *one => Some(*two),
        key if key == *two => Some(*one),
        _ => None,
    });
    other.is_some_and(|other| add(row, key, other))
}

fn add(value: &mut Value, key: &str, other: &str) -> bool {
    match value {
        Value::Object(map) => {
            let mut has = false;
            for inner in map.values_mut() {
                has |= add(inner, key, other);
            }
            match map.get(other).cloned() {
                Some(twin) if !map.contains_key(key) => {
                    map.insert(key.to_owned(), twin);
                    true
                }
                _ => has,
            }
        }
        Value::Array(list) => list.iter_mut().fold(false, |has, one| add(one, key, other) | has),
        _ => false,
    }
}

/// Finds the first chain of fields in `source` that lacks `key`: returns the chain before it, and the fields at its
/// end. `None`: no such chain, such as one that begins with a variable.
pub fn fields_beside(source: &str, key: &str, row: &Value) -> Option<(String, Vec<String>)> {
    let mut scopes: Vec<Option<&Value>> = vec![Some(row)];
    for (_, action) in pieces(source) {
        let dot = scopes.last().copied().flatten();
        for chain in chains(action) {
            let Some(at) = chain.iter().position(|name| *name == key) else { continue };
            let above = chain.get(..at).unwrap_or_default();
            if let Some(found) = dot.and_then(|dot| walk(dot, above))
                && let Some(map) = found.as_object()
                && !map.contains_key(key)
            {
                let fields = map.keys().filter(|field| *field != LABELS);
                return Some((dotted(above), fields.cloned().collect()));
            }
        }
        let inner = action.strip_prefix("{{").unwrap_or(action);
        let inner = inner.strip_prefix('-').unwrap_or(inner).trim_start();
        match inner.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default() {
            word @ ("range" | "with") => {
                let below = chains(action).first().and_then(|chain| walk(dot?, chain));
                scopes.push(if word == "range" { below.and_then(first) } else { below });
            }
            "if" | "define" | "block" => scopes.push(dot),
            "end" if scopes.len() > 1 => drop(scopes.pop()),
            _ => {}
        }
    }
    None
}

fn dotted(chain: &[&str]) -> String {
    chain.iter().map(|name| format!(".{name}")).collect()
}

/// Returns the first element that `range` visits.
fn first(value: &Value) -> Option<&Value> {
    match value {
        Value::Array(list) => list.first(),
        Value::Object(map) => map.values().next(),
        _ => None,
    }
}

fn walk<'a>(value: &'a Value, chain: &[&str]) -> Option<&'a Value> {
    chain.iter().try_fold(value, |value, name| value.get(name))
}

/// Returns the chains of fields in an action, `.A.B` as `[A, B]`; without strings.
fn chains(action: &str) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    let mut rest = action;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        if matches!(c, '"' | '`') {
            length = rest.get(1..).and_then(|rest| rest.find(c)).map_or(rest.len(), |end| end + 2);
        } else if c == '.' && !(before.is_alphanumeric() || matches!(before, '_' | ')' | '$')) {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
            length = end.unwrap_or(rest.len());
            let names = rest.get(..length).unwrap_or_default().split('.');
            all.push(names.filter(|name| !name.is_empty()).collect());
        }
        before = rest.get(..length).and_then(|taken| taken.chars().next_back()).unwrap_or(' ');
        rest = rest.get(length..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_level_of_a_missing_field_is_found() {
        let row = json!({
            "A": {"B": {"C": 1}, "D": 2}, "L": [{"X": 1}], "N": {"one": {"Y": 1}}, " Labels": {},
        });
        for (source, key, level, fields) in [
            ("{{.Q}}", "Q", "", vec!["A", "L", "N"]),
            ("{{.A.Q}}", "Q", ".A", vec!["B", "D"]),
            ("{{.A.D}} {{.A.B.Q.R}}", "Q", ".A.B", vec!["C"]),
            ("{{range .L}}{{.Q}}{{end}}", "Q", "", vec!["X"]),
            ("{{range $k, $v := .N}}{{.Q}}{{end}}", "Q", "", vec!["Y"]),
            ("{{with .A}}{{.B.Q}}{{end}}", "Q", ".B", vec!["C"]),
            ("{{if .A}}{{.A.Q}}{{end}}", "Q", ".A", vec!["B", "D"]),
            (r#"{{"x.Q"}}{{.A.Q}}"#, "Q", ".A", vec!["B", "D"]),
        ] {
            let fields = fields.into_iter().map(str::to_owned).collect();
            assert_eq!(fields_beside(source, key, &row), Some((level.into(), fields)), "{source}");
        }
        assert_eq!(fields_beside("{{$x.Q}}", "Q", &row), None);
    }

    #[test]
    fn both_names_of_a_field_are_known_and_no_others() {
        let mut row = json!({"Id": "1", "P": [{"HostIp": "::"}]});
        assert!(add_twin(&mut row, "ID") && add_twin(&mut row, "HostIP"));
        assert_eq!(row, json!({"Id": "1", "ID": "1", "P": [{"HostIp": "::", "HostIP": "::"}]}));
        assert!(!add_twin(&mut row, "ID") && !add_twin(&mut row, "Name"));
    }
}
