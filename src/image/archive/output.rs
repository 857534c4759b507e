//! Destination of an archive, and the tar written to it. Members are written one after the other and nothing is read
//! back, so that the destination may be a pipe. The same members give the same bytes.
//!
//! A new file has no name before it is whole (O_TMPFILE): nothing is left of it if the process is killed. On a file
//! system without such files, the file lies beside its destination, with a name that begins with a dot.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use crate::error::{Context, Error, ErrorKind, Result, STATUS_UNREAD};
use crate::fail;
use crate::files;
use crate::sys::inode;

/// Stream of the caller. A closed reader is an error that ends the program as SIGPIPE would, after cleanup.
#[derive(Debug)]
pub struct StandardOutput<W>(pub W);

impl<W: Write> Write for StandardOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unread)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unread)
    }
}

fn unread(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(
            Error::new(error).of_kind(ErrorKind::Unread).exit_status(STATUS_UNREAD),
        ),
        _ => error,
    }
}

/// Destination of an archive.
#[derive(Debug)]
pub enum ArchiveSink {
    /// File of this name.
    File(PathBuf),
    /// Stream of the caller, such as standard output.
    Stream(File),
}

impl ArchiveSink {
    /// Returns the destination that the name `file` stands for; `-` is `stream`. Errors: there is no stream.
    pub fn named(file: &Path, stream: Option<&File>) -> Result<Self> {
        match (file == Path::new("-"), stream) {
            (false, _) => Ok(Self::File(file.to_owned())),
            (true, Some(stream)) => {
                Ok(Self::Stream(stream.try_clone().context(|| "cannot duplicate a stream")?))
            }
            (true, None) => fail!(Invalid: "an archive called '-' needs a stream to write to"),
        }
    }

    /// Path of the file; `-` for a stream.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stream(_) => Path::new("-"),
        }
    }
}

/// A file that gets its name only when it is whole. A pipe, a device and a stream are written directly.
pub struct ArchiveOutput {
    writer: BufWriter<Box<dyn Write + Send>>,
    path: PathBuf,
    // `None` for a direct destination.
    born: Option<BornFile>,
}

/// File that is being written.
struct BornFile {
    file: File,
    /// Temporary name; `None`: no name yet.
    name: Option<PathBuf>,
}

impl BornFile {
    /// Makes a file in the folder of `path`.
    fn beside(path: &Path) -> io::Result<Self> {
        if let Some(file) = Self::unnamed(path) {
            return Ok(Self { file, name: None });
        }
        let name = temporary_name(path);
        Ok(Self { file: File::create_new(&name)?, name: Some(name) })
    }

    /// Makes a file without a name. `None`: the file system has none, or could not give it a name later.
    fn unnamed(path: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let file: File = rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).ok()?.into();
        // The name is given by way of procfs.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        Path::new(&link).symlink_metadata().is_ok().then_some(file)
    }

    /// Gives the whole file the name `path`, which may be that of another file.
    fn put(&mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        // No file can be linked over another one.
        if self.name.is_none() {
            let name = temporary_name(path);
            inode::link(&self.file, CWD, &name)?;
            self.name = Some(name);
        }
        if let Some(name) = &self.name {
            std::fs::rename(name, path)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for BornFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = std::fs::remove_file(name);
        }
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(files::random_name(&format!(".{name:.200}.")))
}

