//! Operations on a tree, what they answer, and what a tree looks like.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode, RenameFlags, XattrFlags};

/// One operation; paths are below the root of the tree.
#[derive(Clone, Debug)]
pub enum Operation {
    Create(String, Vec<u8>),
    Append(String, Vec<u8>),
    Overwrite(String, Vec<u8>),
    Truncate(String, u16),
    Read(String),
    List(String),
    Unlink(String),
    Rmdir(String),
    Mkdir(String, u16),
    Mkfifo(String),
    Symlink(String),
    Link(String, String),
    Rename(String, String, u8),
    Chmod(String, u16),
    Touch(String, u32),
    SetXattr(String, u8),
    RemoveXattr(String),
    /// Removed while it is open, and then written and read.
    WriteUnlinked(String),
    /// Opened, copied up by another, and then read.
    ReadAcrossCopyUp(String),
    MakeWhiteout(String),
    Holes(String),
    /// Written through an open file; where another open file then finds data and holes.
    Seek(String, u8),
    /// Written through an open file, and read through others before it is closed.
    ReadWhileWritten(String, Vec<u8>),
    /// What is made in the folder inherits this: permissions of the owner, of user 0, of others.
    DefaultAcl(String, u16),
}

/// A layer below: what is made in it, in this order.
#[derive(Clone, Debug)]
pub enum Below {
    File(String, Vec<u8>),
    Folder(String),
    Link(String),
    Whiteout(String),
    Opaque(String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

/// Any layer.
pub fn layer() -> impl Strategy<Value = Vec<Below>> {
    prop::collection::vec(
        prop_oneof![
            4 => (path(), bytes()).prop_map(|(path, bytes)| Below::File(path, bytes)),
            3 => path().prop_map(Below::Folder),
            1 => path().prop_map(Below::Link),
            1 => path().prop_map(Below::Whiteout),
            1 => path().prop_map(Below::Opaque),
        ],
        0..12,
    )
}

/// Any operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    prop_oneof![
        (path(), bytes()).prop_map(|(path, bytes)| Op::Create(path, bytes)),
        (path(), bytes()).prop_map(|(path, bytes)| Op::Append(path, bytes)),
        (path(), bytes()).prop_map(|(path, bytes)| Op::Overwrite(path, bytes)),
        (path(), any::<u16>()).prop_map(|(path, size)| Op::Truncate(path, size)),
        path().prop_map(Op::Read),
        path().prop_map(Op::List),
        path().prop_map(Op::Unlink),
        path().prop_map(Op::Rmdir),
        (path(), 0u16..0o2000).prop_map(|(path, mode)| Op::Mkdir(path, mode | 0o700)),
        path().prop_map(Op::Mkfifo),
        path().prop_map(Op::Symlink),
        (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        (path(), path(), 0u8..3).prop_map(|(from, to, how)| Op::Rename(from, to, how)),
        (path(), path(), 0u8..3).prop_map(|(from, to, how)| Op::Rename(from, to, how)),
        (path(), 0u16..0o10000).prop_map(|(path, mode)| Op::Chmod(path, mode | 0o700)),
        (path(), any::<u32>()).prop_map(|(path, time)| Op::Touch(path, time)),
        (path(), any::<u8>()).prop_map(|(path, value)| Op::SetXattr(path, value)),
        path().prop_map(Op::RemoveXattr),
        path().prop_map(Op::WriteUnlinked),
        path().prop_map(Op::ReadAcrossCopyUp),
        path().prop_map(Op::MakeWhiteout),
        path().prop_map(Op::Holes),
        (path(), any::<u8>()).prop_map(|(path, place)| Op::Seek(path, place)),
        (path(), bytes()).prop_map(|(path, bytes)| Op::ReadWhileWritten(path, bytes)),
        (path(), 0u16..0o1000).prop_map(|(path, mode)| Op::DefaultAcl(path, mode)),
        path().prop_map(|path| Op::Chmod(path, 0o2755)),
    ]
}

/// Makes a layer; what does not fit on what is there is left out, and whiteouts where nothing is `below`: the kernel's
/// overlay lists those and then does not find them.
pub fn make(root: &Path, layer: &[Below], below: &[PathBuf]) {
    let is_below = |path: &str| {
        let mut above = root.join(path);
        // In an opaque folder there is nothing below.
        while above.pop() && above != root {
            if rustix::fs::lgetxattr(&above, "user.overlay.opaque", &mut [0u8; 8]).is_ok() {
                return false;
            }
        }
        below.iter().any(|lower| fs::symlink_metadata(lower.join(path)).is_ok())
    };
    for below in layer {
        match below {
            Below::File(path, bytes) => {
                let path = root.join(path);
                let _ = fs::create_dir_all(path.parent().expect("a parent"));
                let _ = fs::write(path, bytes);
            }
            Below::Folder(path) => drop(fs::create_dir_all(root.join(path))),
            Below::Link(path) => drop(std::os::unix::fs::symlink("/etc/passwd", root.join(path))),
            Below::Whiteout(path) if !is_below(path) => {}
            Below::Whiteout(path) => {
                let path = root.join(path);
                let _ = fs::create_dir_all(path.parent().expect("a parent"));
                let kind = rustix::fs::FileType::CharacterDevice;
                let _ = rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::empty(), 0);
            }
            Below::Opaque(path) => {
                let path = root.join(path);
                if fs::create_dir_all(&path).is_ok() && whiteouts(&path).is_empty() {
                    let flags = XattrFlags::empty();
                    rustix::fs::lsetxattr(path, "user.overlay.opaque", b"y", flags).expect("xattr");
                }
            }
        }
    }
}

