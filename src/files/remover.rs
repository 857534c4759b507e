//! Removal of temporary files whatever ends the process that made them.
//!
//! ```text
//!  caller --fork--> process in a session of its own: waits for the end of a pipe, then removes the files. The pipe ends
//!                   with the caller, however that ends, and the signals of a terminal do not reach the process.
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::remove_tree;
use crate::error::{Context, Result};
use crate::sys::process::{self, Forked};
use crate::sys::{fd, signal};

/// Process that removes files and folders when this value is dropped, or when all processes that share it have ended.
#[derive(Debug)]
pub struct FileRemover {
    // Write end of a pipe. Closing it is the signal to remove.
    _alive: OwnedFd,
}

impl FileRemover {
    /// Starts the process, with the IDs of the caller. Files that do not exist then are no error. Errors: the caller has
    /// several threads.
    pub fn start(paths: &[&Path]) -> Result<Self> {
        let phrase = || "cannot start the process that removes temporary files";
        let absolute = paths.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>();
        let absolute = absolute.context(phrase)?;
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (watched, alive) = pipe.context(phrase)?;
        match process::fork().context(phrase)? {
            Forked::Child => {
                drop(alive);
                remove_at_end(&watched, &absolute)
            }
            Forked::Parent(_) => Ok(Self { _alive: alive }),
        }
    }
}

fn remove_at_end(watched: &OwnedFd, paths: &[PathBuf]) -> ! {
    signal::block_all();
    let _ = rustix::process::setsid();
    // The caller's standard streams too: their readers wait for the last process that has them.
    fd::close_all_but_from(0, &[watched.as_fd()], &[]);
    let _ = rustix::io::retry_on_intr(|| rustix::io::read(watched, &mut [0; 1]));
    for path in paths {
        let _ = remove_tree(path);
    }
    process::exit_now(0)
}
