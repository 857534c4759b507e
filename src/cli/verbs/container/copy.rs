//! `usnea cp`: copies files from or to a container.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::output::streams;
use crate::container::{self, CopyEnd, CopyRequest, Owned, Usnea};
use crate::error::{Error, Result};
use crate::image::diff::LastLink;
use crate::image::extract::destination::OtherKind;

/// Copy files between a container and the host
///
/// The container may be running or stopped. One argument is CONTAINER:PATH, the other a path of the host, or - for a tar
/// archive. An existing directory receives the copy inside of it; SOURCE/. copies the content of a directory. Symbolic links
/// in a container are resolved inside the container.
#[derive(clap::Args)]
pub struct Arguments {
    /// Source: CONTAINER:PATH, PATH, or - for an archive on standard input.
    #[arg(value_name = "SOURCE")]
    from: OsString,

    /// Destination: CONTAINER:PATH, PATH, or - for an archive on standard output.
    #[arg(value_name = "DESTINATION")]
    to: OsString,

    /// Keep the owners of copied files. Default: files in the container belong to root.
    #[arg(short, long)]
    archive: bool,

    /// Follow a symbolic link in SOURCE.
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Allow a directory to replace a file, and a file to replace a directory.
    #[arg(long)]
    overwrite: bool,

    /// Print nothing (the default).
    #[arg(short, long)]
    quiet: bool,
}

/// Copies files; returns the exit status.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let from = parse_end(usnea, &arguments.from, rustix::stdio::stdin())?;
    let to = parse_end(usnea, &arguments.to, rustix::stdio::stdout())?;
    match (&from, &to) {
        (CopyEnd::Container(..), CopyEnd::Container(..)) => {
            return Err(Error::invalid("both are in containers").hint(format!(
                "usnea cp {} - | usnea cp - {}",
                arguments.from.display(),
                arguments.to.display()
            )));
        }
        (_, CopyEnd::Stream(_)) if std::io::stdout().is_terminal() => {
            return Err(Error::invalid("an archive is not written to a terminal")
                .hint("redirect standard output, or name a folder"));
        }
        (CopyEnd::Stream(_), _) if std::io::stdin().is_terminal() => {
            return Err(Error::invalid("no archive is read from a terminal")
                .hint("redirect standard input, or name a file"));
        }
        _ => {}
    }
    let options = CopyRequest {
        owned: if arguments.archive { Owned::Alike } else { Owned::ByRoot },
        last: if arguments.follow_link { LastLink::Followed } else { LastLink::Taken },
        other_kind: match arguments.overwrite {
            true => OtherKind::Replaced,
            false => OtherKind::Refused,
        },
    };
    container::copy(usnea, &from, &to, options)?;
    Ok(0)
}

/// Reads an end of the copy, as docker does: a text that begins like a path is a path. In any other, the part before
/// the colon is a container. A path need not be UTF-8.
fn parse_end(usnea: &Usnea, text: &OsStr, stream: BorrowedFd<'_>) -> Result<CopyEnd> {
    let bytes = text.as_bytes();
    let local = || Ok(CopyEnd::Host(PathBuf::from(text)));
    match bytes {
        b"-" => return Ok(CopyEnd::Stream(streams::duplicate(stream)?)),
        b"" => return Err(Error::invalid("a path is empty")),
        [b'/' | b'.', ..] => return local(),
        _ => {}
    }
    let Some(colon) = bytes.iter().position(|byte| *byte == b':') else { return local() };
    let (name, path) = (&bytes[..colon], OsStr::from_bytes(&bytes[colon + 1..]));
    if path.is_empty() {
        return Err(Error::invalid(format!("{}: the path is empty", text.display())));
    }
    let container = container::find(usnea, &String::from_utf8_lossy(name))?;
    Ok(CopyEnd::Container(Box::new(container), Path::new("/").join(path)))
}
