//! `usnea run` and `usnea spec`, and the flags that `create` shares with them.

use std::io::Write;

use crate::cli::activation;
use crate::cli::container::flags::Flags;
use crate::cli::image::pull::{SourceFlags, WORDS};
use crate::cli::progress::{Loudness, Shown};
use crate::container::volumes;
use crate::container::{
    self, ContainerRequest, Lifecycle, PullPolicy, PullSettings, RootSource, SignalProxy, Usnea,
};
use crate::error::{Context, Error, Result};
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::{Input, Stream};
use crate::spec::Options;
use crate::sys::signal;

/// Arguments that `run`, `create` and `spec` have in common.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Common {
    #[command(flatten)]
    options: Options,

    /// Image of the container: [REGISTRY/]NAME[:TAG][@DIGEST], the ID of one, oci:DIR[:NAME],
    /// oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]; host:PROGRAM[,PROGRAM...] for programs of this machine with all that they need;
    /// dir:PATH, or a path that begins with / or ./, for a root directory, which is not written to.
    /// COMMAND and all words after it, those that begin with a hyphen too, are the container's: options end at IMAGE.
    // A single list, in which trailing words begin at the first one: clap would take flags between two positionals.
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,

    /// Take IMAGE as the path of a root directory, which is writable; PATH:O: changes go to a disposable layer.
    #[arg(long)]
    rootfs: bool,

    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// When and from where an image is pulled.
#[derive(clap::Args)]
pub struct Pulling {
    /// Pull the image before running: always, missing, never, or newer (if the registry has another one by this name).
    #[arg(long, value_enum, value_name = "WHEN", default_missing_value = "always", num_args = 0..=1,
          require_equals = false)]
    pull: Option<PullPolicy>,

    #[command(flatten)]
    source: SourceFlags,

    /// Accepted without effect: docker's Notary signatures are not verified.
    #[arg(long)]
    disable_content_trust: bool,

    /// Suppress the progress of the pull.
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `usnea spec`.
pub type SpecArguments = Common;

/// Run a command in a new container
#[derive(clap::Args)]
pub struct RunArguments {
    /// Print the steps as the commands that an administrator would type, without running them.
    #[arg(long)]
    explain: bool,

    /// Run the container in the background and print its ID.
    #[arg(short, long)]
    detach: bool,

    /// Attach only these streams of the command: stdin, stdout or stderr. Standard error, which carries usnea's own errors,
    /// is always attached. Default: all.
    #[arg(short, long, value_name = "STREAM", ignore_case = true, conflicts_with = "detach")]
    attach: Vec<Stream>,

    /// Remove the image too when the container exits, unless another container uses it. Implies --rm.
    #[arg(long)]
    rmi: bool,

    /// Forward signals to the command.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    pulling: Pulling,
}

impl Common {
    /// Flags of the spec.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Image argument: IMAGE.
    pub fn image(&self) -> String {
        let word = &self.words[0];
        match self.rootfs {
            true => format!("dir:{}", word.strip_suffix(":O").unwrap_or(word)),
            false => word.clone(),
        }
    }

    /// Returns the request, as the verbs take it.
    pub fn request(self, usnea: &Usnea) -> Result<ContainerRequest> {
        let image = self.image().parse()?;
        let mut options = self.options;
        options.rw_root |= self.rootfs && !self.words[0].ends_with(":O");
        let command = self.words.into_iter().skip(1).collect();
        if !options.volumes_from.is_empty() {
            volumes::inherit(usnea.store()?, &mut options)?;
        }
        Ok(ContainerRequest { source: image, command, options })
    }
}

impl Pulling {
    /// Returns the progress display of a pull.
    pub fn shown(&self) -> Shown {
        Shown::new(WORDS, if self.quiet { Loudness::Quiet } else { Loudness::Normal })
    }

