//! `--format`: rows of a command as a table, as JSON, or through a Go template, as docker and podman do.
//!
//! ```text
//!  rows: Serialize --> JSON ----------------------------------> json: one array
//!                       +--> template (+ functions) ----------> TEMPLATE: a line for each row
//!                       +--> escaped --> template + headings --> table [TEMPLATE]: aligned
//! ```
//!
//! A command passes its rows and a [`Layout`]. The rows' fields have the names that templates use (`#[serde(rename_all
//! = "PascalCase")]`). A row always has every field. Where Go has a nil list or map, the row has an empty one: `null`
//! prints as `<no value>`.

mod actions;
mod functions;
mod headings;
mod levels;
mod methods;
mod template;
mod times;

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

pub use self::template::Template;
use super::table;
use crate::documents::text::LABELS;
use crate::error::{Error, Result};

/// Value of `--format`.
#[derive(Clone, Debug)]
pub enum Format {
    /// Table with the template's columns, else the command's own.
    Table(Option<Template>),
    /// Single array of objects.
    Json,
    /// Text of the template for each row.
    Template(Template),
}

impl Default for Format {
    fn default() -> Self {
        Self::Table(None)
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Parses `table`, `table TEMPLATE`, `json`, or a template. Errors: an invalid Go template.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim_matches(' ');
        let columns = text.strip_prefix("table").filter(|rest| {
            rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with("\\t")
        });
        Ok(match (columns.map(str::trim_start), text) {
            (Some(""), _) => Self::Table(None),
            (Some(rest), _) => {
                Self::Table(Some(rest.strip_prefix("\\t").unwrap_or(rest).trim_start().parse()?))
            }
            (None, "json") => Self::Json,
            (None, _) => Self::Template(text.parse()?),
        })
    }
}

impl Format {
    /// True if one of these fields may be printed: only then does a command compute it.
    pub fn may_show(&self, fields: &[&str]) -> bool {
        match self {
            Self::Json => true,
            Self::Table(None) => false,
            Self::Table(Some(template)) | Self::Template(template) => template.may_show(fields),
        }
    }
}

/// Table layout of a command.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Default columns: a template, with tabs between cells.
    pub table: &'static str,
    /// Fields whose heading is not their name: `("ID", "IMAGE ID")`. The rest are their words: `CREATED AT`.
    pub headings: &'static [(&'static str, &'static str)],
}

/// Choice to print a table's headings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Headings {
    /// Headings are printed.
    #[default]
    Shown,
    /// Headings are left out (`--noheading`).
    Hidden,
}

/// Returns the text to print: empty, or whole lines. Errors: rows that cannot be JSON; a template that fails on a row,
/// such as for a missing field.
pub fn render<R: Serialize>(
    format: &Format,
    layout: &Layout,
    headings: Headings,
    rows: &[R],
) -> Result<String> {
    let rows = rows.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(Error::new)?;
    match format {
        Format::Json => {
            let mut rows = rows;
            rows.iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|row| drop(row.remove(LABELS)));
            Ok(format!("{:#}\n", Value::Array(rows)))
        }
        Format::Template(template) => lines(template, &rows),
        Format::Table(Some(template)) => in_columns(template, layout, headings, rows),
        Format::Table(None) => in_columns(&layout.table.parse()?, layout, headings, rows),
    }
}

fn lines(template: &Template, rows: &[Value]) -> Result<String> {
    let mut text = String::new();
    if template.ranges_over_rows() {
        return template.row(&Value::Array(rows.to_vec()));
    }
    for row in rows {
        text += &template.row(row)?;
        // A template that ends its line itself gets no second line's end (podman's rule; docker leaves a blank line).
        if !template.ends_line() {
            text.push('\n');
        }
    }
    Ok(text)
}

fn in_columns(
    template: &Template,
    layout: &Layout,
    headings: Headings,
    mut rows: Vec<Value>,
) -> Result<String> {
    rows.iter_mut().for_each(escape);
    let head = match headings {
        Headings::Shown => headings::line(template, layout.headings, rows.first()),
        Headings::Hidden => String::new(),
    };
    Ok(table::align(&(head + &lines(template, &rows)?)))
}

/// Escapes the control characters of all text in `value`.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = table::escape(text).into_owned(),
        Value::Array(list) => list.iter_mut().for_each(escape),
        Value::Object(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(key, mut value)| {
                    escape(&mut value);
                    (table::escape(&key).into_owned(), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
