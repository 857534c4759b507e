//! `usnea run` and `usnea spec`.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::image::pull::{SourceFlags, WORDS};
use crate::cli::progress::{Loudness, Shown};
use crate::container::{self, Image, PullPolicy, Request, Wanted};
use crate::error::{Context, Error, Result};
use crate::spec::Options;
use crate::sys::signal;

/// What `run` and `spec` have in common.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct SpecArguments {
    #[command(flatten)]
    options: Options,

    /// What the container is made from: an image, [REGISTRY/]NAME[:TAG][@DIGEST], the ID of one, oci:DIR[:NAME],
    /// oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]; host:PROGRAM[,PROGRAM...] for programs of this machine with all that they need;
    /// dir:PATH, or a path that begins with / or ./, for a root directory, which is not written to.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The command and its arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,

    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// `usnea run`
#[derive(clap::Args)]
pub struct RunArguments {
    /// Print the steps as the commands that an administrator would type, and do nothing.
    #[arg(long)]
    explain: bool,

    #[command(flatten)]
    common: SpecArguments,

    /// When an image is pulled before it is run. newer: when the registry has another one by this name.
    #[arg(long, value_enum, value_name = "WHEN", default_missing_value = "always", num_args = 0..=1,
          require_equals = false)]
    pull: Option<PullPolicy>,

    #[command(flatten)]
    source: SourceFlags,

    /// Pull without showing how far it is.
    #[arg(short, long)]
    quiet: bool,
}

impl SpecArguments {
    fn request(self, store: Option<PathBuf>) -> Result<Request> {
        Ok(Request {
            store,
            image: self.image.parse()?,
            command: self.command,
            options: self.options,
        })
    }
}

/// Runs the command and gives its exit status.
pub fn run(arguments: RunArguments, store: Option<PathBuf>) -> Result<u8> {
    let explains = arguments.explain;
    let asks_for_pull = arguments.pull.is_some() || arguments.source.is_asked() || arguments.quiet;
    let place = match arguments.common.image.parse()? {
        Image::Stored(text) => text.parse()?,
        _ if asks_for_pull => {
            return Err(Error::new(format!(
                "{}: nothing is pulled for it, so --pull and the flags of registries mean nothing",
                arguments.common.image
            )));
        }
        // Never pulled.
        _ => "scratch".parse()?,
    };
    let request = arguments.common.request(store)?;
    if !explains {
        let loudness = if arguments.quiet { Loudness::Quiet } else { Loudness::Normal };
        let wanted = Wanted {
            policy: arguments.pull.unwrap_or_default(),
            pull: arguments.source.pull(place)?,
            progress: &Shown::new(WORDS, loudness),
        };
        return container::run(&request, &wanted);
    }
    print(&container::explain(&request)?)
}

/// Prints config.json.
pub fn spec(arguments: SpecArguments, store: Option<PathBuf>) -> Result<u8> {
    let spec = container::spec(&arguments.request(store)?)?;
    let as_io = std::io::Error::from;
    let mut value = serde_json::to_value(&spec).map_err(as_io).context(|| "cannot write JSON")?;
    sort_capabilities(&mut value);
    let json =
        serde_json::to_string_pretty(&value).map_err(as_io).context(|| "cannot write JSON")?;
    print(&(json + "\n"))
}

/// They are sets, which come in another order each time: a reader, and diff(1), want one.
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

/// Prints it; ends quietly when nobody reads.
pub(super) fn print(text: &str) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    std::io::stdout().write_all(text.as_bytes()).context(|| "cannot write to standard output")?;
    Ok(0)
}
