//! `--device HOST[:CONTAINER][:PERMISSIONS]`, and the names of CDI. Without root a device cannot be made, only bound from
//! the host. No device cgroup can restrict access either: the file's own permissions decide.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::destination::Destination;
use crate::cdi_name::CdiName;
use crate::error::{Context, Error, Result};
use crate::fail;

/// Parsed value of `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFlag {
    /// Device file of the host.
    Host(HostDevice),
    /// Device that a file of CDI describes.
    Cdi(CdiName),
}

/// Device file of the host, or a folder of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// The value as typed.
    pub text: String,
    /// Device, or folder of devices, on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: Destination,
}

impl FromStr for DeviceFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('=') && !text.starts_with('/') {
            true => text.parse().map(Self::Cdi),
            false => text.parse().map(Self::Host),
        }
    }
}

impl FromStr for HostDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, permissions) = match parts[..] {
            [source] => (source, source, None),
            [source, second] if second.starts_with('/') => (source, second, None),
            [source, permissions] => (source, source, Some(permissions)),
            [source, destination, permissions] => (source, destination, Some(permissions)),
            _ => return Err("expected HOST[:CONTAINER][:PERMISSIONS]".into()),
        };
        if !source.starts_with('/') {
            return Err(format!("'{source}' is not an absolute path to a device"));
        }
        permissions.map_or(Ok(()), refuse_limits)?;
        Ok(Self { text: text.to_owned(), source: source.into(), destination: destination.parse()? })
    }
}

/// Checks docker's letters: read, write, make (mknod, which no process in the container may do).
fn refuse_limits(permissions: &str) -> Result<(), String> {
    let once = |letter| permissions.matches(letter).count() <= 1;
    if permissions.is_empty()
        || !permissions.chars().all(|letter| "rwm".contains(letter) && once(letter))
    {
        return Err(format!(
            "'{permissions}' is neither a path in the container nor of the letters rwm"
        ));
    }
    if permissions.contains('r') && permissions.contains('w') {
        return Ok(());
    }
    Err(format!("'{permissions}': a device cannot be limited without root: rw or rwm"))
}

impl HostDevice {
    /// Lists the devices: this one, or all below the folder. Errors: no device exists, or the file is no device.
    pub(super) fn nodes(&self) -> Result<Vec<(PathBuf, Destination)>> {
        let metadata =
            std::fs::metadata(&self.source).context(|| self.source.display().to_string())?;
        if is_device(metadata.file_type()) {
            return Ok(vec![(self.source.clone(), self.destination.clone())]);
        }
        if !metadata.is_dir() {
            fail!(Invalid: "{}: not a device", self.source.display());
        }
        let mut nodes = Vec::new();
        for entry in walkdir::WalkDir::new(&self.source).min_depth(1).sort_by_file_name() {
            let entry = entry.or_else(|error| self.unreadable(error))?;
            if is_device(entry.file_type()) {
                nodes.push((entry.path().to_owned(), self.inside(entry.path())));
            }
        }
        if nodes.is_empty() {
            fail!(Invalid: "{}: no device in this folder", self.source.display());
        }
        Ok(nodes)
    }

    fn unreadable<T>(&self, error: walkdir::Error) -> Result<T> {
        let path = error.path().unwrap_or(&self.source).display().to_string();
        let cause =
            error.into_io_error().map_or_else(|| Error::invalid("a ring of links"), Error::from);
        Err(cause).context(|| path)
    }

    /// Path in the container of a device below the folder.
    fn inside(&self, path: &Path) -> Destination {
        let relative = path.strip_prefix(&self.source).unwrap_or(path);
        self.destination.below(relative)
    }
}

fn is_device(kind: std::fs::FileType) -> bool {
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_has_one_two_or_three_parts() {
        for (text, source, destination) in [
            ("/dev/null", "/dev/null", "/dev/null"),
            ("/dev/null:/dev/x", "/dev/null", "/dev/x"),
            ("/dev/null:rwm", "/dev/null", "/dev/null"),
            ("/dev/null:/dev/x:rw", "/dev/null", "/dev/x"),
            ("/dev/null:wr", "/dev/null", "/dev/null"),
        ] {
            let device: HostDevice = text.parse().unwrap();
            assert_eq!(device.source, Path::new(source), "{text}");
            assert_eq!(device.destination.path(), Path::new(destination), "{text}");
        }
    }

    #[test]
    fn a_name_of_cdi_is_told_from_a_path() {
        let name = "vendor.com/gpu=0".parse::<DeviceFlag>().unwrap();
        assert_eq!(name, DeviceFlag::Cdi("vendor.com/gpu=0".parse().unwrap()));
        assert!(matches!("/dev/a=b".parse::<DeviceFlag>().unwrap(), DeviceFlag::Host(_)));
    }

    #[test]
    fn rights_that_cannot_be_limited_are_refused() {
        for wrong in [
            "",
            "null",
            "vendor.com/=0",
            "/dev/null:r",
            "/dev/null:m",
            "/dev/null:",
            "/dev/null:rwx",
            "/dev/null:rrw",
            "/dev/null:/dev/x:w",
            "/dev/null:x:rwm",
            "/dev/null:/:rwm",
            "/dev/null:/a:rwm:x",
        ] {
            assert!(wrong.parse::<DeviceFlag>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_stands_for_the_devices_in_it() {
        let nodes = |text: &str| text.parse::<HostDevice>().unwrap().nodes();
        assert_eq!(nodes("/dev/null").unwrap().len(), 1);
        assert_eq!(nodes("/nope").unwrap_err().to_string(), "/nope: No such file or directory");
        assert_eq!(nodes("/etc/passwd").unwrap_err().to_string(), "/etc/passwd: not a device");
        let empty = tempfile::tempdir().unwrap();
        assert!(nodes(empty.path().to_str().unwrap()).is_err());
        let all = nodes("/dev/pts:/mnt").unwrap();
        assert!(all.iter().any(|(source, destination)| source == Path::new("/dev/pts/ptmx")
            && destination.path() == Path::new("/mnt/ptmx")));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*", near in "[/rwm:x]{0,12}") {
            let _ = (text.parse::<HostDevice>(), near.parse::<DeviceFlag>());
        }
    }
}
