//! `usnea run`: runs a command in a new container.

use crate::cli::flags::attach::StreamFlag;
use crate::cli::flags::launch::LaunchFlags;
use crate::cli::flags::lifecycle::LifecycleFlags;
use crate::cli::flags::pod::PodFlags;
use crate::cli::flags::pull::PullFlags;
// Named so by the commands that print.
pub use crate::cli::output::print;
use crate::cli::output::streams;
use crate::container::pods::{NewPod, PodChoice};
use crate::container::{
    self, CallerStreams, Client, ContainerRequest, GroupKey, JobVariables, JoinChoice, Lifecycle,
    PullSettings, SignalProxy, Usnea,
};
use crate::error::{Error, Result};
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::{Input, Stream};

/// Run a command in a new container
#[derive(clap::Args)]
pub struct Arguments {
    /// Print the steps as shell commands instead of running the container.
    #[arg(long)]
    explain: bool,

    /// Run the container in the background and print its ID.
    #[arg(short, long)]
    detach: bool,

    /// Attach only these streams of the command: stdin, stdout or stderr. Errors of usnea itself go to standard error in
    /// any case. Default: all.
    #[arg(short, long, value_name = "STREAM", ignore_case = true, conflicts_with = "detach")]
    attach: Vec<StreamFlag>,

    /// Remove the image too when the container exits, unless another container uses it. Implies --rm.
    #[arg(long)]
    rmi: bool,

    /// Forward signals to the command.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,

    /// Share one container with the other commands of a job on this node: its namespaces, root and file servers. auto
    /// (without a value): the commands of the Slurm step or of the MPI job, else of the parent process; TAG: those with
    /// the same tag; none: a container of its own. Implies --rm. Default: auto for one of several tasks of a Slurm step
    /// on a node if --rm is given, else none.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "TAG", default_missing_value = container::JOIN)]
    join: Option<JoinChoice>,

    /// Run a rank of an MPI job on a cluster, with your own user ID (--userns keep-id), the network, PID and IPC
    /// namespaces, /dev/shm and cgroup of the host, your home, the working directory, /tmp, $TMPDIR and the directory of
    /// the PMIx server at their own paths, the variables of Slurm, PMI, MPI, fabrics, GPUs and threads, the descriptor
    /// PMI_FD, the devices of fabrics, and one container for all ranks of a node (--join). Other flags win. Implies --rm.
    /// [hpc] in usnea.toml adds more; see usnea-hpc(7).
    #[arg(long)]
    hpc: bool,

    #[command(flatten)]
    launch: LaunchFlags,

    #[command(flatten)]
    pod: PodFlags,

    #[command(flatten)]
    lifecycle: LifecycleFlags,

    #[command(flatten)]
    pull: PullFlags,
}

/// Runs the command; returns its exit status. A disposable container in the foreground has no monitor and no folder in
/// the store, and so starts sooner. A named container has both: other commands find it by that name.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let Arguments {
        explain,
        detach,
        attach,
        rmi,
        sig_proxy,
        join,
        hpc,
        mut launch,
        pod,
        lifecycle,
        pull,
    } = arguments;
    let is_join_asked = matches!(join, Some(JoinChoice::Join | JoinChoice::Tag(_)));
    launch.options.rm |= rmi || is_join_asked;
    let join = join.unwrap_or(if hpc { JoinChoice::Ranks } else { JoinChoice::Default });
    let mut variables = JobVariables::default();
    if hpc {
        variables = JobVariables::of(&launch.options)?;
        launch.add_hpc(&usnea.settings()?.hpc, &variables)?;
    }
    if !attach.is_empty() {
        launch.options.interactive &= attach.contains(&StreamFlag::Stdin);
    }
    let attach: Vec<Stream> = attach.into_iter().map(Stream::from).collect();
    let streams = streams::attached(&attach)?;
    let progress = pull.progress();
    let image = launch.image();
    let pull = pull.settings(&image, &progress)?;
    if explain {
        return explain_run(usnea, launch, &pod);
    }
    let options = &launch.options;
    let is_to_be_found =
        pod.is_given() || options.name.is_some() && !options.preserves_descriptors();
    let is_disposable = options.rm
        && !detach
        && sig_proxy
        && !is_to_be_found
        && !rmi
        && !lifecycle.require_record();
    if is_join_asked && !is_disposable {
        return Err(Error::invalid(
            "--join is for a disposable container in the foreground, without a name, a pod or a health check",
        ));
    }
    if is_disposable {
        let lifecycle = lifecycle.lifecycle(usnea, &image, Input::Closed)?;
        let request = launch.request(usnea)?;
        let key = GroupKey::of_process(&join, &variables);
        return run_disposable(usnea, &request, &lifecycle, &pull, streams, key);
    }
    RecordedRun { launch, pod, lifecycle, pull, streams, image, detach, rmi, sig_proxy }.run(usnea)
}

/// Run of a container with a monitor and a record in the store.
struct RecordedRun<'a> {
    launch: LaunchFlags,
    pod: PodFlags,
    lifecycle: LifecycleFlags,
    pull: PullSettings<'a>,
    streams: CallerStreams<'static>,
    image: String,
    detach: bool,
    rmi: bool,
    sig_proxy: bool,
}

impl RecordedRun<'_> {
    fn run(self, usnea: &Usnea) -> Result<u8> {
        let Self { launch, pod, lifecycle, pull, streams, image, detach, rmi, sig_proxy } = self;
        let options = &launch.options;
        let input = match (options.interactive, detach) {
            (false, _) => Input::Closed,
            (true, true) => Input::Open,
            (true, false) => Input::Once,
        };
        let mut lifecycle =
            Lifecycle { remove_image: rmi, ..lifecycle.lifecycle(usnea, &image, input)? };
        if options.rm && lifecycle.restart != RestartPolicy::No {
            return Err(Error::invalid("--rm and --restart exclude each other"));
        }
        let proxy = if sig_proxy { SignalProxy::On } else { SignalProxy::Off };
        let client = Client { streams, proxy };
        let mut request = launch.request(usnea)?;
        let new_pod = pod.join(usnea, &mut request.options, &mut lifecycle)?;
        let status = match detach {
            true => {
                let id = container::run_detached(usnea, &request, &lifecycle, &pull)?;
                print(&format!("{id}\n"))
            }
            false => container::run_attached(usnea, &request, &lifecycle, &pull, client),
        }?;
        new_pod.into_iter().for_each(NewPod::keep);
        Ok(status)
    }
}

/// Runs a disposable container in the foreground: that of a group, if it joins one.
fn run_disposable(
    usnea: &Usnea,
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    pull: &PullSettings<'_>,
    streams: CallerStreams<'_>,
    key: Option<GroupKey>,
) -> Result<u8> {
    if let Some(key) = key
        && let Some(status) = container::run_joined(usnea, request, &key, pull, streams)?
    {
        return Ok(status);
    }
    container::run_disposable(usnea, request, lifecycle, pull, streams)
}

/// Prints the steps of the run. Makes nothing, so a pod must be there.
fn explain_run(usnea: &Usnea, launch: LaunchFlags, pod: &PodFlags) -> Result<u8> {
    let mut request = launch.request(usnea)?;
    if let Some(PodChoice::New(name)) = pod.choice()? {
        return Err(Error::invalid(format!("--explain and --pod new:{name} exclude each other")));
    }
    let joined = pod.join(usnea, &mut request.options, &mut Lifecycle::default())?;
    joined.into_iter().for_each(NewPod::keep);
    print(&container::explain(usnea, &request)?)
}
