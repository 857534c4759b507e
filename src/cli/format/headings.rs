//! The line above a table. It is the table's own template, carried out on headings instead of values (docker's way).

use serde_json::{Map, Value};

use super::template::Template;

/// The headings that `template` leads to, a whole line; empty where it makes none (it computes with numbers, say).
/// `named`: headings that are not their field's words; `first`: a row, for the names of what is in it.
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
    // Objects and lists keep their shape only where the template goes into them: else they would print as such.
    let line = template.heading(Map::new(), heading).or_else(deep);
    let Some(line) = line.as_deref().and_then(|text| text.lines().next()) else {
        return String::new();
    };
    format!("{line}\n")
}

/// `value` with `heading` in the place of what has no parts.
fn shape(heading: &str, value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(vec![heading.into()]),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), shape(&words(key), value))).collect()
        }
        _ => heading.into(),
    }
}

/// `CreatedAt` as `CREATED AT`, `ID` as `ID`, `ImageID` as `IMAGE ID`.
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
