//! Functions of templates that docker adds to Go's, with docker's order of arguments.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime as Zoned};

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use serde_json::Value as Json;

use super::times;
use crate::documents::text::LABELS;

type FunctionResult = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> FunctionResult;

/// Longest text that `pad` pads, and largest padding on a side.
const MOST_PADDING: i64 = 65_535;

/// Returns the functions for rows.
pub fn of_rows() -> FuncMap {
    let functions: [(&str, Function); 15] = [
        ("format", format_time),
        ("label", label),
        ("local", |args| {
            change_time("Local", args, |time| time.with_time_zone(TimeZone::system()))
        }),
        ("unix", |args| number("Unix", args, |time| time.as_second())),
        ("unixNano", |args| {
            number("UnixNano", args, |time| i64::try_from(time.as_nanosecond()).unwrap_or_default())
        }),
        ("utc", |args| change_time("UTC", args, |time| time.with_time_zone(TimeZone::UTC))),
        ("index", index),
        ("join", join),
        ("json", json),
        ("lower", |args| map_text("lower", args, str::to_lowercase)),
        ("pad", pad),
        ("split", split),
        ("title", |args| map_text("title", args, title)),
        ("truncate", truncate),
        ("upper", |args| map_text("upper", args, str::to_uppercase)),
    ];
    functions.into_iter().map(|(name, function)| (name.into(), shared(function))).collect()
}

/// Returns the functions for headings: those that change a value return its heading unchanged, and every condition
/// holds.
pub fn of_headings() -> FuncMap {
    let first = |args: &[Value]| Ok(args.first().map_or(Value::Nil, leaf));
    let last = |args: &[Value]| Ok(args.last().map_or(Value::Nil, leaf));
    let holds = |_: &[Value]| Ok(Value::Bool(true));
    let whole = [
        "format", "html", "index", "join", "js", "json", "len", "local", "lower", "pad", "slice",
        "split", "title", "truncate", "unix", "unixNano", "upper", "urlquery", "utc",
    ];
    let mut functions = FuncMap::new();
    functions.extend(whole.map(|name| (name.into(), shared(first))));
    functions.extend(
        ["eq", "ge", "gt", "le", "lt", "ne", "not"].map(|name| (name.into(), shared(holds))),
    );
    functions.insert("printf".into(), shared(last));
    functions.insert("label".into(), shared(label_heading));
    functions
}

fn shared(function: impl Fn(&[Value]) -> FunctionResult + Send + Sync + 'static) -> ValueFunc {
    Arc::new(function)
}

/// Returns the heading in a list of headings.
fn leaf(value: &Value) -> Value {
    match value {
        Value::List(list) => list.first().map_or(Value::Nil, leaf),
        other => other.clone(),
    }
}

fn wrong(usage: &str) -> TemplateError {
    TemplateError::Exec(format!("arguments do not fit, it is {usage}"))
}

