//! `usnea run` and `usnea spec`.

use std::io::Write;
use std::path::PathBuf;

use crate::container::{self, Request};
use crate::error::{Context, Result};
use crate::spec::Options;
use crate::sys::signal;

/// What `run` and `spec` have in common.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct SpecArguments {
    #[command(flatten)]
    options: Options,

    /// What the container is made from: host:PROGRAM[,PROGRAM...] for programs of this machine with all that they need;
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
    let request = arguments.common.request(store)?;
    if !explains {
        return container::run(&request);
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