impl ArchiveOutput {
    /// Opens the destination. Errors: a missing folder, a terminal.
    pub fn create(sink: &ArchiveSink) -> Result<Self> {
        let path = sink.path();
        let unwritable = |error| files::cannot_write_output(error, path);
        if let ArchiveSink::Stream(stream) = sink {
            if stream.is_terminal() {
                return Err(Error::invalid("an archive is not written to a terminal")
                    .hint("name a file, or redirect standard output"));
            }
            let stream = stream.try_clone().map_err(unwritable)?;
            return Ok(Self::to(Box::new(StandardOutput(stream)), path));
        }
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(unwritable)?;
            return Ok(Self::to(Box::new(file), path));
        }
        let born = BornFile::beside(path).map_err(unwritable)?;
        let clone = born.file.try_clone().map_err(unwritable)?;
        let mut output = Self::to(Box::new(clone), path);
        output.born = Some(born);
        Ok(output)
    }

    fn to(writer: Box<dyn Write + Send>, path: &Path) -> Self {
        Self {
            writer: BufWriter::with_capacity(256 << 10, writer),
            path: path.to_owned(),
            born: None,
        }
    }

    /// Path of the destination.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// File for writes at any position; `None` for a pipe, a device and a stream.
    pub fn file(&self) -> Option<&File> {
        self.born.as_ref().map(|born| &born.file)
    }

    /// Temporary name of the file, if it has one.
    pub fn temporary_name(&self) -> Option<&Path> {
        self.born.as_ref().and_then(|born| born.name.as_deref())
    }

    /// Ends the output: flushes it and gives the file its name.
    pub fn put(mut self) -> Result<()> {
        let mut put = || -> io::Result<()> {
            self.writer.flush()?;
            self.born.as_mut().map_or(Ok(()), |born| born.put(&self.path))
        };
        put().map_err(|error| files::cannot_write_output(error, &self.path))
    }
}

impl Write for ArchiveOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes a tar archive.
pub struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Starts an empty archive.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a member's headers and content. The headers must name `size`; exactly `size` bytes of `content` are
    /// written.
    pub fn append(&mut self, headers: &[u8], size: u64, content: &mut dyn Read) -> io::Result<()> {
        self.out.write_all(headers)?;
        if io::copy(&mut content.take(size), &mut self.out)? != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
        }
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        self.out.write_all([0; 512].get(..padding).unwrap_or_default())
    }

    /// Adds a regular file with only a name and content: fixed mode, owner and time.
    pub fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        self.append(&headers(path, EntryType::Regular, 0o644, size)?, size, content)
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        self.append(&headers(path, EntryType::Directory, 0o755, 0)?, 0, &mut io::empty())
    }

    /// Ends the archive; returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn headers(path: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<Vec<u8>> {
    let mut entry = EntryBuilder::new_ustar();
    entry.path(path).entry_type(kind);
    let numbers = entry.mode(mode).and_then(|entry| entry.uid(0)).and_then(|entry| entry.gid(0));
    let numbers = numbers.and_then(|entry| entry.mtime(0)).and_then(|entry| entry.size(size));
    numbers.map(EntryBuilder::finish_bytes).map_err(io::Error::other)
}

/// [`ArchiveOutput`] as the tar of a target: one writer at a time, none after the end.
pub struct TargetTar {
    tar: Option<TarWriter<ArchiveOutput>>,
    path: PathBuf,
}

impl TargetTar {
    /// Starts an archive that is written to `sink`.
    pub fn create(sink: &ArchiveSink) -> Result<Self> {
        let output = ArchiveOutput::create(sink)?;
        Ok(Self { tar: Some(TarWriter::new(output)), path: sink.path().to_owned() })
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        self.with(|tar| tar.file(name, size, content))
    }

    /// Adds a folder.
    pub fn folder(&mut self, name: &str) -> Result<()> {
        self.with(|tar| tar.folder(name))
    }

    // An archive that broke off in the middle of a member cannot continue.
    fn with(
        &mut self,
        write: impl FnOnce(&mut TarWriter<ArchiveOutput>) -> io::Result<()>,
    ) -> Result<()> {
        let mut tar = self.tar.take().ok_or_else(|| self.ended())?;
        write(&mut tar).map_err(|error| files::cannot_write_output(error, &self.path))?;
        self.tar = Some(tar);
        Ok(())
    }

    fn ended(&self) -> Error {
        Error::new(format!("{} has ended, or could not be written", self.path.display()))
    }

    /// Ends the archive and gives the file its name.
    pub fn finish(&mut self) -> Result<()> {
        let tar = self.tar.take().ok_or_else(|| self.ended())?;
        let output = tar.finish().context(|| format!("cannot write {}", self.path.display()))?;
        output.put()
    }
}
