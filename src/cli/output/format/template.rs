//! Go template with docker's functions: parsed once, executed for each row.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gotmpl::{MissingKey, TemplateError};
use serde_json::{Map, Value};

use super::{actions, functions, levels, methods};
use crate::error::{Context, Error, Result};
use crate::fail;

const HINT: &str = "templates are Go's, such as '{{.ID}} {{json .Labels}}'; see text/template";

/// Parsed template.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    rows: Arc<gotmpl::Template>,
    headings: Arc<gotmpl::Template>,
}

impl FromStr for Template {
    type Err = Error;

    /// Parses a template; `\t` and `\n` outside of actions mean a tab and a line's end. Errors: an invalid Go template.
    fn from_str(text: &str) -> Result<Self> {
        let source = actions::with_escapes(text);
        let name = || format!("template '{}'", source.escape_debug());
        let parse = |functions| {
            let template = gotmpl::Template::new("").missing_key(MissingKey::Error);
            template.funcs(functions).parse(&methods::as_functions(&source)).map_err(|error| {
                let why = error.to_string();
                Error::new(why.strip_prefix("template: ").unwrap_or(&why)).hint(HINT)
            })
        };
        actions::check_blocks(&source).hint(|| HINT).context(name)?;
        Ok(Self {
            rows: Arc::new(parse(functions::of_rows()).context(name)?),
            headings: Arc::new(parse(functions::of_headings()).context(name)?),
            source: source.into(),
        })
    }
}

impl Template {
    /// Returns the text for one row. Errors: an unknown field, function or element; types that do not fit; a field of
    /// null (Go's nil pointer).
    pub fn row(&self, row: &Value) -> Result<String> {
        let phrase = || format!("template '{}'", self.source.escape_debug());
        let mut row = std::borrow::Cow::Borrowed(row);
        loop {
            match self.execute(&row) {
                Err(TemplateError::MissingKey { key }) if levels::add_twin(row.to_mut(), &key) => {}
                Err(error) => return Err(explain(&error, &self.source, &row)).context(phrase),
                Ok(text) => {
                    self.refuse_fields_of_null(&row).context(phrase)?;
                    return Ok(text);
                }
            }
        }
    }

    fn execute(&self, row: &Value) -> Result<String, TemplateError> {
        let value =
            gotmpl::to_value(row).map_err(|error| TemplateError::Exec(error.to_string()))?;
        self.rows.execute_to_string(&value)
    }

    /// Refuses a field of null, where Go fails and gotmpl prints `<no value>`. The health of a container without a
    /// check must be an error. With empty objects instead of nulls, such a field is missing.
    fn refuse_fields_of_null(&self, row: &Value) -> Result<()> {
        let mut empty = row.clone();
        if !fill_nulls(&mut empty) {
            return Ok(());
        }
        match self.execute(&empty) {
            Err(TemplateError::MissingKey { key }) => {
                let level = levels::fields_beside(&self.source, &key, &empty);
                let level = level.map(|(level, _)| format!(": {level} is null"));
                fail!(Invalid: "there is no field '{}'{}", key.escape_debug(), level.unwrap_or_default())
            }
            _ => Ok(()),
        }
    }

    /// Returns the text for headings: those of `headings`, and those of `more` for other fields. `None`: the template
    /// fails.
    pub(super) fn heading(
        &self,
        mut headings: Map<String, Value>,
        more: impl Fn(&str) -> String,
    ) -> Option<String> {
        loop {
            match self.headings.execute_to_string(&gotmpl::to_value(&headings).ok()?) {
                Ok(text) => return Some(text),
                // Each attempt adds a field: at most as often as the template names one.
                Err(TemplateError::MissingKey { key }) if !headings.contains_key(&key) => {
                    let heading = more(&key).into();
                    headings.insert(key, heading);
                }
                Err(_) => return None,
            }
        }
    }

    /// True if the output may contain one of these fields. A template that prints the row itself (`{{json .}}`) may
    /// print all.
    pub(super) fn may_show(&self, fields: &[&str]) -> bool {
        let named = |field: &&str| self.source.contains(*field);
        fields.iter().any(named) || self.shows_row()
    }

    /// True if a dot stands by itself.
    fn shows_row(&self) -> bool {
        let alone = |(at, _): (usize, &str)| {
            let before = self.source[..at].chars().next_back();
            let after = self.source[at + 1..].chars().next();
            let is_part =
                |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_)]$".contains(c));
            !is_part(before) && !is_part(after)
        };
        self.source.match_indices('.').any(alone)
    }

    /// True if the template loops over the rows by itself, `{{range .}}...{{end}}` (podman's).
    pub(super) fn ranges_over_rows(&self) -> bool {
        let action = self.source.trim_start().strip_prefix("{{").unwrap_or_default();
        let action = action.strip_prefix('-').unwrap_or(action).trim_start();
        let over = action.strip_prefix("range").unwrap_or_default().trim_start();
        over.strip_prefix('.').is_some_and(|rest| rest.trim_start().starts_with(['}', '-']))
    }

    /// True if the template ends a line itself.
    pub fn ends_line(&self) -> bool {
        self.source.ends_with('\n')
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

fn explain(error: &TemplateError, source: &str, row: &Value) -> Error {
    let TemplateError::MissingKey { key } = error else {
        let why = error.to_string();
        return Error::new(why.strip_prefix("execution error: ").unwrap_or(&why)).hint(HINT);
    };
    let error = |level: &str| {
        let place = if level.is_empty() { String::new() } else { format!(" in {level}") };
        Error::invalid(format!("there is no field '{}'{place}", key.escape_debug()))
    };
    match levels::fields_beside(source, key, row) {
        Some((level, fields)) if fields.is_empty() => error(&level),
        Some((level, fields)) => error(&level).hint(format!("fields: {}", fields.join(", "))),
        None => error(""),
    }
}

/// Replaces each null by an empty object; returns true if any was replaced.
fn fill_nulls(value: &mut Value) -> bool {
    match value {
        Value::Null => {
            *value = Value::Object(Map::new());
            true
        }
        Value::Array(list) => {
            list.iter_mut().fold(false, |is_filled, one| fill_nulls(one) | is_filled)
        }
        Value::Object(map) => {
            map.values_mut().fold(false, |is_filled, one| fill_nulls(one) | is_filled)
        }
        _ => false,
    }
}
