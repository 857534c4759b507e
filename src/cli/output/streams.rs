//! Standard streams of this process, for the verbs.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use crate::container::CallerStreams;
use crate::error::{Context, Result};
use crate::image::archive::output::ArchiveSink;
use crate::image::transport::ImageLocation;
use crate::monitor::record::Stream;

/// Returns the standard streams of this process.
pub fn of_process() -> CallerStreams<'static> {
    CallerStreams {
        input: rustix::stdio::stdin(),
        output: rustix::stdio::stdout(),
        error: rustix::stdio::stderr(),
    }
}

/// Returns the standard streams of this process for a command that is attached to these streams alone, or to all if the
/// list is empty. Output that is left out goes to /dev/null. Keeps a descriptor open until the process ends.
pub fn attached(streams: &[Stream]) -> Result<CallerStreams<'static>> {
    let process = of_process();
    if streams.is_empty() {
        return Ok(process);
    }
    let null = File::options().write(true).open("/dev/null");
    let null: &'static File = Box::leak(Box::new(null.context(|| "cannot open /dev/null")?));
    let of = |stream, own| if streams.contains(&stream) { own } else { null.as_fd() };
    Ok(CallerStreams {
        output: of(Stream::Stdout, process.output),
        error: of(Stream::Stderr, process.error),
        ..process
    })
}

/// Returns the destination of an archive: the file of this name, or standard output for `-`.
pub fn sink(name: &Path) -> Result<ArchiveSink> {
    match name == Path::new("-") {
        true => Ok(ArchiveSink::Stream(duplicate(rustix::stdio::stdout())?)),
        false => Ok(ArchiveSink::File(name.to_owned())),
    }
}

/// Returns standard input, if the source of an image is an archive called `-`.
pub fn input_of(place: &ImageLocation) -> Result<Option<Arc<File>>> {
    place.is_stream().then(|| duplicate(rustix::stdio::stdin()).map(Arc::new)).transpose()
}

/// Returns standard output, if the destination of an image is an archive called `-`.
pub fn output_of(place: Option<&ImageLocation>) -> Result<Option<Arc<File>>> {
    let is_stream = place.is_some_and(ImageLocation::is_stream);
    is_stream.then(|| duplicate(rustix::stdio::stdout()).map(Arc::new)).transpose()
}

/// Duplicates a standard stream: unlike `std::io::stdout`, the duplicate has no buffer.
pub fn duplicate(stream: BorrowedFd<'_>) -> Result<File> {
    Ok(stream.try_clone_to_owned().context(|| "cannot duplicate a standard stream")?.into())
}
