//! shadow's newuidmap and newgidmap: the two programs that may write subordinate IDs into the caller's maps.
//!
//! The programs are used by absolute path alone, and only where the kernel really gives them that power. A helper
//! without its setuid bit (an image unpacked without it, a nosuid mount, no_new_privs) fails much later with a bare
//! "Operation not permitted".

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::distribution::Package;
use super::hint::Hint;
use super::program;

/// Capability numbers of capabilities(7) that the two programs need.
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

/// Paths of the two programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdmapHelpers {
    /// newuidmap(1)
    pub newuidmap: PathBuf,
    /// newgidmap(1)
    pub newgidmap: PathBuf,
}

/// Returns both programs, if the caller can use both.
pub fn find() -> Option<IdmapHelpers> {
    without_effect().is_none().then_some(())?;
    Some(IdmapHelpers {
        newuidmap: program::find("newuidmap", |path| power(path, CAP_SETUID).is_ok())?,
        newgidmap: program::find("newgidmap", |path| power(path, CAP_SETGID).is_ok())?,
    })
}

/// Source of a helper's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperPrivilege {
    /// Setuid bit of a helper that root owns.
    Setuid,
    /// File capability.
    Capability,
}

/// Reason why a helper does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnusableHelper {
    /// The helper is not installed.
    Missing,
    /// The caller may not run the helper.
    NotExecutable,
    /// Neither setuid root nor with the capability.
    Powerless,
    /// The owner does not exist in this user namespace: the setuid bit is void.
    OtherNamespace,
    /// The helper's power is void on a file system mounted nosuid.
    NoSuidMount,
    /// The helper's power is void in this process: no_new_privs is set.
    NoNewPrivileges,
    /// The bounding set of this process, and of the programs it runs, lacks the capability.
    Bounded,
}

impl UnusableHelper {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "is not installed",
            Self::NotExecutable => "may not be run by you",
            Self::Powerless => "is neither setuid root nor has the file capability",
            Self::OtherNamespace => "belongs to a root that does not exist in this user namespace",
            Self::NoSuidMount => "lies on a file system mounted nosuid",
            Self::NoNewPrivileges => {
                "gets no power from its setuid bit here (no_new_privs is set on this process)"
            }
            Self::Bounded => {
                "gets no power here (the capability bounding set lacks CAP_SETUID or CAP_SETGID)"
            }
        }
    }
}

/// Returns the reason why no program gains powers in this process.
fn without_effect() -> Option<UnusableHelper> {
    use rustix::thread::{CapabilitySet, capability_is_in_bounding_set, no_new_privs};
    // After no_new_privs no exec gives any power (prctl(2)); no exec gives a capability that the bounding set lacks
    // (capabilities(7)).
    if no_new_privs().unwrap_or(false) {
        return Some(UnusableHelper::NoNewPrivileges);
    }
    let has = |capability| capability_is_in_bounding_set(capability).unwrap_or(true);
    let has_both = has(CapabilitySet::SETUID) && has(CapabilitySet::SETGID);
    (!has_both).then_some(UnusableHelper::Bounded)
}

