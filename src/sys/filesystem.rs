//! File system of a path, by the magic number of statfs(2).

use std::os::fd::AsFd;
use std::path::Path;

/// Kind of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Name as in mount(8); "unknown" for a number missing from the table.
    pub name: &'static str,
    /// True if other machines share the file system: slower, and with owners and locks outside this kernel's control.
    pub network: bool,
}

const UNKNOWN: Kind = Kind { name: "unknown", network: false };

/// Magic numbers from linux/magic.h, and those of file systems outside the kernel's tree.
const KINDS: &[(u32, &str, Reach)] = &[
    (0x0000_ef53, "ext4", Reach::Local),
    (0x5846_5342, "xfs", Reach::Local),
    (0x9123_683e, "btrfs", Reach::Local),
    (0xf2f5_2010, "f2fs", Reach::Local),
    (0xca45_1a4e, "bcachefs", Reach::Local),
    (0x2fc1_2fc1, "zfs", Reach::Local),
    (0x0102_1994, "tmpfs", Reach::Local),
    (0x8584_58f6, "ramfs", Reach::Local),
    (0x794c_7630, "overlay", Reach::Local),
    (0x6573_5546, "fuse", Reach::Local),
    (0x0000_f15f, "ecryptfs", Reach::Local),
    (0x7371_7368, "squashfs", Reach::Local),
    (0xe0f5_e1e2, "erofs", Reach::Local),
    (0x0000_9660, "iso9660", Reach::Local),
    (0x0000_4d44, "vfat", Reach::Local),
    (0x2011_bab0, "exfat", Reach::Local),
    (0x7366_746e, "ntfs3", Reach::Local),
    (0x3153_464a, "jfs", Reach::Local),
    (0x0000_9fa0, "proc", Reach::Local),
    (0x6265_6572, "sysfs", Reach::Local),
    (0x0027_e0eb, "cgroup", Reach::Local),
    (0x6367_7270, "cgroup2", Reach::Local),
    (0x0000_0187, "autofs", Reach::Network),
    (0x0000_6969, "nfs", Reach::Network),
    (0x0bd0_0bd0, "lustre", Reach::Network),
    (0x4750_4653, "gpfs", Reach::Network),
    (0x1983_0326, "beegfs", Reach::Network),
    (0xaad7_aaea, "panfs", Reach::Network),
    (0x2003_0528, "orangefs", Reach::Network),
    (0x00c3_6400, "ceph", Reach::Network),
    (0x0116_1970, "gfs2", Reach::Network),
    (0x7461_636f, "ocfs2", Reach::Network),
    (0xff53_4d42, "cifs", Reach::Network),
    (0xfe53_4d42, "smb2", Reach::Network),
    (0x0000_517b, "smb", Reach::Network),
    (0x5346_414f, "afs", Reach::Network),
    (0x6b41_4653, "afs", Reach::Network),
    (0x7375_7245, "coda", Reach::Network),
    (0x0102_1997, "9p", Reach::Network),
    (0x786f_4256, "vboxsf", Reach::Network),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Local,
    Network,
}

/// Returns the file system of `path`, or of its nearest existing ancestor.
pub fn kind(path: &Path) -> Kind {
    let magic = rustix::fs::statfs(nearest_existing(path)).map(|stat| stat.f_type as u32);
    magic.map_or(UNKNOWN, of_magic)
}

/// Returns the file system of an open file.
pub fn kind_of(file: impl AsFd) -> Kind {
    rustix::fs::fstatfs(file).map_or(UNKNOWN, |stat| of_magic(stat.f_type as u32))
}

impl Kind {
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

fn of_magic(magic: u32) -> Kind {
    match KINDS.iter().find(|(number, ..)| *number == magic) {
        Some((_, name, reach)) => Kind { name, network: *reach == Reach::Network },
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_lies_where_its_ancestor_does() {
        assert_eq!(kind(Path::new("/proc/self/no/such/thing")).name, "proc");
        assert_eq!(kind(Path::new("/proc")), Kind { name: "proc", network: false });
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
