//! Calls that stat a file: the kernel's own answer, overridden by the record.
//!
//! Without a record the kernel makes the call itself. A program that changes its path meanwhile gains nothing: no
//! permission is granted here.

use rustix::fs::{AtFlags, Stat, Statx, StatxFlags};
use rustix::io::Errno;

use super::caller::{Caller, Empty, Last, Target};
use super::files::{self, File, Shown};
use crate::sys::layout;
use crate::sys::seccomp::{Answer, Call};

/// File that a call asks for, and destination of the answer.
struct Question {
    target: Target,
    room: u64,
    form: Form,
}

/// Struct that the call fills.
enum Form {
    /// `struct stat` of the 64-bit architecture.
    Stat,
    /// `struct stat64` of 32-bit x86.
    Stat64,
    /// `struct statx`, with these fields.
    Statx(StatxFlags),
}

/// Answers a call that stats a file. `root`: the mount ID of the container's root.
pub fn answer(caller: &Caller, name: &str, call: &Call, root: u64) -> Result<Answer, Errno> {
    let Some(question) = question(caller, name, call)? else { return Ok(Answer::Continue) };
    if matches!(question.target, Target::Named(..)) {
        caller.enter_root()?;
    }
    if files::recalled(&question.target).is_none() {
        return Ok(Answer::Continue);
    }
    let file = File::open(&question.target, root)?;
    let Some(shown) = file.shown() else { return Ok(Answer::Continue) };
    match question.form {
        Form::Stat => {
            let stat = with(file.stat, &shown);
            caller.write(question.room, layout::stat_bytes(&stat))?;
        }
        Form::Stat64 => caller.write(question.room, &stat64(&with(file.stat, &shown)))?,
        Form::Statx(fields) => {
            let statx = with_extended(file.extended(fields)?, &shown);
            caller.write(question.room, layout::statx_bytes(&statx))?;
        }
    }
    Ok(Answer::Value(0))
}

fn question(caller: &Caller, name: &str, call: &Call) -> Result<Option<Question>, Errno> {
    const CWD: u64 = libc::AT_FDCWD as u64;
    let [first, second, third, fourth, fifth, _] = call.arguments;
    let ask = |target, room, form| Some(Question { target, room, form });
    let at = |flags: u64| {
        let empty = flags & libc::AT_EMPTY_PATH as u64 != 0;
        let itself = flags & libc::AT_SYMLINK_NOFOLLOW as u64 != 0;
        caller.target(
            first,
            second,
            if empty { Empty::IsDirfd } else { Empty::Nothing },
            if itself { Last::Itself } else { Last::Follow },
        )
    };
    Ok(match name {
        "stat" => ask(caller.target(CWD, first, Empty::Nothing, Last::Follow)?, second, Form::Stat),
        "lstat" => {
            ask(caller.target(CWD, first, Empty::Nothing, Last::Itself)?, second, Form::Stat)
        }
        "fstat" => ask(caller.open_file(first)?, second, Form::Stat),
        "newfstatat" => ask(at(fourth)?, third, Form::Stat),
        "stat64" => {
            ask(caller.target(CWD, first, Empty::Nothing, Last::Follow)?, second, Form::Stat64)
        }
        "lstat64" => {
            ask(caller.target(CWD, first, Empty::Nothing, Last::Itself)?, second, Form::Stat64)
        }
        "fstat64" => ask(caller.open_file(first)?, second, Form::Stat64),
        "fstatat64" => ask(at(fourth)?, third, Form::Stat64),
        "statx" => {
            let fields = StatxFlags::from_bits_retain(fourth as u32);
            ask(at(third)?, fifth, Form::Statx(fields))
        }
        _ => None,
    })
}

impl File {
    fn extended(&self, fields: StatxFlags) -> Result<Statx, Errno> {
        rustix::fs::statx(self, "", AtFlags::EMPTY_PATH, fields)
    }
}

fn with(mut stat: Stat, shown: &Shown) -> Stat {
    (stat.st_uid, stat.st_gid, stat.st_mode) = (shown.uid, shown.gid, shown.mode);
    if let Some((major, minor)) = shown.device {
        stat.st_rdev = rustix::fs::makedev(major, minor);
    }
    stat
}

fn with_extended(mut statx: Statx, shown: &Shown) -> Statx {
    (statx.stx_uid, statx.stx_gid, statx.stx_mode) = (shown.uid, shown.gid, shown.mode as u16);
    if let Some((major, minor)) = shown.device {
        (statx.stx_rdev_major, statx.stx_rdev_minor) = (major, minor);
    }
    statx
}

/// Encodes the 32-bit `struct stat64` (arch/x86/include/uapi/asm/stat.h), which has only named padding.
#[allow(clippy::unnecessary_cast, reason = "the fields have other types on ARM")]
fn stat64(stat: &Stat) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    let device = |bytes: &mut Vec<u8>, number: u64| {
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
    };
    let word = |bytes: &mut Vec<u8>, number: u64| bytes.extend((number as u32).to_ne_bytes());
    device(&mut bytes, stat.st_dev);
    word(&mut bytes, stat.st_ino);
    word(&mut bytes, u64::from(stat.st_mode));
    word(&mut bytes, stat.st_nlink as u64);
    word(&mut bytes, u64::from(stat.st_uid));
    word(&mut bytes, u64::from(stat.st_gid));
    device(&mut bytes, stat.st_rdev);
    bytes.extend((stat.st_size as i64).to_ne_bytes());
    word(&mut bytes, stat.st_blksize as u64);
    bytes.extend((stat.st_blocks as u64).to_ne_bytes());
    let times = [
        (stat.st_atime as u64, stat.st_atime_nsec as u64),
        (stat.st_mtime as u64, stat.st_mtime_nsec as u64),
        (stat.st_ctime as u64, stat.st_ctime_nsec as u64),
    ];
    for (seconds, nanoseconds) in times {
        word(&mut bytes, seconds);
        word(&mut bytes, nanoseconds);
    }
    bytes.extend(stat.st_ino.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Shown = Shown { uid: 5, gid: 6, mode: 0o20644, device: Some((1, 3)) };

    #[test]
    fn what_is_shown_takes_the_place_of_what_is() {
        let real = rustix::fs::stat("/dev").unwrap();
        let stat = with(real, &DEVICE);
        assert_eq!((stat.st_uid, stat.st_gid, stat.st_mode), (5, 6, 0o20644));
        assert_eq!(stat.st_rdev, rustix::fs::makedev(1, 3));
        assert_eq!(stat.st_ino, real.st_ino);
    }

    #[test]
    fn the_32_bit_struct_has_its_fields_where_they_belong() {
        let stat = with(rustix::fs::stat("/").unwrap(), &DEVICE);
        let bytes = stat64(&stat);
        assert_eq!(bytes.len(), 96);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(16), word(24), word(28), word(32)], [0o20644, 5, 6, 0x103]);
        assert_eq!(u64::from(word(44)), stat.st_size as u64);
        assert_eq!(u64::from(word(72)), stat.st_mtime as u64);
        assert_eq!(u64::from(word(88)), stat.st_ino & 0xffff_ffff);
    }
}
