//! `usnea create`: makes a container without a start.

use crate::cli::flags::attach::StreamFlag;
use crate::cli::flags::launch::LaunchFlags;
use crate::cli::flags::lifecycle::LifecycleFlags;
use crate::cli::flags::pod::PodFlags;
use crate::cli::flags::pull::PullFlags;
use crate::cli::output::print_line;
use crate::container::pods::NewPod;
use crate::container::{self, Lifecycle, Usnea};
use crate::error::Result;
use crate::monitor::record::{Input, Stream};

/// Create a container without starting it
///
/// Prints the container's ID. 'usnea start' starts the container.
#[derive(clap::Args)]
pub struct Arguments {
    /// Attach only these streams at a later 'usnea start --attach': stdin, stdout or stderr. Default: all.
    #[arg(short, long, value_name = "STREAM", ignore_case = true)]
    attach: Vec<StreamFlag>,

    #[command(flatten)]
    launch: LaunchFlags,

    #[command(flatten)]
    pod: PodFlags,

    #[command(flatten)]
    lifecycle: LifecycleFlags,

    #[command(flatten)]
    pull: PullFlags,
}

/// Makes the container, and prints its ID.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let Arguments { attach, launch, pod, lifecycle, pull } = arguments;
    let attach = attach.into_iter().map(Stream::from).collect();
    let input = if launch.options.interactive { Input::Once } else { Input::Closed };
    let mut lifecycle = Lifecycle { attach, ..lifecycle.lifecycle(usnea, &launch.image(), input)? };
    let progress = pull.progress();
    let pull = pull.settings(&launch.image(), &progress)?;
    let mut request = launch.request(usnea)?;
    let new_pod = pod.join(usnea, &mut request.options, &mut lifecycle)?;
    let next = container::AfterCreate::Leave;
    let created = container::create(usnea, &request, &lifecycle, &pull, next)?;
    new_pod.into_iter().for_each(NewPod::keep);
    print_line(&created.container.record.id);
    Ok(0)
}
