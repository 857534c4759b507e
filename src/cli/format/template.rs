//! A Go template with docker's functions: parsed once, carried out for each row.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gotmpl::{MissingKey, TemplateError};
use serde_json::{Map, Value};

use super::{actions, functions};
use crate::error::{Context, Error, Result};

const HINT: &str = "templates are Go's, such as '{{.ID}} {{json .Labels}}'; see text/template";

/// A template, parsed.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    rows: Arc<gotmpl::Template>,
    headings: Arc<gotmpl::Template>,
}

impl FromStr for Template {
    type Err = Error;

    /// `\t` and `\n` outside of actions stand for a tab and a line's end. Errors: it is not a Go template.
    fn from_str(text: &str) -> Result<Self> {
        let source = actions::with_escapes(text);
        let name = || format!("template '{}'", source.escape_debug());
        let parse = |functions| {
            let template = gotmpl::Template::new("").missing_key(MissingKey::Error);
            template.funcs(functions).parse(&source).map_err(|error| {
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
    /// The text for one row. Errors: a field, a function or an element that there is not; types that do not fit.
    pub fn row(&self, row: &Value) -> Result<String> {
        let value = gotmpl::to_value(row).map_err(Error::new)?;
        let text = self.rows.execute_to_string(&value);
        text.map_err(|error| explain(&error, row))
            .context(|| format!("template '{}'", self.source.escape_debug()))
    }

    /// The text for headings: those of `headings`, and what `more` says for other fields. `None`: there is none.
    pub(super) fn heading(
        &self,
        mut headings: Map<String, Value>,
        more: impl Fn(&str) -> String,
    ) -> Option<String> {
        loop {
            match self.headings.execute_to_string(&gotmpl::to_value(&headings).ok()?) {
                Ok(text) => return Some(text),
                // One more field each time: as often as the template names one.
                Err(TemplateError::MissingKey { key }) if !headings.contains_key(&key) => {
                    let heading = more(&key).into();
                    headings.insert(key, heading);
                }
                Err(_) => return None,
            }
        }
    }

    /// Whether one of these fields may be in what it prints. A template that prints the row itself (`{{json .}}`) may
    /// print all.
    pub(super) fn may_show(&self, fields: &[&str]) -> bool {
        let named = |field: &&str| self.source.contains(*field);
        fields.iter().any(named) || self.shows_row()
    }

    /// Whether a dot stands by itself.
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

    /// Whether it ends a line itself.
    pub fn ends_line(&self) -> bool {
        self.source.ends_with('\n')
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

fn explain(error: &TemplateError, row: &Value) -> Error {
    let TemplateError::MissingKey { key } = error else {
        let why = error.to_string();
        return Error::new(why.strip_prefix("execution error: ").unwrap_or(&why)).hint(HINT);
    };
    let fields: Vec<&str> = row.as_object().into_iter().flatten().map(|(key, _)| &**key).collect();
    let error = Error::new(format!("there is no field '{}'", key.escape_debug()));
    match fields.contains(&&**key) || fields.is_empty() {
        true => error,
        false => error.hint(format!("fields: {}", fields.join(", "))),
    }
}
