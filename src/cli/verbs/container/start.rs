//! `usnea start`: starts containers.

use crate::cli::flags::attach::detach_keys;
use crate::cli::flags::selection::{MissingContainers, Selection, open};
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::streams;
use crate::container::{self, Attachment, SignalProxy, Usnea};
use crate::engine;
use crate::error::{Context, Error, Result};
use crate::monitor::protocol;
use crate::sys::signal::Signals;

/// Start containers
///
/// Running containers are left unchanged.
#[derive(clap::Args)]
// docker's short flag -a means --attach here.
#[command(mut_arg("all", |all| all.short(None)))]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Attach standard output and standard error, and exit with the container's status.
    #[arg(short, long)]
    attach: bool,

    /// Attach standard input; with --attach.
    #[arg(short, long)]
    interactive: bool,

    /// Key sequence to detach from the container. Default: ctrl-p,ctrl-q.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Forward signals to the command; with --attach.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
}

/// Starts the containers; returns the exit status.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    usnea.close_descriptors_at_exec()?;
    let mut failures = Failures::default();
    let selected = arguments.selection.find(usnea, MissingContainers::Fails, &mut failures)?;
    if arguments.attach || arguments.interactive {
        return match &selected[..] {
            [one] if failures.is_empty() => start_attached(usnea, arguments, &open(usnea, one)?),
            [] => failures.end(),
            _ => Err(Error::invalid("only one container can be attached to")),
        };
    }
    for selected in &selected {
        let started =
            open(usnea, selected).and_then(|container| container::start(usnea, &container, None));
        match started {
            Ok(_) => print_line(&selected.typed),
            Err(error) => failures.add(
                Err::<(), _>(error)
                    .context(|| format!("container {}", selected.typed))
                    .unwrap_err(),
            ),
        }
    }
    failures.end()
}

fn start_attached(
    usnea: &Usnea,
    arguments: &Arguments,
    container: &container::Container,
) -> Result<u8> {
    let recorded = container.record.detach_keys.as_deref();
    let keys = detach_keys(arguments.detach_keys.as_deref().or(recorded))?;
    let streams = streams::attached(&container.record.attach)?;
    let signals = Signals::block(&engine::forwarded()).context(|| "cannot block signals")?;
    let (near, far) = protocol::pair().context(|| "cannot make a socket pair")?;
    let socket = match container::start(usnea, container, Some((far, &signals)))? {
        true => near,
        false => container::connect_monitor(container)?,
    };
    let attachment = Attachment {
        socket,
        streams,
        reads_input: arguments.interactive,
        keys: keys.unwrap_or_default(),
        proxy: if arguments.sig_proxy { SignalProxy::On } else { SignalProxy::Off },
    };
    Ok(container::attach(container, attachment, &signals)?.unwrap_or(0))
}
