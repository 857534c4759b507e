//! `--mount type=ramfs` and `--mount type=devpts`: a new file system of the kernel's.

use super::destination::Destination;

/// New file system to mount in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystemMount {
    /// Mount point in the container.
    pub destination: Destination,
    /// Type of the file system: ramfs or devpts.
    pub(super) kind: &'static str,
    /// `ro` or `rw`.
    pub(super) access: &'static str,
    /// Permissions of the topmost folder of a ramfs, or of the terminals of a devpts.
    pub(super) mode: Option<u32>,
    /// Owner of the terminals inside the container.
    pub(super) uid: Option<u32>,
    /// Group of the terminals inside the container.
    pub(super) gid: Option<u32>,
    /// Most terminals at a time.
    pub(super) max: Option<u32>,
}

impl FileSystemMount {
    /// Options of the OCI mount: docker's of a tmpfs for a ramfs, and those of /dev/pts for a devpts.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = [self.access, "noexec", "nosuid"].map(str::to_owned).to_vec();
        match self.kind {
            "ramfs" => {
                options.push("nodev".to_owned());
                options.push(format!("mode={:o}", self.mode.unwrap_or(0o1777)));
            }
            _ => {
                options.extend(["newinstance", "ptmxmode=0666"].map(str::to_owned));
                options.push(format!("mode={:o}", self.mode.unwrap_or(0o620)));
            }
        }
        options.extend(self.uid.map(|uid| format!("uid={uid}")));
        options.extend(self.gid.map(|gid| format!("gid={gid}")));
        options.extend(self.max.map(|max| format!("max={max}")));
        options
    }
}
