//! Adds the user who runs the container to /etc/passwd and /etc/group, if the image lacks an entry.

use std::fs::File as Disk;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;

use crate::engine::plan::step::AccountEntry;
use crate::engine::step_error::{OnObject, StepResult};
use crate::net::{GeneratedFile, Need};
use crate::sys::inroot::{self, Symlinks};

/// Size limit of an account file, in bytes: passwd(5) and group(5) stay far below.
const LARGEST: u64 = 1 << 20;

/// Appends each entry to its file in `root`, unless that file already has an entry with the same ID. For files that
/// cannot be written, returns copies with the entry, to be mounted over them.
pub fn add(entries: &[AccountEntry], root: &OwnedFd) -> StepResult<Vec<GeneratedFile>> {
    let mut copies = Vec::new();
    for entry in entries {
        let path = Path::new(entry.path);
        let before = match inroot::read(root, path, LARGEST) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Vec::new(),
            answer => answer.on(|| entry.path)?,
        };
        if before.split(|byte| *byte == b'\n').any(|line| id(line) == id(entry.line.as_bytes())) {
            continue;
        }
        let ends = before.last().is_none_or(|byte| *byte == b'\n');
        let added = format!("{}{}\n", if ends { "" } else { "\n" }, entry.line);
        let written = inroot::open(root, path, OFlags::WRONLY | OFlags::APPEND, Symlinks::Follow)
            .and_then(|file| Disk::from(file).write_all(added.as_bytes()));
        if let Err(error) = written {
            log::debug!("{} is mounted, since it cannot be written to: {error}", entry.path);
            let content = String::from_utf8_lossy(&before).into_owned() + &added;
            copies.push(GeneratedFile { path: entry.path, content, need: Need::Customary });
        }
    }
    Ok(copies)
}

fn id(line: &[u8]) -> Option<&[u8]> {
    line.split(|byte| *byte == b':').nth(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> AccountEntry {
        AccountEntry { path: "/etc/passwd", line: line.into() }
    }

    #[test]
    fn an_account_is_added_once_and_none_takes_another_s_line() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let file = root.path().join("etc/passwd");
        std::fs::write(&file, "root:x:0:0:root:/root:/bin/sh").unwrap();
        let fd = OwnedFd::from(Disk::open(root.path()).unwrap());
        for _ in 0..2 {
            let line = entry("ada:x:1000:1000::/:/bin/sh");
            assert!(add(&[line], &fd).ok().is_some_and(|copies| copies.is_empty()));
        }
        assert!(add(&[entry("other:x:0:0::/:/bin/sh")], &fd).is_ok());
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/:/bin/sh\n");
        std::fs::remove_file(&file).unwrap();
        let copies = add(&[entry("ada:x:1000:1000::/:/bin/sh")], &fd).ok().unwrap();
        assert_eq!(copies[0].content, "ada:x:1000:1000::/:/bin/sh\n");
    }
}