/// Explains why [`find`] found nothing, for a hint: "/usr/bin/newuidmap is neither setuid root nor has the file
/// capability". `None` when both programs are usable.
pub fn why_unusable() -> Option<String> {
    let reasons = [("newuidmap", CAP_SETUID), ("newgidmap", CAP_SETGID)];
    let reasons = reasons.iter().filter_map(|(name, capability)| {
        let (path, reason) = reason(name, *capability)?;
        Some(format!("{} {}", path.display(), reason.text()))
    });
    let reasons: Vec<String> = reasons.collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Returns the hint for a failed [`find`].
pub fn hint() -> Option<Hint> {
    let (_, reason) =
        reason("newuidmap", CAP_SETUID).or_else(|| reason("newgidmap", CAP_SETGID))?;
    Some(match reason {
        UnusableHelper::Missing => Hint::Install(Package::Uidmap),
        UnusableHelper::NotExecutable | UnusableHelper::Powerless => {
            Hint::PowerlessHelpers(Package::Uidmap)
        }
        UnusableHelper::OtherNamespace => Hint::NestedIds,
        UnusableHelper::NoSuidMount | UnusableHelper::NoNewPrivileges | UnusableHelper::Bounded => {
            Hint::HelpersWithoutEffect
        }
    })
}

fn reason(name: &str, capability: u32) -> Option<(PathBuf, UnusableHelper)> {
    let mut first_found = None;
    for path in program::candidates(name) {
        match power(&path, capability) {
            Ok(_) => return without_effect().map(|reason| (path, reason)),
            Err(UnusableHelper::Missing) => {}
            Err(other) => first_found = first_found.or(Some((path, other))),
        }
    }
    first_found.or(Some((name.into(), UnusableHelper::Missing)))
}

/// Returns the source of the power of the helper at `path`. Errors: the reason why the helper has none.
pub fn power(path: &Path, capability: u32) -> Result<HelperPrivilege, UnusableHelper> {
    let stat = std::fs::metadata(path).map_err(|_| UnusableHelper::Missing)?;
    if !stat.is_file() {
        return Err(UnusableHelper::Missing);
    }
    if stat.mode() & 0o111 == 0 || rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() {
        return Err(UnusableHelper::NotExecutable);
    }
    // In another user namespace root's files belong to the overflow ID: this test fails too where their setuid bit is
    // void.
    let power = if stat.uid() == 0 && stat.mode() & 0o4000 != 0 {
        HelperPrivilege::Setuid
    } else if has_capability(path, capability) {
        HelperPrivilege::Capability
    } else if stat.mode() & 0o4000 != 0 && !super::userns::in_initial_namespace() {
        return Err(UnusableHelper::OtherNamespace);
    } else {
        return Err(UnusableHelper::Powerless);
    };
    match rustix::fs::statvfs(path) {
        Ok(mount) if mount.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID) => {
            Err(UnusableHelper::NoSuidMount)
        }
        _ => Ok(power),
    }
}

fn has_capability(path: &Path, capability: u32) -> bool {
    let mut room = [0u8; 64];
    match rustix::fs::getxattr(path, "security.capability", &mut room[..]) {
        Ok(length) => permits(&room[..length], capability),
        Err(_) => false,
    }
}

/// True if a `security.capability` value permits the capability and makes it effective. Format: struct vfs_cap_data,
/// linux/capability.h: little-endian; revision and flags, then permitted and inheritable bits.
fn permits(value: &[u8], capability: u32) -> bool {
    const EFFECTIVE: u32 = 1;
    let word = |index: usize| {
        let bytes = value.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(head), Some(permitted)) = (word(0), word(1)) else {
        return false;
    };
    let revision = head >> 24;
    (1..=3).contains(&revision) && head & EFFECTIVE != 0 && permitted & (1 << capability) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn file_capabilities_are_read_as_the_kernel_writes_them() {
        // `setcap cap_setuid+ep` and `setcap cap_setgid+p`, as getfattr(1) shows them.
        let setuid_effective = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let setgid_permitted = [0, 0, 0, 2, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(permits(&setuid_effective, CAP_SETUID));
        assert!(!permits(&setuid_effective, CAP_SETGID));
        assert!(!permits(&setgid_permitted, CAP_SETGID));
        assert!(!permits(&[], CAP_SETUID));
        assert!(!permits(&[1, 0, 0, 9, 0xff, 0xff, 0xff, 0xff], CAP_SETUID));
    }

    #[test]
    fn a_program_without_power_is_not_a_helper() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("newuidmap");
        assert_eq!(power(&program, CAP_SETUID), Err(UnusableHelper::Missing));
        std::fs::write(&program, "").unwrap();
        assert_eq!(power(&program, CAP_SETUID), Err(UnusableHelper::NotExecutable));
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(power(&program, CAP_SETUID), Err(UnusableHelper::Powerless));
        assert_eq!(power(folder.path(), CAP_SETUID), Err(UnusableHelper::Missing));
    }
}
