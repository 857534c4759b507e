//! `usnea pod logs`: the recorded output of the containers of a pod.

use crate::cli::flags::pod::PodSelection;
use crate::cli::output::failures::Failures;
use crate::cli::verbs::container::logs::{NO_COLOR, color, tail_of};
use crate::container::pods::{self, Pod};
use crate::container::{Container, LogRequest, Usnea, time};
use crate::error::{Error, Result, Setting};
use crate::object_id::short;
use crate::sys::signal;

/// Show the logs of the containers of a pod
///
/// Each line begins with the ID of its container, or with its name. The logs follow one another; with --follow, new lines
/// of all containers are shown as they come.
#[derive(clap::Args)]
pub struct Arguments {
    /// Pod name, or prefix of its ID.
    #[arg(value_name = "POD", required_unless_present = "latest")]
    pod: Option<String>,

    /// Show the log of this container of the pod only.
    #[arg(short, long, value_name = "CONTAINER")]
    container: Option<String>,

    /// Use the pod that was created last.
    #[arg(short, long, conflicts_with = "pod")]
    latest: bool,

    /// Follow the logs until the containers end.
    #[arg(short, long)]
    follow: bool,

    /// Show the last N lines of each container only; all.
    #[arg(
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

    /// Show the container's name before each line, instead of its ID.
    #[arg(short, long)]
    names: bool,

    /// Show the lines of each container in another color.
    #[arg(long)]
    color: bool,
}

/// Prints the logs of a pod's containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    let pod = PodSelection::single(usnea, arguments.pod.as_deref())?;
    let request = LogRequest {
        follow: arguments.follow,
        tail: tail_of(&arguments.tail)?,
        since: time::of_setting(Setting::Since, arguments.since.as_deref())?,
        until: time::of_setting(Setting::Until, arguments.until.as_deref())?,
        timestamps: arguments.timestamps,
        prefix: String::new(),
        suffix: if arguments.color { NO_COLOR } else { "" },
    };
    let of_member = |(index, member): (usize, Container)| {
        let color = if arguments.color { color(index) } else { String::new() };
        let name = if arguments.names { &*member.record.name } else { short(&member.record.id) };
        let prefix = format!("{color}{name} ");
        (member, LogRequest { prefix, ..request.clone() })
    };
    let members = chosen(&pod, arguments.container.as_deref())?;
    let members: Vec<_> = members.into_iter().enumerate().map(of_member).collect();
    let mut failures = Failures::default();
    pods::logs(&members, &mut std::io::stdout(), &mut std::io::stderr())
        .into_iter()
        .for_each(|error| failures.add(error));
    failures.end()
}

/// Returns the members of the pod, or the one of this name.
fn chosen(pod: &Pod, name: Option<&str>) -> Result<Vec<Container>> {
    let mut members = pod.members()?;
    let Some(name) = name else { return Ok(members) };
    members.retain(|member| {
        member.record.name == name || (!name.is_empty() && member.record.id.starts_with(name))
    });
    match members.len() {
        0 => {
            let text =
                format!("pod {} has no container '{}'", pod.record.name, name.escape_debug());
            Err(Error::not_found(text))
        }
        _ => Ok(members),
    }
}
