//! Heading line of a table: the table's own template, run on headings instead of values (docker's way).

use serde_json::{Map, Value};

use super::template::Template;

/// Returns the heading line for `template`; empty where the template fails on headings (such as in a calculation).
/// `named`: headings that are not their field's words; `first`: a row, for the names of its parts.
pub fn line(template: &Template, named: &[(&str, &str)], first: Option<&Value>) -> String {
    let heading = |field: &str| {
        let found = named.iter().find(|(name, _)| *name == field);
        found.map_or_else(|| words(field), |(_, heading)| (*heading).to_owned())
    };
    let deep = || {
        let fields = first.and_then(Value::as_object)?.iter();
        let fields = fields.map(|(field, value)| (field.clone(), shape(&heading(field), value)));
        template.heading(fields.collect(), heading)
    };
    // Objects and lists keep their shape only where the template enters them: else they would print as such.
    let line = template.heading(Map::new(), heading).or_else(deep);
    let Some(line) = line.as_deref().and_then(|text| text.lines().next()) else {
        return String::new();
    };
    format!("{line}\n")
}

/// Replaces each leaf of `value` by `heading`.
fn shape(heading: &str, value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(vec![heading.into()]),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), shape(&words(key), value))).collect()
        }
        _ => heading.into(),
    }
}

/// Splits a name into words: `CreatedAt` into `CREATED AT`, `ID` into `ID`, `ImageID` into `IMAGE ID`.
fn words(field: &str) -> String {
    let mut text = String::new();
    let mut before = ' ';
    for c in field.chars() {
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            text.push(' ');
        }
        text.extend(c.to_uppercase());
        before = c;
    }
    text
}