/// Does it; the answer or the errno.
pub fn apply(root: &Path, operation: &Operation) -> String {
    match carry_out(root, operation) {
        Ok(answer) => answer,
        Err(error) => format!("errno {:?}", error.raw_os_error()),
    }
}

fn carry_out(root: &Path, operation: &Operation) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let at = |path: &String| root.join(path);
    let open = || {
        let mut options = fs::OpenOptions::new();
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options
    };
    let done = |()| String::new();
    match operation {
        Operation::Create(path, bytes) => {
            open().write(true).create_new(true).open(at(path))?.write_all(bytes).map(done)
        }
        Operation::Append(path, bytes) => {
            open().append(true).open(at(path))?.write_all(bytes).map(done)
        }
        Operation::Overwrite(path, bytes) => {
            open().write(true).truncate(true).open(at(path))?.write_all(bytes).map(done)
        }
        Operation::Truncate(path, size) => {
            open().write(true).open(at(path))?.set_len(u64::from(*size)).map(done)
        }
        Operation::Read(path) => {
            let mut bytes = Vec::new();
            open().read(true).open(at(path))?.read_to_end(&mut bytes)?;
            Ok(format!("{bytes:?}"))
        }
        Operation::List(path) => Ok(format!("{:?}", names(&at(path))?)),
        Operation::Unlink(path) => fs::remove_file(at(path)).map(done),
        Operation::Rmdir(path) => fs::remove_dir(at(path)).map(done),
        Operation::Mkdir(path, mode) => {
            let mode = Mode::from_raw_mode(u32::from(*mode));
            Ok(rustix::fs::mkdir(at(path), mode).map(done)?)
        }
        Operation::Mkfifo(path) => {
            let (kind, mode) = (rustix::fs::FileType::Fifo, Mode::RUSR);
            Ok(rustix::fs::mknodat(rustix::fs::CWD, at(path), kind, mode, 0).map(done)?)
        }
        Operation::MakeWhiteout(path) => {
            let (kind, mode) = (rustix::fs::FileType::CharacterDevice, Mode::empty());
            Ok(rustix::fs::mknodat(rustix::fs::CWD, at(path), kind, mode, 0).map(done)?)
        }
        Operation::Symlink(path) => std::os::unix::fs::symlink("b/c", at(path)).map(done),
        Operation::Link(from, to) => {
            let (from, to) = (at(from), at(to));
            let flags = AtFlags::empty();
            Ok(rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, to, flags).map(done)?)
        }
        Operation::Rename(from, to, how) => {
            let flags = [RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE];
            let (from, to, flags) = (at(from), at(to), flags[usize::from(*how)]);
            let here = rustix::fs::CWD;
            Ok(rustix::fs::renameat_with(here, from, here, to, flags).map(done)?)
        }
        Operation::Chmod(path, mode) => {
            let path = at(path);
            if fs::symlink_metadata(&path)?.is_symlink() {
                return Ok("a link".into());
            }
            fs::set_permissions(path, fs::Permissions::from_mode(u32::from(*mode))).map(done)
        }
        Operation::Touch(path, time) => {
            let time = rustix::fs::Timespec { tv_sec: i64::from(*time), tv_nsec: 77 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, at(path), &times, flags)?;
            let metadata = fs::symlink_metadata(at(path))?;
            Ok(format!("{}.{}", metadata.mtime(), metadata.mtime_nsec()))
        }
        Operation::SetXattr(path, value) => {
            let flags = XattrFlags::empty();
            Ok(rustix::fs::lsetxattr(at(path), "user.test", &[*value], flags).map(done)?)
        }
        Operation::RemoveXattr(path) => {
            Ok(rustix::fs::lremovexattr(at(path), "user.test").map(done)?)
        }
        Operation::WriteUnlinked(path) => {
            let mut file = open().read(true).write(true).open(at(path))?;
            fs::remove_file(at(path))?;
            file.write_all(b"unlinked")?;
            let metadata = file.metadata()?;
            Ok(format!("{} {}", metadata.len(), metadata.nlink()))
        }
        Operation::ReadAcrossCopyUp(path) => {
            let mut file = open().read(true).open(at(path))?;
            let before = file.metadata()?;
            open().append(true).open(at(path))?.write_all(b"!")?;
            let mut bytes = Vec::new();
            // The kernel's overlay shows the old content through the old descriptor, ours the new: what is the same is
            // the number of the file.
            file.read_to_end(&mut bytes)?;
            Ok(format!("{}", before.ino() == fs::symlink_metadata(at(path))?.ino()))
        }
        Operation::Seek(path, place) => {
            use std::os::unix::fs::FileExt;
            let file = open().read(true).write(true).open(at(path))?;
            let other = open().read(true).open(at(path))?;
            file.set_len(1 << 20)?;
            file.write_all_at(&[b'x'; 5000], u64::from(*place) << 12)?;
            let data =
                rustix::fs::seek(&other, rustix::fs::SeekFrom::Data(u64::from(*place) << 12))?;
            let hole = rustix::fs::seek(&other, rustix::fs::SeekFrom::Hole(data))?;
            Ok(format!("{data} {hole} {}", other.metadata()?.blocks() > 0))
        }
        Operation::ReadWhileWritten(path, bytes) => {
            let mut file = open().append(true).open(at(path))?;
            file.write_all(bytes)?;
            let read = fs::read(at(path))?;
            file.write_all(bytes)?;
            Ok(format!("{read:?} {:?} {}", fs::read(at(path))?, fs::metadata(at(path))?.len()))
        }
        Operation::DefaultAcl(path, mode) => {
            let acl = default_acl(*mode);
            let flags = XattrFlags::empty();
            Ok(rustix::fs::lsetxattr(at(path), "system.posix_acl_default", &acl, flags)
                .map(done)?)
        }
        Operation::Holes(path) => {
            use std::os::unix::fs::FileExt;
            let file = open().read(true).write(true).open(at(path))?;
            file.set_len(1 << 20)?;
            file.write_all_at(b"data", 512 << 10)?;
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, (512 << 10) - 2)?;
            Ok(format!("{bytes:?} {}", file.metadata()?.len()))
        }
    }
}

