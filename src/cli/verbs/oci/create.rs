//! `create` and `run`.

use std::path::PathBuf;

use super::image_bundle;
use super::{Inherited, KeyringFlag, block_signals, keyring};
use crate::cli::output::streams;
use crate::engine::RootChange;
use crate::error::{Error, Result};
use crate::oci::{self, CreateRequest, OciCaller, RunEnd, Runtime};

/// Create a container from a bundle
///
/// The container is set up, and its command waits for `start`. No process of usnea stays: the process of the container
/// is reparented to the nearest subreaper.
#[derive(clap::Args)]
pub struct CreateArguments {
    #[command(flatten)]
    bundle: BundleFlags,
}

/// Create a container from a bundle and start it
///
/// Waits for the command, forwards signals to it, deletes the container and exits with the command's status.
#[derive(clap::Args)]
pub struct RunArguments {
    /// Exit when the command runs.
    #[arg(short, long)]
    detach: bool,

    /// Keep the container's state after its command has exited.
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    bundle: BundleFlags,
}

#[derive(clap::Args)]
struct BundleFlags {
    /// Folder of the bundle.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// Write the process ID of the container to this file.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Send the master of the container's pseudo-terminal to this socket.
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,

    /// Pass N additional file descriptors (from 3 on, after those of $LISTEN_FDS) to the command.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_573))]
    preserve_fds: u32,

    /// Use chroot(2) instead of pivot_root(2), for a host whose root is a ramfs.
    #[arg(long)]
    no_pivot: bool,

    #[command(flatten)]
    keyring: KeyringFlag,

    /// Accepted without effect: this runtime is never a subreaper.
    #[arg(long)]
    no_subreaper: bool,

    /// ID of the container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl RunArguments {
    /// Refuses what needs a state. Errors: one of those flags.
    fn refuse_state(&self) -> Result<()> {
        let bundle = &self.bundle;
        let given = [
            ("detach", self.detach),
            ("keep", self.keep),
            ("pid-file", bundle.pid_file.is_some()),
            ("console-socket", bundle.console_socket.is_some()),
            ("preserve-fds", bundle.preserve_fds > 0),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(Error::invalid(format!(
                "--{flag}: not for a bundle with the annotation {}",
                image_bundle::IMAGE
            ))),
            None => Ok(()),
        }
    }
}

impl BundleFlags {
    fn request(self, inherited: Inherited) -> CreateRequest {
        CreateRequest {
            id: self.id,
            bundle: self.bundle,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            preserve_fds: inherited.count,
            sockets: inherited.sockets,
            root_change: if self.no_pivot { RootChange::Chroot } else { RootChange::Pivot },
            keyring: keyring(&self.keyring),
        }
    }
}

/// Creates a container.
pub fn create(arguments: CreateArguments, runtime: &Runtime) -> Result<u8> {
    if image_bundle::read(&arguments.bundle.bundle)?.is_some() {
        let text =
            format!("a bundle with the annotation {} has no created state", image_bundle::IMAGE);
        return Err(Error::invalid(text)
            .hint("run starts it; Slurm calls that with RunTimeRun in oci.conf"));
    }
    let inherited = Inherited::keep(arguments.bundle.preserve_fds)?;
    let signals = block_signals()?;
    let request = arguments.bundle.request(inherited);
    let caller = OciCaller { streams: streams::of_process(), signals: &signals };
    oci::create(runtime, &request, caller).map(|()| 0)
}

/// Runs a container; returns the exit status.
pub fn run(arguments: RunArguments, runtime: &Runtime) -> Result<u8> {
    if let Some(spec) = image_bundle::read(&arguments.bundle.bundle)? {
        arguments.refuse_state()?;
        return image_bundle::run(&spec);
    }
    let inherited = Inherited::keep(arguments.bundle.preserve_fds)?;
    let signals = block_signals()?;
    let end = match (arguments.detach, arguments.keep) {
        (true, _) => RunEnd::AtStart,
        (false, true) => RunEnd::AtEndKept,
        (false, false) => RunEnd::AtEnd,
    };
    let request = arguments.bundle.request(inherited);
    let caller = OciCaller { streams: streams::of_process(), signals: &signals };
    oci::run(runtime, &request, end, caller)
}
