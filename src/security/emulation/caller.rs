//! Thread whose call waits: access to its memory and files.
//!
//! All access goes through a descriptor of the thread's folder in /proc, opened and then verified to be the waiting
//! thread's (seccomp_unotify(2), "Time-of-check time-of-use"). A bare PID could come to mean another process of the
//! user, on the host, between the call and our access. When the thread is gone, so is everything below the folder
//! (ESRCH).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::seccomp::{self, Call, Listener};

/// PATH_MAX, with its NUL.
const LONGEST: usize = 4096;
const PAGE: u64 = 4096;

/// File that a call refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Open file: the path of its link below the thread's folder.
    Open(String),
    /// Path as we must resolve it, and the treatment of a link as its last part.
    Named(Vec<u8>, Last),
}

/// Treatment of a link as the last part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Follow the link.
    Follow,
    /// Use the link itself.
    Itself,
}

/// Calling thread, pinned by its folder in /proc.
#[derive(Debug)]
pub struct Caller {
    pid: u32,
    folder: OwnedFd,
}

impl Caller {
    /// Opens the thread's folder and enters it: relative paths begin there. Errors: the thread is gone.
    pub fn take(proc: &OwnedFd, listener: &Listener, call: &Call) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(proc, call.pid.to_string(), flags, Mode::empty())?;
        if !listener.waits(call) {
            return Err(Errno::SRCH);
        }
        rustix::process::fchdir(&folder)?;
        Ok(Self { pid: call.pid, folder })
    }

    /// True if this is the thread with this ID, as long as the thread lives.
    pub fn is(&self, pid: u32) -> bool {
        self.pid == pid
    }

    /// True if the thread still exists. Then no other thread has its ID.
    pub fn lives(&self) -> bool {
        rustix::fs::statat(&self.folder, "stat", rustix::fs::AtFlags::empty()).is_ok()
    }

    /// Enters the thread's root: absolute names and links then resolve as for the thread. Errors: the thread is gone.
    pub fn enter_root(&self) -> Result<(), Errno> {
        rustix::process::chroot("root")
    }

    /// Resolves (dirfd, path) of the thread. Errors: EFAULT, ENAMETOOLONG, ENOENT for an empty name that is not
    /// permitted.
    pub fn target(&self, dirfd: u64, path: u64, empty: Empty, last: Last) -> Result<Target, Errno> {
        let name = if path == 0 && empty == Empty::IsDirfd { Vec::new() } else { self.text(path)? };
        let folder = match dirfd as i32 {
            libc::AT_FDCWD => "cwd".to_owned(),
            fd if fd >= 0 => format!("fd/{fd}"),
            _ if name.first() == Some(&b'/') => String::new(),
            _ => return Err(Errno::BADF),
        };
        match (name.first(), empty) {
            (None, Empty::IsDirfd) => Ok(Target::Open(folder)),
            (None, Empty::Nothing) => Err(Errno::NOENT),
            (Some(b'/'), _) => Ok(Target::Named(name, last)),
            (Some(_), _) => {
                let path = [folder.as_bytes(), b"/", &name].concat();
                // A path too long only with our prefix cannot be expressed in a single call.
                (path.len() < LONGEST)
                    .then_some(Target::Named(path, last))
                    .ok_or(Errno::NAMETOOLONG)
            }
        }
    }

    /// Refers to an open file of the thread.
    pub fn open_file(&self, fd: u64) -> Result<Target, Errno> {
        let fd = fd as i32;
        if fd >= 0 { Ok(Target::Open(format!("fd/{fd}"))) } else { Err(Errno::BADF) }
    }

    /// Reads a NUL-terminated text from the thread's memory, without the NUL.
    fn text(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::with_capacity(256);
        while text.len() < LONGEST {
            let from = address.wrapping_add(text.len() as u64);
            // Up to the end of the page: the next page may be unmapped.
            let mut room = [0u8; 256];
            let length = (PAGE - from % PAGE).min(room.len() as u64) as usize;
            let read = self.read(from, &mut room[..length])?;
            match room[..read].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    text.extend(&room[..end]);
                    return if text.len() < LONGEST { Ok(text) } else { Err(Errno::NAMETOOLONG) };
                }
                None if read == 0 => return Err(Errno::FAULT),
                None => text.extend(&room[..read]),
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Reads numbers of 2 or 4 bytes from the thread's memory.
    pub fn numbers(&self, address: u64, count: usize, size: usize) -> Result<Vec<u32>, Errno> {
        let mut bytes = vec![0; count * size];
        if self.read(address, &mut bytes)? != bytes.len() {
            return Err(Errno::FAULT);
        }
        let number = |bytes: &[u8]| match *bytes {
            [a, b] => u32::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
            _ => 0,
        };
        Ok(bytes.chunks_exact(size).map(number).collect())
    }

    /// Reads memory by PID: if another process has the PID by now, later steps fail, as the folder is the dead
    /// thread's.
    fn read(&self, address: u64, room: &mut [u8]) -> Result<usize, Errno> {
        if room.is_empty() {
            return Ok(0);
        }
        seccomp::read_memory(self.pid, address, room).map_err(|error| errno(&error))
    }

    /// Writes to the thread's memory, through a descriptor of that memory, never by PID. Errors: EFAULT; the thread is
    /// gone.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let memory = rustix::fs::openat(self.folder.as_fd(), "mem", flags, Mode::empty())?;
        match rustix::io::pwrite(&memory, bytes, address) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// Returns the thread's umask.
    pub fn umask(&self) -> u32 {
        let read = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let status = rustix::fs::openat(self.folder.as_fd(), "status", flags, Mode::empty());
            let mut room = [0u8; 512];
            let length = rustix::io::read(&status.ok()?, &mut room).ok()?;
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            let mask = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(mask.trim(), 8).ok()
        };
        read().unwrap_or(0o022)
    }
}

/// Meaning of an empty name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The file of dirfd (AT_EMPTY_PATH).
    IsDirfd,
    /// No name.
    Nothing,
}

/// Returns the errno of an error.
pub fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