/// An ACL as system calls have it (linux/posix_acl_xattr.h), with an entry for user 0.
fn default_acl(mode: u16) -> Vec<u8> {
    let (none, bits) = (u32::MAX, |shift: u16| mode >> shift & 7);
    let entries =
        [(1, bits(6), none), (2, bits(3), 0), (4, 5, none), (16, 7, none), (32, bits(0), none)];
    let entries = entries.iter().flat_map(|(tag, permissions, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    });
    2u32.to_le_bytes().into_iter().chain(entries).collect()
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// All that can be seen of a tree, a line a file.
pub fn seen(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let names = match names(&folder) {
            Ok(names) => names,
            Err(error) => {
                lines.push(format!("{} {error}", folder.display()));
                continue;
            }
        };
        for name in names {
            let path = folder.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                lines.push(format!("{} is listed and not there", path.display()));
                continue;
            };
            lines.push(line(root, &path, &metadata));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}

fn line(root: &Path, path: &Path, metadata: &fs::Metadata) -> String {
    let name = path.strip_prefix(root).expect("below").display();
    let mut value = [0; 8];
    let xattr = rustix::fs::lgetxattr(path, "user.test", &mut value).ok().map(|_| value[0]);
    let what = if metadata.is_symlink() {
        fs::read_link(path).expect("a link").display().to_string()
    } else if metadata.is_file() {
        let bytes = fs::read(path).expect("a file that can be read");
        let sum = bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        format!("{} bytes {sum} links {}", bytes.len(), metadata.nlink())
    } else if metadata.file_type().is_char_device() {
        format!("device {}", metadata.rdev())
    } else {
        String::new()
    };
    let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
    format!("{name} {mode:o} {uid}:{gid} {xattr:?} {what}")
}

/// The whiteouts of a layer.
pub fn whiteouts(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a layer").flatten() {
            let metadata = entry.metadata().expect("metadata");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
                found.push(entry.path().strip_prefix(root).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}
