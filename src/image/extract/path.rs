//! Names of entries: split into components and validated.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};
use crate::layer::whiteout::WhiteoutName;

/// Deepest nesting: deeper than any real tree. Without a limit, 2 000 000 folders could be nested, and a later removal
/// or copy would have to descend all of them.
const DEEPEST: usize = 1000;

/// Longest file name on Linux (NAME_MAX), in bytes.
const LONGEST_NAME: usize = 255;

/// Splits an entry's name or a hard link's target into components; empty for the root. `..` removes the component
/// before it, as in Go's `filepath.Clean`. Errors: `..` leads out of the layer, a component is too long or contains a
/// NUL, too many folders.
pub(super) fn components(name: &[u8]) -> Result<Vec<&[u8]>> {
    let mut components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." if components.pop().is_some() || name.starts_with(b"/") => {}
            b".." => return Err(Error::new("'..' in the name leads out of the layer")),
            _ if component.len() > LONGEST_NAME => {
                let what = format!("a name of more than {LONGEST_NAME} bytes");
                return Err(Error::new(what));
            }
            _ if component.contains(&0) => return Err(Error::new("a NUL in the name")),
            _ if components.len() >= DEEPEST => {
                return Err(Error::new(format!("more than {DEEPEST} folders deep")));
            }
            _ => components.push(component),
        }
    }
    Ok(components)
}

/// Splits a symbolic link's target into names, `..` included. Errors: as with [`components`].
pub(super) fn path_names(target: &[u8]) -> Result<Vec<&[u8]>> {
    let names = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let names: Vec<&[u8]> = names.collect();
    match names.iter().find(|name| name.len() > LONGEST_NAME) {
        Some(_) => Err(Error::new(format!("a link to a name of more than {LONGEST_NAME} bytes"))),
        None => check_folders(&names).map(|()| names),
    }
}

/// Errors: `depth` exceeds the deepest nesting.
pub(super) fn check_depth(depth: usize) -> Result<()> {
    if depth >= DEEPEST {
        return Err(Error::new(format!("more than {DEEPEST} folders deep")));
    }
    Ok(())
}

/// True if the path leads to one of aufs's own files, which docker once put into layers.
pub(super) fn is_of_aufs(components: &[&[u8]]) -> bool {
    components.iter().any(|name| mark(name) == WhiteoutName::Aufs)
}

/// Parses a component as a name of the image spec.
pub(super) fn mark(name: &[u8]) -> WhiteoutName<'_> {
    WhiteoutName::parse(OsStr::from_bytes(name))
}

/// Errors: a folder on the way has a whiteout's name.
pub(super) fn check_folders(folders: &[&[u8]]) -> Result<()> {
    if folders.iter().any(|name| mark(name) != WhiteoutName::File) {
        return Err(Error::new("a whiteout is no folder"));
    }
    Ok(())
}

/// Escapes and shortens a name for messages: no control characters, no endless lines.
pub(super) fn printable(name: &[u8]) -> String {
    const LONGEST: usize = 256;
    let text =
        String::from_utf8_lossy(name.get(..LONGEST).unwrap_or(name)).escape_debug().to_string();
    if name.len() > LONGEST { format!("{text}...") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(components(b"//a/./b//").unwrap(), [b"a", b"b"]);
        assert_eq!(components(b"./").unwrap(), [b""; 0]);
        assert_eq!(components(b"a/...").unwrap(), [&b"a"[..], b"..."]);
        let longest = [b'x'; 255];
        assert!(components(&longest).is_ok());
        assert_eq!(components(b"a/../b").unwrap(), [b"b"]);
        assert_eq!(components(b"a/b/../../c/.").unwrap(), [b"c"]);
        assert_eq!(components(b"/../a").unwrap(), [b"a"]);
        assert_eq!(components(b"a/..").unwrap(), [b""; 0]);
        for wrong in [&b".."[..], b"../a", b"a/../../b", b"a\0b", &[b'x'; 256]] {
            assert!(components(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(components(&b"a/".repeat(1000)).is_ok());
        assert!(components(&b"a/".repeat(1001)).is_err());
    }

    #[test]
    fn files_of_aufs_are_those_in_its_folders_too() {
        assert!(is_of_aufs(&[b".wh..wh.plnk", b"1.2"]) && is_of_aufs(&[b".wh..wh.aufs"]));
        assert!(!is_of_aufs(&[b".wh..wh..opq"]) && !is_of_aufs(&[b".wh.a"]));
    }

    #[test]
    fn shown_paths_cannot_control_a_terminal() {
        assert_eq!(printable(b"a\x1b[2J\n\xff"), "a\\u{1b}[2J\\n\u{fffd}");
        assert!(printable(&[b'x'; 5000]).len() < 300);
    }
}
