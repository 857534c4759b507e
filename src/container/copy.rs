//! `usnea cp`: files between the host and a container.
//!
//! ```text
//!  host -> container    this process packs --pipe--> a process in the container unpacks
//!  container -> host    a process in the container packs --pipe--> this process unpacks
//! ```
//!
//! The pipe carries a tar archive; for `-`, this process copies the archive from or to the caller's stream. Each side
//! sees only its own files, and resolves its own symbolic links (CVE-2018-15664, CVE-2019-14271). The side with the
//! destination applies docker's rule for its name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::Container;
use super::files::{PathTarget, look, with_root};
use super::stores;
use crate::container::Usnea;
use crate::engine::FilesAccess;
use crate::error::{Context, Error, Result};
use crate::image::archive::output::StandardOutput;
use crate::image::compression;
use crate::image::diff::{LastLink, TarPart, part_tar};
use crate::image::extract::destination::{
    FirstMember, MemberDestination, MemberOwners, OtherKind, extract,
};
use crate::image::owners::Owners;
use crate::sys::inroot::{self, Symlinks};

/// Owner of the copied files in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owned {
    /// Root.
    #[default]
    ByRoot,
    /// Same IDs as at the source (`--archive`).
    Alike,
}

/// Settings of a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyRequest {
    /// New owner of the files.
    pub owned: Owned,
    /// Rule for a source that is a symbolic link.
    pub last: LastLink,
    /// Rule for a folder and a file with the same name.
    pub other_kind: OtherKind,
}

/// Source or destination of a copy.
#[derive(Debug)]
pub enum CopyEnd {
    /// Stream that a tar archive is read from or written to.
    Stream(File),
    /// Path on the host.
    Host(PathBuf),
    /// Path in a container.
    Container(Box<Container>, PathBuf),
}

/// Source or destination outside of containers.
#[derive(Clone, Copy)]
enum HostEnd<'a> {
    Stream(&'a File),
    Path(&'a Path),
}

impl<'a> HostEnd<'a> {
    fn of(end: &'a CopyEnd) -> Result<Self> {
        match end {
            CopyEnd::Stream(file) => Ok(Self::Stream(file)),
            CopyEnd::Host(path) => Ok(Self::Path(path)),
            CopyEnd::Container(..) => Err(Error::invalid("both ends are in containers")
                .hint("copy to the host first, and from there")),
        }
    }
}

/// Copies from `from` to `to`, exactly one of which is in a container.
pub fn copy(usnea: &Usnea, from: &CopyEnd, to: &CopyEnd, how: CopyRequest) -> Result<()> {
    let (near, far) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .context(|| "cannot make a pipe")?;
    match (from, to) {
        (CopyEnd::Container(container, path), here) => {
            let here = HostEnd::of(here)?;
            let owners = owners(usnea)?;
            let work = |root: &OwnedFd| pack(root, path, how.last, &owners, File::from(far));
            let here = || receive(near, path, here, how);
            let (sent, received) = with_root(usnea, container, FilesAccess::Reading, work, here)?;
            root_cause(PipeEnds { sent, received }, path, None)
        }
        (here, CopyEnd::Container(container, path)) => {
            let here = HostEnd::of(here)?;
            let owners = owners(usnea)?;
            let member_owners = match how.owned {
                Owned::Alike => MemberOwners::Recorded(&owners),
                Owned::ByRoot => MemberOwners::Root(&owners),
            };
            let source = match here {
                HostEnd::Path(path) => Some(path),
                HostEnd::Stream(_) => None,
            };
            let work = |root: &OwnedFd| {
                put(File::from(near), root, source, path, member_owners, how.other_kind)
            };
            let here = || send(far, here, how.last);
            let (put, sent) = with_root(usnea, container, FilesAccess::Writing, work, here)?;
            root_cause(
                PipeEnds { sent, received: put },
                source.unwrap_or(Path::new("-")),
                Some(path),
            )
        }
        _ => Err(Error::invalid("neither of the two is in a container")
            .hint("a path in one is CONTAINER:PATH")),
    }
}

/// Returns how the owners of the container's files are recorded.
fn owners(usnea: &Usnea) -> Result<Owners> {
    Ok(stores::owners_of_containers(usnea.base()?))
}

/// Results of both ends of the pipe.
struct PipeEnds {
    sent: Result<()>,
    received: Result<()>,
}

/// Picks the root cause when both ends of the pipe failed.
fn root_cause(ends: PipeEnds, from: &Path, to: Option<&Path>) -> Result<()> {
    let of = |path: &Path| path.display().to_string();
    let broke_off = |error: &Error| error.errno() == Some(libc::EPIPE);
    match (ends.sent, ends.received) {
        (Err(error), Err(other)) if broke_off(&error) => {
            match to {
                Some(to) => Err(other).context(|| of(to)),
                // The error names the path of the host itself.
                None => Err(other),
            }
        }
        (Err(error), _) => Err(error).context(|| of(from)),
        (Ok(()), received) => match to {
            Some(to) => received.context(|| of(to)),
            None => received,
        },
    }
}

/// True if the path means the content of a folder, as with `/.` at its end.
fn means_content(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    matches!(text, b"." | b"..") || text.ends_with(b"/.") || text.ends_with(b"/..") || text == b"/"
}

fn means_folder(path: &Path) -> bool {
    means_content(path) || path.as_os_str().as_bytes().ends_with(b"/")
}

fn pack(
    root: &OwnedFd,
    path: &Path,
    last: LastLink,
    owners: &Owners,
    to: impl Write,
) -> Result<()> {
    // A symbolic link with a trailing slash means its target folder.
    let last = if means_folder(path) { LastLink::Followed } else { last };
    if means_folder(path) {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        inroot::open(root, path, flags, Symlinks::Follow)?;
    }
    let name: OsString = match path.file_name() {
        Some(name) if !means_content(path) => name.to_owned(),
        _ => OsStr::new(".").to_owned(),
    };
    let part = TarPart { path, last, name: &name };
    let mut to = part_tar(root, &part, owners, BufWriter::with_capacity(256 << 10, to))?;
    Ok(to.flush()?)
}

fn host_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).context(|| "cannot open /")
}

