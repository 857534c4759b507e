//! `usnea cp`: files between the host and a container.
//!
//! ```text
//!  host -> container    this process packs --pipe--> a process in the container puts it in its place
//!  container -> host    a process in the container packs --pipe--> this process puts it in its place
//! ```
//!
//! What goes through the pipe is a tar, and `-` is the one of a pipe's ends that is the caller's own. Each side sees its
//! own files alone, and follows its own links (CVE-2018-15664, CVE-2019-14271). Where what is copied comes to lie is
//! docker's rule, and the side's that has it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::super::stores;
use super::Kept;
use super::files::{Found, look, with_root};
use crate::engine::Use;
use crate::error::{Context, Error, Result};
use crate::image::archive::output::StandardOutput;
use crate::image::compression;
use crate::image::diff::{LastLink, Part, part_tar};
use crate::image::extract::place::{First, Giving, OtherKind, Place, place};
use crate::image::owners::Owners;
use crate::sys::inroot::{self, Symlinks};
use crate::userns::Base;

/// Whose the files in the container become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// Root's.
    ByRoot,
    /// Those with the same IDs as on the other side (`--archive`).
    Alike,
}

/// How files are copied.
#[derive(Clone, Copy, Debug)]
pub struct Copying {
    /// Whose they become.
    pub owned: Owned,
    /// What is done where the source is a symbolic link.
    pub last: LastLink,
    /// What is done where a folder and a file would have one name.
    pub other_kind: OtherKind,
}

/// One end of a copy.
#[derive(Clone, Debug)]
pub enum End {
    /// `-`: the archive itself.
    Stream,
    /// A path of the host.
    Host(PathBuf),
    /// A path in a container.
    Container(Box<Kept>, PathBuf),
}

/// Copies from `from` to `to`, one of which is in a container.
pub fn copy(from: &End, to: &End, how: Copying) -> Result<()> {
    let (near, far) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .context(|| "cannot make a pipe")?;
    match (from, to) {
        (End::Container(kept, path), here) => {
            let owners = owners()?;
            let work = |root: &OwnedFd| pack(root, path, how.last, &owners, File::from(far));
            let here = || receive(near, path, here, how);
            ends(with_root(kept, Use::Reading, work, here)?, path, None)
        }
        (here, End::Container(kept, path)) => {
            let owners = owners()?;
            let giving = match how.owned {
                Owned::Alike => Giving::Theirs(&owners),
                Owned::ByRoot => Giving::Roots(&owners),
            };
            let source = match here {
                End::Host(path) => Some(path.as_path()),
                _ => None,
            };
            let work =
                |root: &OwnedFd| put(File::from(near), root, source, path, giving, how.other_kind);
            let here = || send(far, here, how.last);
            let (put, sent) = with_root(kept, Use::Writing, work, here)?;
            ends((sent, put), source.unwrap_or(Path::new("-")), Some(path))
        }
        _ => Err(Error::new("neither of the two is in a container")
            .hint("a path in one is CONTAINER:PATH")),
    }
}

/// How the container's files say whose they are.
fn owners() -> Result<Owners> {
    Ok(stores::owners_of_containers(&Base::of_user()?))
}

/// Of two failures, the one that caused the other.
fn ends((sent, received): (Result<()>, Result<()>), from: &Path, to: Option<&Path>) -> Result<()> {
    let of = |path: &Path| path.display().to_string();
    let broke_off = |error: &Error| {
        error.to_string().contains(&Error::from(rustix::io::Errno::PIPE).to_string())
    };
    match (sent, received) {
        (Err(error), Err(other)) if broke_off(&error) => {
            Err(other).context(|| to.map_or_else(String::new, of))
        }
        (Err(error), _) => Err(error).context(|| of(from)),
        (Ok(()), received) => match to {
            Some(to) => received.context(|| of(to)),
            None => received,
        },
    }
}

/// Whether only a folder can be meant, and of it what is in it (`/.`).
fn says_content(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    matches!(text, b"." | b"..") || text.ends_with(b"/.") || text.ends_with(b"/..") || text == b"/"
}

fn says_folder(path: &Path) -> bool {
    says_content(path) || path.as_os_str().as_bytes().ends_with(b"/")
}

