//! The thread whose call waits: its memory, its files.
//!
//! Everything goes through a descriptor of its folder in /proc, opened and then checked to be of the waiting thread
//! (seccomp_unotify(2), "Time-of-check time-of-use"): a number alone could come to name another process of the user, on
//! the host, between the call and our look. When the thread is gone, so is everything below the folder (ESRCH).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::seccomp::{self, Call, Listener};

/// PATH_MAX, with its NUL.
const LONGEST: usize = 4096;
const PAGE: u64 = 4096;

/// Which file a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One that is open: the path of its link below the thread's folder.
    Open(String),
    /// One by name, as we have to say it, and what its last part is when it is a link.
    Named(Vec<u8>, Last),
}

/// The last part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Is followed.
    Follow,
    /// Is the file itself.
    Itself,
}

/// A thread that we have in hand.
#[derive(Debug)]
pub struct Caller {
    pid: u32,
    folder: OwnedFd,
}

impl Caller {
    /// Takes the thread of a call in hand, and stands in its folder: relative paths begin there. Errors: it is gone.
    pub fn take(proc: &OwnedFd, listener: &Listener, call: &Call) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(proc, call.pid.to_string(), flags, Mode::empty())?;
        if !listener.waits(call) {
            return Err(Errno::SRCH);
        }
        rustix::process::fchdir(&folder)?;
        Ok(Self { pid: call.pid, folder })
    }

    /// Whether it is the thread with this number, as long as that lives.
    pub fn is(&self, pid: u32) -> bool {
        self.pid == pid
    }

    /// Whether it is still there. Then nobody else has its number.
    pub fn lives(&self) -> bool {
        rustix::fs::statat(&self.folder, "stat", rustix::fs::AtFlags::empty()).is_ok()
    }

    /// Makes the thread's root ours: names that begin with "/", and links, then lead where they lead it. Errors: it is gone.
    pub fn enter_root(&self) -> Result<(), Errno> {
        rustix::process::chroot("root")
    }

    /// The file that (dirfd, path) name for it. Errors: EFAULT, ENAMETOOLONG, ENOENT for an empty name that may not be.
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
                // What is too long only with our own prefix could not be said in one call.
                (path.len() < LONGEST)
                    .then_some(Target::Named(path, last))
                    .ok_or(Errno::NAMETOOLONG)
            }
        }
    }

    /// An open file of it.
    pub fn open_file(&self, fd: u64) -> Result<Target, Errno> {
        let fd = fd as i32;
        if fd >= 0 { Ok(Target::Open(format!("fd/{fd}"))) } else { Err(Errno::BADF) }
    }

    /// A NUL-terminated text in its memory, without the NUL.
    fn text(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::with_capacity(256);
        while text.len() < LONGEST {
            let from = address.wrapping_add(text.len() as u64);
            // Up to the page's end: the next may not be there.
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

    /// Numbers of 2 or 4 bytes in its memory.
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

    /// By number: should another process have it by now, then what comes next fails, for the folder is of the dead one.
    fn read(&self, address: u64, room: &mut [u8]) -> Result<usize, Errno> {
        if room.is_empty() {
            return Ok(0);
        }
        seccomp::read_memory(self.pid, address, room).map_err(|error| errno(&error))
    }

    /// Writes into its memory: by a descriptor of that memory, never by number. Errors: EFAULT; it is gone.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let memory = rustix::fs::openat(self.folder.as_fd(), "mem", flags, Mode::empty())?;
        match rustix::io::pwrite(&memory, bytes, address) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// Which permissions new files of it lack.
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

/// What an empty name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The file of dirfd (AT_EMPTY_PATH).
    IsDirfd,
    /// No name.
    Nothing,
}

/// The errno of an error.
pub fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
