//! `usnea rm`: removes containers.

use crate::cli::flags::selection::{AfterSuccess, MissingContainers, Selection, each_together};
use crate::cli::output::print_line;
use crate::container::{self, RemoveOptions, Remover, Usnea};
use crate::error::Result;

/// Remove containers
///
/// A container is removed with its log and all files that its command wrote.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Kill and remove running containers, and ignore missing containers.
    #[arg(short, long)]
    force: bool,

    /// Remove anonymous volumes too. (Those of `create --rm` are always removed.)
    #[arg(short, long)]
    volumes: bool,

    /// Seconds to wait before a running container is killed, with --force. Default: 0.
    #[arg(short, long = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,

    /// Ignore containers that do not exist.
    #[arg(short, long)]
    ignore: bool,

    /// With --force: remove a container that is recorded as running on another machine that shares the store. For a
    /// machine that no longer exists.
    #[arg(long, requires = "force")]
    other_host: bool,
}

/// Removes the selected containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let missing = match arguments.force || arguments.ignore {
        true => MissingContainers::Ignored,
        false => MissingContainers::Fails,
    };
    if arguments.selection.is_all() {
        for id in container::damaged(usnea)? {
            let removal = RemoveOptions { force: arguments.force, ..RemoveOptions::default() };
            container::remove(usnea, &id, removal)?;
            print_line(&id);
        }
    }
    let remover = Remover::new(
        usnea,
        RemoveOptions {
            force: arguments.force,
            time: arguments.time,
            volumes: arguments.volumes,
            other_host: arguments.other_host,
        },
    );
    let status = each_together(
        &arguments.selection,
        usnea,
        missing,
        |selected| remover.begin(&selected.id),
        |selected, stopping| {
            stopping.map_or(Ok(()), |(container, stopping)| stopping.finish(&container))?;
            remover.remove(&selected.id).map(|()| AfterSuccess::PrintName)
        },
    )?;
    if status == 0 {
        arguments.selection.remove_id_files();
    }
    Ok(status)
}
