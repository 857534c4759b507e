//! `usnea events`: recorded and new events.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::config;
use crate::container::{self, EventFilter, EventQuery, Usnea, time};
use crate::error::{Error, Result};
use crate::monitor::events::Event;
use crate::sys::signal;

/// Show events of containers, images and volumes
///
/// Prints one line of JSON for each event, in docker's shape, until interrupted. With --since or --until also past events;
/// the last few thousand events are kept. Containers of 'run --rm' in the foreground have no events.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show events since a time, or since a duration ago (10m).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Show events until a time, or until a duration ago (10m), and exit.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Filter by KEY=VALUE; keys: container, event (docker's and podman's words), image, label, type, volume, network, scope.
    /// May be given more than once: values of one key are alternatives.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<EventFilter>,

    /// json (the default), or a Go template. Fields: .Time .TimeNano .Type .Action .Status .ID .Name .Image .From .Scope .Attributes
    /// .ContainerExitCode .HealthStatus .Network .PodID .Details .Error .Actor.ID .Actor.Attributes
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Follow new events; with false, exit after past events.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    stream: bool,
}

/// Event, as templates see it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    /// docker's document, whose fields `{{json .}}` shows: some begin with a small letter.
    #[serde(flatten)]
    event: &'a Event,
    time: i64,
    time_nano: i64,
    status: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    image: &'a str,
    from: &'a str,
    scope: &'a str,
    attributes: &'a std::collections::BTreeMap<String, String>,
    /// Exit status of `die` and `exec_die`, else empty; podman's field, as all that follow.
    container_exit_code: &'a str,
    /// Health in an event `health_status`, else empty.
    health_status: &'a str,
    network: &'a str,
    #[serde(rename = "PodID")]
    pod_id: &'a str,
    details: &'a std::collections::BTreeMap<String, String>,
    error: &'a str,
}

impl<'a> Row<'a> {
    fn of(event: &'a Event) -> Self {
        let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
        Self {
            event,
            time: event.time,
            time_nano: event.time_nano,
            status: &event.action,
            id: &event.actor.id,
            name: attribute("name"),
            image: attribute("image"),
            from: event.from.as_deref().unwrap_or_default(),
            scope: &event.scope,
            attributes: &event.actor.attributes,
            container_exit_code: attribute("exitCode"),
            health_status: event.action.strip_prefix("health_status: ").unwrap_or_default(),
            network: "",
            pod_id: "",
            details: &event.actor.attributes,
            error: attribute("error"),
        }
    }
}

const LAYOUT: Layout = Layout { table: "{{.ID}}", headings: &[] };

/// Prints the events.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    if matches!(arguments.format, Some(Format::Table(_))) {
        return Err(
            Error::new("--format table: events have no columns").hint("json, or a template")
        );
    }
    let wanted = EventQuery {
        since: time::flag("since", arguments.since.as_deref())?,
        until: time::flag("until", arguments.until.as_deref())?,
        filters: arguments.filters.clone(),
        follow: arguments.stream,
    };
    let _store = config::open_private(usnea.store()?)?;
    let mut output = io::stdout().lock();
    container::events(usnea, &wanted, |event| {
        output.write_all(text(arguments.format.as_ref(), event)?.as_bytes())?;
        output.flush()
    })?;
    Ok(0)
}

fn text(format: Option<&Format>, event: &Event) -> io::Result<String> {
    match format {
        Some(format @ Format::Template(_)) => {
            render(format, &LAYOUT, Headings::Hidden, &[Row::of(event)]).map_err(io::Error::other)
        }
        _ => Ok(serde_json::to_string(event)? + "\n"),
    }
}