fn pack(
    root: &OwnedFd,
    path: &Path,
    last: LastLink,
    owners: &Owners,
    to: impl Write,
) -> Result<()> {
    // With a slash behind it a link is the folder that it leads to.
    let last = if says_folder(path) { LastLink::Followed } else { last };
    if says_folder(path) {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        inroot::open(root, path, flags, Symlinks::Follow)?;
    }
    let name: OsString = match path.file_name() {
        Some(name) if !says_content(path) => name.to_owned(),
        _ => OsStr::new(".").to_owned(),
    };
    let part = Part { path, last, name: &name };
    let mut to = part_tar(root, &part, owners, BufWriter::with_capacity(256 << 10, to))?;
    Ok(to.flush()?)
}

fn host_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).context(|| "cannot open /")
}

/// The absolute path; what its end says stays said.
fn absolute(path: &Path) -> Result<PathBuf> {
    let mut text =
        std::path::absolute(path).context(|| path.display().to_string())?.into_os_string();
    let bytes = path.as_os_str().as_bytes();
    if says_content(path) && text != "/" {
        text.push("/.");
    } else if bytes.ends_with(b"/") && !text.as_bytes().ends_with(b"/") {
        text.push("/");
    }
    Ok(text.into())
}

/// The host's side, out.
fn send(to: OwnedFd, from: &End, last: LastLink) -> Result<()> {
    let mut to = File::from(to);
    match from {
        End::Host(path) => {
            // By the numbers that they have: -a says that they count.
            pack(&host_root()?, &absolute(path)?, last, &Owners::Recorded, to)
        }
        _ => {
            let mut stream = compression::open(io::stdin().lock())?;
            io::copy(&mut stream, &mut to).map(drop).context(|| "cannot read standard input")
        }
    }
}

/// The host's side, in.
fn receive(from: OwnedFd, path: &Path, to: &End, how: Copying) -> Result<()> {
    let mut from = File::from(from);
    match to {
        End::Host(to) => {
            let target = absolute(to)?;
            put(from, &host_root()?, Some(path), &target, Giving::Ours, how.other_kind)
                .context(|| to.display().to_string())
        }
        _ => {
            let mut stdout = StandardOutput(io::stdout());
            io::copy(&mut from, &mut stdout).map(drop).context(|| "cannot write to standard output")
        }
    }
}

/// Puts an archive in its place below `root`. `source`: what was asked for; `None`: an archive of the caller's.
fn put(
    from: impl Read,
    root: &OwnedFd,
    source: Option<&Path>,
    path: &Path,
    giving: Giving<'_>,
    other_kind: OtherKind,
) -> Result<()> {
    let choose = |first: First| choose(root, source, path, first);
    place(BufReader::with_capacity(256 << 10, from), giving, other_kind, choose)
}

/// docker's rule of where what is copied comes to lie.
fn choose(root: &OwnedFd, source: Option<&Path>, path: &Path, first: First) -> Result<Place> {
    let Some(source) = source else {
        return match look(root, path)? {
            Found::Folder(folder) => Ok(Place::In(folder)),
            _ => Err(Error::new("an archive is unpacked into a folder, and there is none")),
        };
    };
    let name = path.file_name().map(|name| name.as_bytes().to_vec());
    match (look(root, path)?, first) {
        (Found::Folder(folder), _) => Ok(Place::In(folder)),
        (Found::Other, First::Folder) => {
            Err(Error::new("a folder cannot be copied over what is none"))
        }
        (Found::Other | Found::Nothing(_), First::File) if says_folder(path) => {
            Err(Error::new("no such folder"))
        }
        (Found::Other, First::File) => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = inroot::open(root, path, flags, Symlinks::Follow)?;
            match rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(file.as_fd())?.st_mode) {
                rustix::fs::FileType::RegularFile => Ok(Place::File(file)),
                _ => Err(Error::new("it is neither a file nor a folder")),
            }
        }
        (Found::Nothing(folder), _) => match name {
            // Its members have no first name: they are what is in a folder.
            Some(name) if says_content(source) => Ok(Place::Under(folder, name)),
            Some(name) => Ok(Place::As(folder, name)),
            None => Err(Error::new("no such folder")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_is_meant() {
        let says = |text: &str| (says_folder(Path::new(text)), says_content(Path::new(text)));
        for (text, folder, content) in [
            ("/a", false, false),
            ("/a/", true, false),
            ("/a/.", true, true),
            (".", true, true),
            ("/", true, true),
            ("a/..", true, true),
            ("a.", false, false),
        ] {
            assert_eq!(says(text), (folder, content), "{text}");
            assert_eq!(
                says(absolute(Path::new(text)).unwrap().to_str().unwrap()),
                (folder, content),
                "{text}"
            );
        }
    }
}
