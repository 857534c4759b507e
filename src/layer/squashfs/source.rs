//! The file that holds an image, read by position. No mapping: a file that is truncated meanwhile is an error, no
//! signal.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Bytes of an image in its file.
#[derive(Debug)]
pub struct ImageBytes {
    fd: OwnedFd,
    base: u64,
    size: u64,
}

impl ImageBytes {
    /// Takes the `size` bytes from `base` on.
    pub fn new(fd: OwnedFd, base: u64, size: u64) -> Self {
        Self { fd, base, size }
    }

    /// Limits the image to its first `size` bytes.
    pub fn cut(self, size: u64) -> Self {
        Self { size: size.min(self.size), ..self }
    }

    /// Size of the image, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Start of the image in its file.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Fills `buffer` from the position `at`. Errors: EIO beyond the end of the image or of the file.
    pub fn read_exact(&self, at: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        match self.read(at, buffer)? == buffer.len() {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }

    /// Reads from the position `at` until `buffer` is full or the image ends. Errors: EIO where the file is shorter
    /// than the image, and for any failure of the disk (also ESTALE, which would mean another file to the reader).
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let left = self.size.checked_sub(at).ok_or(Errno::IO)?;
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..wanted).ok_or(Errno::IO)?;
        let from = self.base.checked_add(at).ok_or(Errno::IO)?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.fd, &mut *rest, from + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::warn!("image file: reading {} bytes at {from}: {error}", rest.len());
                    return Err(Errno::IO);
                }
            }
        }
        Ok(wanted)
    }
}
