//! `usnea events`: recorded and new events.

use std::io::{self, Write};

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::config;
use crate::container::{self, EventFilter, EventQuery, Usnea, time};
use crate::documents::event::EventFields;
use crate::error::{Error, Result, Setting};
use crate::monitor::events::Event;
use crate::sys::signal;

/// Show events of containers, images, networks, pods, secrets and volumes
///
/// Prints one line of JSON for each event, in docker's format, until interrupted. With --since or --until, also prints
/// past events; the last few thousand are kept. Containers of 'run --rm' in the foreground have no events.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show events since a time, or since a duration ago (10m).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Show events until a time, or until a duration ago (10m), and exit.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Filter by KEY=VALUE; keys: container, event (docker's and podman's words), image, label, type, volume, secret, network, scope.
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

const LAYOUT: Layout = Layout { table: "{{.ID}}", headings: &[] };

/// Prints the events.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    if matches!(arguments.format, Some(Format::Table(_))) {
        return Err(
            Error::invalid("--format table: events have no columns").hint("json, or a template")
        );
    }
    let query = EventQuery {
        since: time::of_setting(Setting::Since, arguments.since.as_deref())?,
        until: time::of_setting(Setting::Until, arguments.until.as_deref())?,
        filters: arguments.filters.clone(),
        follow: arguments.stream,
    };
    let _store = config::open_private(usnea.store()?)?;
    let mut output = io::stdout().lock();
    container::events(usnea, &query, |event| {
        output.write_all(text(arguments.format.as_ref(), event)?.as_bytes())?;
        output.flush()
    })?;
    Ok(0)
}

fn text(format: Option<&Format>, event: &Event) -> io::Result<String> {
    match format {
        Some(format @ Format::Template(_)) => {
            render(format, &LAYOUT, Headings::Hidden, &[EventFields::from(event)])
                .map_err(io::Error::other)
        }
        _ => Ok(serde_json::to_string(event)? + "\n"),
    }
}