    /// Returns when and from where to pull `image`. Errors: pull flags for an image that is never pulled.
    pub fn wanted<'a>(self, image: &str, progress: &'a Shown) -> Result<PullSettings<'a>> {
        let is_asked = self.pull.is_some() || self.source.is_asked() || self.quiet;
        let place = match image.parse()? {
            RootSource::Image(text) => text.parse()?,
            _ if is_asked => {
                return Err(Error::new(format!(
                    "{image}: nothing is pulled for it, so --pull and the flags of registries mean nothing"
                )));
            }
            // Placeholder for an image that is never pulled.
            _ => "scratch".parse()?,
        };
        Ok(PullSettings {
            policy: self.pull.unwrap_or_default(),
            pull: self.source.pull(place)?,
            progress,
        })
    }
}

/// Runs the command; returns its exit status. A disposable container in the foreground has no monitor and no folder in
/// the store, and so starts sooner. A named container has both: other commands find it by that name.
pub fn run(arguments: RunArguments, usnea: &Usnea) -> Result<u8> {
    let RunArguments { explain, detach, attach, rmi, sig_proxy, mut common, flags, pulling } =
        arguments;
    common.options.rm |= rmi;
    if !attach.is_empty() {
        common.options.interactive &= attach.contains(&Stream::Stdin);
        if !attach.contains(&Stream::Stdout) {
            discard_output()?;
        }
    }
    let shown = pulling.shown();
    let image = common.image();
    for warning in activation::warnings(common.options()) {
        log::warn!("{warning}");
    }
    let wanted = pulling.wanted(&image, &shown)?;
    if explain {
        return print(&container::explain(usnea, &common.request(usnea)?)?);
    }
    let options = &common.options;
    let is_to_be_found = options.name.is_some() && !options.preserves_descriptors();
    if options.rm && !detach && sig_proxy && !is_to_be_found && !rmi && !flags.need_a_record() {
        let lifecycle = flags.lifecycle(&image, Input::Closed)?;
        return container::run_disposable(usnea, &common.request(usnea)?, &lifecycle, &wanted);
    }
    let input = match (options.interactive, detach) {
        (false, _) => Input::Closed,
        (true, true) => Input::Open,
        (true, false) => Input::Once,
    };
    let lifecycle = Lifecycle { remove_image: rmi, ..flags.lifecycle(&image, input)? };
    if options.rm && lifecycle.restart != RestartPolicy::No {
        return Err(Error::new("--rm and --restart exclude each other"));
    }
    let proxy = if sig_proxy { SignalProxy::On } else { SignalProxy::Off };
    let request = common.request(usnea)?;
    match detach {
        true => {
            print(&format!("{}\n", container::run_detached(usnea, &request, &lifecycle, &wanted)?))
        }
        false => container::run_attached(usnea, &request, &lifecycle, &wanted, proxy),
    }
}

/// Redirects standard output to /dev/null.
pub(super) fn discard_output() -> Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
    let null = null.context(|| "cannot open /dev/null")?;
    rustix::stdio::dup2_stdout(&null).map_err(Error::from).context(|| "cannot discard output")
}

/// Prints config.json.
pub fn spec(arguments: SpecArguments, usnea: &Usnea) -> Result<u8> {
    let spec = container::spec(usnea, &arguments.request(usnea)?)?;
    let as_io = std::io::Error::from;
    let mut value = serde_json::to_value(&spec).map_err(as_io).context(|| "cannot write JSON")?;
    sort_capabilities(&mut value);
    let json =
        serde_json::to_string_pretty(&value).map_err(as_io).context(|| "cannot write JSON")?;
    print(&(json + "\n"))
}

/// Sorts the sets of capabilities, whose order changes from run to run: a reader and diff(1) need a stable one.
fn sort_capabilities(spec: &mut serde_json::Value) {
    let sets = spec.pointer_mut("/process/capabilities").and_then(serde_json::Value::as_object_mut);
    for set in sets
        .into_iter()
        .flat_map(|sets| sets.values_mut())
        .filter_map(serde_json::Value::as_array_mut)
    {
        set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

/// Prints text; ends quietly without a reader.
pub(super) fn print(text: &str) -> Result<u8> {
    print_bytes(text.as_bytes())
}

/// Prints bytes that need not be text; ends quietly without a reader.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    std::io::stdout().write_all(bytes).context(|| "cannot write to standard output")?;
    Ok(0)
}