fn text(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

fn map_text(name: &str, args: &[Value], change: impl Fn(&str) -> String) -> FunctionResult {
    match args {
        [Value::String(value)] => Ok(text(change(value))),
        _ => Err(wrong(&format!("'{name} TEXT'"))),
    }
}

/// Puts each word's first letter in upper case (Go's `strings.Title`).
fn title(text: &str) -> String {
    let mut begins = true;
    let letter = |c: char| {
        let upper = begins && c.is_alphabetic();
        begins = !(c.is_alphanumeric() || c == '_' || c == '\'');
        if upper { c.to_uppercase().collect() } else { c.to_string() }
    };
    text.chars().map(letter).collect()
}

/// Indexes as Go does, except for a missing key of a map of text (labels), or a key of no map at all: returns an empty
/// text. Go returns the zero value of the type there, which JSON does not know.
fn index(args: &[Value]) -> FunctionResult {
    let (value, keys) = match args {
        [value, keys @ ..] if !keys.is_empty() => (value, keys),
        _ => return Err(wrong("'index LIST-OR-MAP KEY...'")),
    };
    keys.iter().try_fold(value.clone(), |value, key| match (&value, key) {
        (Value::Nil, Value::String(_)) => Ok(text("")),
        (Value::Map(map), Value::String(key)) if !map.contains_key(key) => {
            let of_text = map.values().all(|value| matches!(value, Value::String(_)));
            Ok(if of_text { text("") } else { Value::Nil })
        }
        // docker prints labels as one text; podman has a map of labels.
        (Value::String(labels), Value::String(key))
            if labels.is_empty() || labels.contains('=') =>
        {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            Ok(text(pairs.find(|(name, _)| *name == &**key).map_or("", |(_, value)| value)))
        }
        _ => value.index(key),
    })
}

fn join(args: &[Value]) -> FunctionResult {
    let (list, between) = match args {
        [Value::List(list), Value::String(between)] => (&**list, between),
        [Value::Nil, Value::String(between)] => (&[][..], between),
        _ => return Err(wrong("'join LIST TEXT-BETWEEN'")),
    };
    let words: Vec<String> = list.iter().map(ToString::to_string).collect();
    Ok(text(words.join(between)))
}

fn split(args: &[Value]) -> FunctionResult {
    match args {
        [Value::String(value), Value::String(at)] => {
            // Without a separator, Go splits between characters only, Rust at both ends too.
            let words = value.split(&**at).filter(|word| !at.is_empty() || !word.is_empty());
            Ok(Value::List(words.map(text).collect()))
        }
        _ => Err(wrong("'split TEXT TEXT-BETWEEN'")),
    }
}

/// Cuts to a number of characters (docker counts bytes, and may cut a character in half).
fn truncate(args: &[Value]) -> FunctionResult {
    match args {
        [Value::String(value), length] if length.as_int().is_some_and(|length| length >= 0) => {
            let length = length.as_int().and_then(|length| usize::try_from(length).ok());
            Ok(text(value.chars().take(length.unwrap_or_default()).collect::<String>()))
        }
        _ => Err(wrong("'truncate TEXT LENGTH'")),
    }
}

/// Adds spaces before and after a text that is not empty.
fn pad(args: &[Value]) -> FunctionResult {
    let spaces = |count: &Value| {
        let count = count.as_int().filter(|count| (0..=MOST_PADDING).contains(count))?;
        Some(" ".repeat(usize::try_from(count).ok()?))
    };
    match args {
        [Value::String(value), before, after] => match (spaces(before), spaces(after)) {
            (Some(_), Some(_)) if value.is_empty() => Ok(text("")),
            (Some(before), Some(after)) => Ok(text(format!("{before}{value}{after}"))),
            _ => Err(wrong("'pad TEXT BEFORE AFTER'")),
        },
        _ => Err(wrong("'pad TEXT BEFORE AFTER'")),
    }
}

/// Returns the value of a label of a row; empty where the row has no such label.
fn label(args: &[Value]) -> FunctionResult {
    let [Value::Map(row), Value::String(name)] = args else {
        return Err(wrong("'.Label \"NAME\"'"));
    };
    let labels = row.get(LABELS).or_else(|| row.get("Labels"));
    Ok(match labels {
        Some(Value::Map(labels)) => labels.get(name).cloned().unwrap_or_else(|| text("")),
        _ => return Err(wrong("'.Label \"NAME\"' of what has labels")),
    })
}

/// Returns docker's heading of a column of labels: the part of its name after the last dot.
fn label_heading(args: &[Value]) -> FunctionResult {
    match args.last() {
        Some(Value::String(name)) => {
            let last = name.rsplit('.').next().unwrap_or_default();
            Ok(text(last.replace(['-', '_'], " ").to_uppercase()))
        }
        _ => Ok(text("")),
    }
}

fn time_of(name: &str, value: Option<&Value>) -> Result<Zoned, TemplateError> {
    let time = match value {
        Some(Value::String(text)) => times::parse(text),
        Some(number) => number.as_int().and_then(|seconds| {
            Some(Timestamp::from_second(seconds).ok()?.to_zoned_datetime(TimeZone::UTC))
        }),
        None => None,
    };
    time.ok_or_else(|| TemplateError::Exec(format!("{name} is of times alone, this is none")))
}

fn format_time(args: &[Value]) -> FunctionResult {
    match args {
        [time, Value::String(layout)] => {
            Ok(text(times::format(&time_of("Format", Some(time))?, layout)))
        }
        _ => Err(wrong("'.Format \"2006-01-02\"' (Go's layouts)")),
    }
}

fn change_time(name: &str, args: &[Value], change: impl Fn(Zoned) -> Zoned) -> FunctionResult {
    time_of(name, args.first()).map(|time| text(times::text(&change(time))))
}

fn number(name: &str, args: &[Value], of: impl Fn(Timestamp) -> i64) -> FunctionResult {
    time_of(name, args.first()).map(|time| Value::Int(of(time.timestamp())))
}

fn json(args: &[Value]) -> FunctionResult {
    match args {
        [value] => Ok(text(to_json(value).to_string())),
        _ => Err(wrong("'json VALUE'")),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(value) => (&**value).into(),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => {
            let shown = map.iter().filter(|(key, _)| &***key != LABELS);
            let pairs = shown.map(|(key, value)| (key.to_string(), to_json(value)));
            Json::Object(pairs.collect())
        }
    }
}
