//! `state`, `list`, `ps`, `features` and `spec`; `checkpoint` and `restore`, which are refused.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::life::remove_records;
use crate::cli::output::{print, table};
use crate::error::{Context, Error, Result};
use crate::oci::{self, Runtime};

/// Show the state of a container
///
/// Prints the state in the format of the OCI runtime specification, with the additional fields rootfs, created and
/// owner.
#[derive(clap::Args)]
pub struct StateArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// List the containers
#[derive(clap::Args)]
pub struct OciListArguments {
    /// Format of the list.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OciListFormat::Table)]
    format: OciListFormat,

    /// Print the IDs alone.
    #[arg(short, long)]
    quiet: bool,
}

/// Show the processes of a container
#[derive(clap::Args)]
pub struct PsArguments {
    /// Format of the list.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OciListFormat::Table)]
    format: OciListFormat,

    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Show the features of this runtime
///
/// Prints the features in the format of the OCI runtime specification.
#[derive(clap::Args)]
pub struct FeaturesArguments {}

/// Write a config.json template
#[derive(clap::Args)]
pub struct SpecArguments {
    /// Folder of the bundle.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// Write a config for an ordinary user, with a user namespace.
    #[arg(long = "rootless")]
    is_rootless: bool,
}

/// Refuse to checkpoint or restore a container
#[derive(clap::Args)]
pub struct CheckpointArguments {
    /// The container.
    #[arg(value_name = "CONTAINER", num_args = 0.., allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OciListFormat {
    Table,
    Json,
}

/// Prints the state.
pub fn state(arguments: &StateArguments, runtime: &Runtime) -> Result<u8> {
    let state = oci::state(runtime, &arguments.id);
    if state.is_err() {
        remove_records();
    }
    print_json(&state?)
}

/// Prints the list of containers.
pub fn list(arguments: &OciListArguments, runtime: &Runtime) -> Result<u8> {
    remove_records();
    let all = oci::list(runtime)?;
    if arguments.quiet {
        return print(&all.iter().map(|state| format!("{}\n", state.id)).collect::<String>());
    }
    if let OciListFormat::Json = arguments.format {
        return print_json(&all);
    }
    let mut text = "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n".to_owned();
    for state in all {
        let bundle = state.bundle.display().to_string();
        let (bundle, owner) = (table::escape(&bundle), table::escape(&state.owner));
        let (id, pid, status, created) = (state.id, state.pid, state.status.name(), state.created);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{id}\t{pid}\t{status}\t{bundle}\t{created}\t{owner}");
    }
    print(&table::align(&text))
}

/// Prints the processes.
pub fn ps(arguments: &PsArguments, runtime: &Runtime) -> Result<u8> {
    let pids = oci::processes(runtime, &arguments.id)?;
    match arguments.format {
        OciListFormat::Json => print_json(&pids),
        OciListFormat::Table => {
            let lines = pids.iter().map(|pid| format!("{pid}\n"));
            print(&("PID\n".to_owned() + &lines.collect::<String>()))
        }
    }
}

/// Prints the abilities.
pub fn features() -> Result<u8> {
    print_json(&oci::features()?)
}

/// Writes a config. Errors: the file exists.
pub fn spec(arguments: &SpecArguments) -> Result<u8> {
    let user = arguments
        .is_rootless
        .then(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let json = json(&oci::template(user))?;
    let path = arguments.bundle.join("config.json");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(json.as_bytes()));
    written.context(|| path.display().to_string()).map(|()| 0)
}

/// Refuses.
pub fn checkpoint() -> Result<u8> {
    Err(Error::refused(
        "checkpoint and restore (CRIU) need privileges that an ordinary user does not have",
    ))
}

fn print_json(value: &impl Serialize) -> Result<u8> {
    print(&json(value)?)
}

fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from);
    Ok(text.context(|| "cannot write JSON")? + "\n")
}
