//! File system of a path, by the magic number of statfs(2).

use std::os::fd::AsFd;
use std::path::Path;

/// Kind of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesystemKind {
    /// Name as in mount(8); "unknown" for a number missing from the table.
    pub name: &'static str,
    /// True if other machines share the file system: slower, and with owners and locks outside this kernel's control.
    pub network: bool,
}

const UNKNOWN: FilesystemKind = FilesystemKind { name: "unknown", network: false };

/// Magic numbers from linux/magic.h, and those of file systems outside the kernel's tree.
const KINDS: &[(u32, &str, FilesystemReach)] = &[
    (0x0000_ef53, "ext4", FilesystemReach::Local),
    (0x5846_5342, "xfs", FilesystemReach::Local),
    (0x9123_683e, "btrfs", FilesystemReach::Local),
    (0xf2f5_2010, "f2fs", FilesystemReach::Local),
    (0xca45_1a4e, "bcachefs", FilesystemReach::Local),
    (0x2fc1_2fc1, "zfs", FilesystemReach::Local),
    (0x0102_1994, "tmpfs", FilesystemReach::Local),
    (0x8584_58f6, "ramfs", FilesystemReach::Local),
    (0x794c_7630, "overlay", FilesystemReach::Local),
    (0x6573_5546, "fuse", FilesystemReach::Local),
    (0x0000_f15f, "ecryptfs", FilesystemReach::Local),
    (0x7371_7368, "squashfs", FilesystemReach::Local),
    (0xe0f5_e1e2, "erofs", FilesystemReach::Local),
    (0x0000_9660, "iso9660", FilesystemReach::Local),
    (0x0000_4d44, "vfat", FilesystemReach::Local),
    (0x2011_bab0, "exfat", FilesystemReach::Local),
    (0x7366_746e, "ntfs3", FilesystemReach::Local),
    (0x3153_464a, "jfs", FilesystemReach::Local),
    (0x0000_9fa0, "proc", FilesystemReach::Local),
    (0x6265_6572, "sysfs", FilesystemReach::Local),
    (0x0027_e0eb, "cgroup", FilesystemReach::Local),
    (0x6367_7270, "cgroup2", FilesystemReach::Local),
    (0x0000_0187, "autofs", FilesystemReach::Network),
    (0x0000_6969, "nfs", FilesystemReach::Network),
    (0x0bd0_0bd0, "lustre", FilesystemReach::Network),
    (0x4750_4653, "gpfs", FilesystemReach::Network),
    (0x1983_0326, "beegfs", FilesystemReach::Network),
    (0xaad7_aaea, "panfs", FilesystemReach::Network),
    (0x2003_0528, "orangefs", FilesystemReach::Network),
    (0x00c3_6400, "ceph", FilesystemReach::Network),
    (0x0116_1970, "gfs2", FilesystemReach::Network),
    (0x7461_636f, "ocfs2", FilesystemReach::Network),
    (0xff53_4d42, "cifs", FilesystemReach::Network),
    (0xfe53_4d42, "smb2", FilesystemReach::Network),
    (0x0000_517b, "smb", FilesystemReach::Network),
    (0x5346_414f, "afs", FilesystemReach::Network),
    (0x6b41_4653, "afs", FilesystemReach::Network),
    (0x7375_7245, "coda", FilesystemReach::Network),
    (0x0102_1997, "9p", FilesystemReach::Network),
    (0x786f_4256, "vboxsf", FilesystemReach::Network),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum FilesystemReach {
    Local,
    Network,
}

/// Returns the file system of `path`, or of its nearest existing ancestor.
pub fn kind(path: &Path) -> FilesystemKind {
    let magic = rustix::fs::statfs(nearest_existing(path)).map(|stat| stat.f_type as u32);
    magic.map_or(UNKNOWN, of_magic)
}

/// Returns the file system of an open file.
pub fn kind_of(file: impl AsFd) -> FilesystemKind {
    rustix::fs::fstatfs(file).map_or(UNKNOWN, |stat| of_magic(stat.f_type as u32))
}

impl FilesystemKind {
    /// True if this kernel alone controls locks there. False for a file system in user space, which may be a network's
    /// (sshfs), and for one missing from the table.
    pub fn has_own_locks(self) -> bool {
        !self.network && self != UNKNOWN && self.name != "fuse"
    }
}

/// Returns `path` itself if it exists, else its nearest existing ancestor.
pub fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

fn of_magic(magic: u32) -> FilesystemKind {
    match KINDS.iter().find(|(number, ..)| *number == magic) {
        Some((_, name, reach)) => {
            FilesystemKind { name, network: *reach == FilesystemReach::Network }
        }
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_lies_where_its_ancestor_does() {
        assert_eq!(kind(Path::new("/proc/self/no/such/thing")).name, "proc");
        assert_eq!(kind(Path::new("/proc")), FilesystemKind { name: "proc", network: false });
    }

    #[test]
    fn magic_numbers_are_listed_once_and_known() {
        let mut numbers: Vec<u32> = KINDS.iter().map(|(number, ..)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), KINDS.len());
        assert!(of_magic(0x6969).network);
        assert_eq!(of_magic(1).name, "unknown");
        let own = [0xef53, 0x0102_1994, 0x6969, 0x6573_5546, 1]
            .map(|magic| of_magic(magic).has_own_locks());
        assert_eq!(own, [true, true, false, false, false]);
    }
}
