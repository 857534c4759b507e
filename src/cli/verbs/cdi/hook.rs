//! `usnea cdi hook`: changes files of a container that is being created.

use std::path::PathBuf;

use clap::Subcommand;

use crate::container::cdi_devices::native_hook::{HookLink, HookRoot};
use crate::error::Result;

/// Change files of a container that is being created
///
/// Does what nvidia-cdi-hook does in the hooks of NVIDIA's specifications, on machines without that program. Expects the
/// state of the container on the standard input, as createContainer hooks of the OCI runtime specification get it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    hook: HookCommand,
}

#[derive(Subcommand)]
enum HookCommand {
    /// Change the mode of files.
    Chmod {
        /// Mode, octal.
        #[arg(long, value_name = "MODE", value_parser = octal)]
        mode: u32,

        /// Path in the container (repeatable).
        #[arg(long, value_name = "PATH", required = true)]
        path: Vec<PathBuf>,
    },
    /// Make symbolic links.
    CreateSymlinks {
        /// Content of a link and its path in the container (repeatable).
        #[arg(long, value_name = "TARGET::PATH", required = true)]
        link: Vec<HookLink>,
    },
    /// Add the libraries of directories to the cache of ld.so.
    UpdateLdcache {
        /// Directory in the container (repeatable).
        #[arg(long, value_name = "DIR", required = true)]
        folder: Vec<PathBuf>,
    },
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| "not an octal mode".to_owned())
}

/// Runs the hook; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let root = HookRoot::of_state(std::io::stdin().lock())?;
    match arguments.hook {
        HookCommand::Chmod { mode, path } => root.change_mode(mode, &path)?,
        HookCommand::CreateSymlinks { link } => root.create_symlinks(&link)?,
        HookCommand::UpdateLdcache { folder } => root.update_library_cache(&folder)?,
    }
    Ok(0)
}