/// Makes the path absolute; keeps `/.` or `/` at its end.
fn absolute(path: &Path) -> Result<PathBuf> {
    let mut text =
        std::path::absolute(path).context(|| path.display().to_string())?.into_os_string();
    let bytes = path.as_os_str().as_bytes();
    if means_content(path) && text != "/" {
        text.push("/.");
    } else if bytes.ends_with(b"/") && !text.as_bytes().ends_with(b"/") {
        text.push("/");
    }
    Ok(text.into())
}

/// Sends files of the host, or an archive.
fn send(to: OwnedFd, from: HostEnd<'_>, last: LastLink) -> Result<()> {
    let mut to = File::from(to);
    match from {
        HostEnd::Path(path) => {
            // Owners are sent as numbers, which are used with -a.
            pack(&host_root()?, &absolute(path)?, last, &Owners::Recorded, to)
        }
        HostEnd::Stream(archive) => {
            let mut stream = compression::open(BufReader::new(archive))?;
            io::copy(&mut stream, &mut to).map(drop).context(|| "cannot read standard input")
        }
    }
}

/// Receives files on the host, or as an archive.
fn receive(from: OwnedFd, path: &Path, to: HostEnd<'_>, how: CopyRequest) -> Result<()> {
    let mut from = File::from(from);
    match to {
        HostEnd::Path(to) => {
            let target = absolute(to)?;
            put(from, &host_root()?, Some(path), &target, MemberOwners::User, how.other_kind)
                .context(|| to.display().to_string())
        }
        HostEnd::Stream(archive) => {
            let mut archive = StandardOutput(archive);
            io::copy(&mut from, &mut archive)
                .map(drop)
                .context(|| "cannot write to standard output")
        }
    }
}

/// Unpacks an archive below `root`. `source`: the path of the source; `None`: an archive from the caller's stream.
fn put(
    from: impl Read,
    root: &OwnedFd,
    source: Option<&Path>,
    path: &Path,
    member_owners: MemberOwners<'_>,
    other_kind: OtherKind,
) -> Result<()> {
    let choose = |first: FirstMember| choose(root, source, path, first);
    extract(BufReader::with_capacity(256 << 10, from), member_owners, other_kind, choose)
}

/// Chooses the destination by docker's rule.
fn choose(
    root: &OwnedFd,
    source: Option<&Path>,
    path: &Path,
    first: FirstMember,
) -> Result<MemberDestination> {
    let Some(source) = source else {
        return match look(root, path)? {
            PathTarget::Folder(folder) => Ok(MemberDestination::In(folder)),
            _ => Err(Error::not_found("an archive is unpacked into a folder, and there is none")),
        };
    };
    let name = path.file_name().map(|name| name.as_bytes().to_vec());
    match (look(root, path)?, first) {
        (PathTarget::Folder(folder), _) => Ok(MemberDestination::In(folder)),
        (PathTarget::Other, FirstMember::Folder) => {
            Err(Error::invalid("a folder cannot be copied over what is none"))
        }
        (PathTarget::Other | PathTarget::Nothing(_), FirstMember::File) if means_folder(path) => {
            Err(Error::not_found("no such folder"))
        }
        (PathTarget::Other, FirstMember::File) => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = inroot::open(root, path, flags, Symlinks::Follow)?;
            match rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(file.as_fd())?.st_mode) {
                rustix::fs::FileType::RegularFile => Ok(MemberDestination::File(file)),
                _ => Err(Error::invalid("it is neither a file nor a folder")),
            }
        }
        (PathTarget::Nothing(folder), _) => match name {
            // The members are the content of a folder: the destination replaces no component of their paths.
            Some(name) if means_content(source) => Ok(MemberDestination::Under(folder, name)),
            Some(name) => Ok(MemberDestination::As(folder, name)),
            None => Err(Error::not_found("no such folder")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_is_meant() {
        let says = |text: &str| (means_folder(Path::new(text)), means_content(Path::new(text)));
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
