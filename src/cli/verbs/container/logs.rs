//! `usnea logs`: the recorded output of containers.

use std::io::{BufWriter, Write};

use crate::cli::flags::selection::{MissingContainers, Selection, open};
use crate::cli::output::failures::Failures;
use crate::container::{self, LogRequest, Usnea, time};
use crate::error::{Error, Result, Setting};
use crate::sys::signal;

/// Show container logs
///
/// Standard output and standard error of the container appear on standard output and standard error.
#[derive(clap::Args)]
pub struct Arguments {
    /// Container names, or prefixes of container IDs.
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    containers: Vec<String>,

    /// Use the container that was created last.
    #[arg(short, long, conflicts_with = "containers")]
    latest: bool,

    /// Follow the log until the container ends. Lines that are removed by a size limit (--log-opt max-size) before they
    /// were read are missed.
    #[arg(short, long)]
    follow: bool,

    /// Show only the last N lines, or all.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    tail: String,

    /// Show logs since a time, or a duration ago (10m).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Show logs until a time, or a duration ago (10m).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Show timestamps.
    #[arg(short, long)]
    timestamps: bool,

    /// Show the container's name before each line.
    #[arg(long)]
    names: bool,

    /// Show the lines of each container in a different color.
    #[arg(long)]
    color: bool,

    /// Show the attributes of each line. None are recorded, so each line begins with a space, as docker's do.
    #[arg(long)]
    details: bool,
}

impl Arguments {
    /// Returns the text before each line of the container `name`, the `index`th.
    fn prefix(&self, index: usize, name: &str) -> String {
        let color = if self.color { color(index) } else { String::new() };
        let name = if self.names { format!("{name} ") } else { String::new() };
        let details = if self.details { " " } else { "" };
        format!("{color}{name}{details}")
    }
}

/// End of a color.
pub const NO_COLOR: &str = "\x1b[0m";

/// Returns the beginning of the color of the `index`th container: podman's red, green, yellow, blue, magenta, cyan
/// (ECMA-48, SGR).
pub fn color(index: usize) -> String {
    format!("\x1b[3{}m", 1 + index % 6)
}

/// Reads the value of `--tail`. `None`: all lines.
pub fn tail_of(text: &str) -> Result<Option<usize>> {
    // docker's rule: an empty value means all lines.
    if matches!(text, "all" | "") {
        return Ok(None);
    }
    // docker's rule: a negative number means all lines.
    text.parse::<i64>()
        .map(|count| usize::try_from(count).ok())
        .map_err(|_| Error::invalid(format!("--tail {}: a number, or all", text.escape_debug())))
}

/// Prints the logs of containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    let mut failures = Failures::default();
    let selection = Selection {
        names: arguments.containers.clone(),
        latest: arguments.latest,
        ..Selection::default()
    };
    let selected = selection.find(usnea, MissingContainers::Fails, &mut failures)?;
    if arguments.follow && selected.len() > 1 {
        return Err(Error::invalid("only one container can be followed"));
    }
    let tail = tail_of(&arguments.tail)?;
    let since = time::of_setting(Setting::Since, arguments.since.as_deref())?;
    let until = time::of_setting(Setting::Until, arguments.until.as_deref())?;
    for (index, selected) in selected.iter().enumerate() {
        let shown = open(usnea, selected).and_then(|container| {
            let wanted = LogRequest {
                follow: arguments.follow,
                tail,
                since,
                until,
                timestamps: arguments.timestamps,
                prefix: arguments.prefix(index, &container.record.name),
                suffix: if arguments.color { NO_COLOR } else { "" },
            };
            // A single write for many lines; with both streams, a reader cannot rely on the order of the log.
            let mut output = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
            let mut error = std::io::stderr().lock();
            container::logs(&container, &wanted, &mut output, &mut error)?;
            let _ = output.flush();
            Ok(())
        });
        shown.unwrap_or_else(|error| failures.add(error));
    }
    failures.end()
}
