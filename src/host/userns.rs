//! Causes that forbid user namespaces here, and the hints for them.
//!
//! Called after a failure only: making a user namespace shows whether it works. [`diagnose`] checks certain causes
//! before likely ones, since several may apply.

use std::path::Path;

use super::hint::Hint;

/// Name of the first user namespace's file in every kernel (PROC_USER_INIT_INO, linux/proc_ns.h).
const INITIAL_NAMESPACE: &str = "user:[4026531837]";

/// Returns the hint after making a user namespace, or writing its maps, has failed. `None` for no known cause.
pub fn forbidden_hint() -> Option<String> {
    forbidden_by().map(String::from)
}

/// Returns [`forbidden_hint`] as an entry of the table.
pub fn forbidden_by() -> Option<Hint> {
    diagnose(&UsernsFacts::of_this_process())
}

/// True if this process is in the machine's first user namespace, not in a container's.
pub fn in_initial_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/user").is_ok_and(|name| name.as_os_str() == INITIAL_NAMESPACE)
}

/// True if AppArmor takes all powers from user namespaces that this process makes. On Ubuntu the process can make them,
/// but write no map: EACCES or EPERM at uid_map, not at unshare.
pub fn apparmor_restricts() -> bool {
    let facts = UsernsFacts::of_this_process();
    diagnose(&facts) == Some(Hint::AppArmor)
}

/// Returns the hint for a call refused with `errno`, whatever its purpose. `None`: no known cause.
pub fn refused_hint(errno: i32) -> Option<String> {
    let hint = match errno {
        libc::ENOSYS if is_filtered() => Hint::RefusedCall,
        libc::EAFNOSUPPORT => Hint::AddressFamilies,
        libc::ENOTCONN | libc::ENOMEM => super::limits::of_memory()?,
        libc::EPERM if is_filtered() && super::is_in_unit() => Hint::RefusedCall,
        libc::EPIPE if is_filtered() => Hint::KilledByFilter,
        libc::ENOSPC | libc::EUSERS => return forbidden_hint(),
        _ => return None,
    };
    Some(hint.into())
}

/// True if a system-call filter is active on this process.
pub fn is_filtered() -> bool {
    has_filter(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

struct UsernsFacts {
    kernel_has_them: bool,
    is_root: bool,
    /// `user.max_user_namespaces`
    max: Option<u64>,
    /// Kind of namespaces with a limit of 0 (`user.max_net_namespaces`).
    none_of: Option<&'static str>,
    /// Debian's `kernel.unprivileged_userns_clone`
    unprivileged_clone: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`
    apparmor_restriction: Option<u64>,
    /// AppArmor profile of this process; "unconfined" without one.
    apparmor_profile: String,
    chroot: bool,
    ids_are_mapped: bool,
    has_filter: bool,
}

impl UsernsFacts {
    fn of_this_process() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let has =
            |file: &str, id| is_mapped(&std::fs::read_to_string(file).unwrap_or_default(), id);
        Self {
            kernel_has_them: Path::new("/proc/self/ns/user").exists(),
            is_root: uid == 0 && in_initial_namespace(),
            max: number_in("/proc/sys/user/max_user_namespaces"),
            none_of: super::limits::KINDS.into_iter().find(|kind| {
                number_in(&format!("/proc/sys/user/max_{kind}_namespaces")) == Some(0)
            }),
            unprivileged_clone: number_in("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restriction: number_in(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ),
            apparmor_profile: read("/proc/self/attr/apparmor/current")
                .or_else(|| read("/proc/self/attr/current"))
                .unwrap_or_default(),
            chroot: is_chroot(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            ids_are_mapped: has("/proc/self/uid_map", uid) && has("/proc/self/gid_map", gid),
            has_filter: has_filter(
                &std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
            ),
        }
    }
}

fn diagnose(facts: &UsernsFacts) -> Option<Hint> {
    if !facts.kernel_has_them {
        return Some(Hint::NoUserNamespaces);
    }
    if facts.max == Some(0) {
        return Some(Hint::MaxUserNamespaces);
    }
    if let Some(kind) = facts.none_of {
        return Some(Hint::Sysctl("user", format!("max_{kind}_namespaces"), 15000));
    }
    if facts.unprivileged_clone == Some(0) && !facts.is_root {
        return Some(Hint::UnprivilegedUsernsClone);
    }
    // The restriction is for processes without a profile; a profile grants its own rights.
    let unconfined = facts.apparmor_profile.is_empty() || facts.apparmor_profile == "unconfined";
    if facts.apparmor_restriction == Some(1) && unconfined && !facts.is_root {
        return Some(Hint::AppArmor);
    }
    if facts.chroot {
        return Some(Hint::Chroot);
    }
    if !facts.ids_are_mapped {
        return Some(Hint::UnmappedCaller);
    }
    facts.has_filter.then_some(Hint::SyscallFilter)
}

fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\n', '\0']).to_owned())
}

fn number_in(path: &str) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// True in a chroot: no mount is at the process's "/", which is a folder inside a mount. (A chroot into a mount point
/// looks like any other root from inside.)
fn is_chroot(mountinfo: &str) -> bool {
    !mountinfo.is_empty() && !mountinfo.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

fn is_mapped(map: &str, id: u32) -> bool {
    let covers = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (fields.next(), fields.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => {
                id.checked_sub(first).is_some_and(|offset| offset < count)
            }
            _ => false,
        }
    };
    map.lines().any(covers)
}

fn has_filter(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> UsernsFacts {
        UsernsFacts {
            kernel_has_them: true,
            is_root: false,
            none_of: None,
            max: Some(96365),
            unprivileged_clone: Some(1),
            apparmor_restriction: Some(0),
            apparmor_profile: "unconfined".into(),
            chroot: false,
            ids_are_mapped: true,
            has_filter: false,
        }
    }

    #[test]
    fn no_namespaces_of_a_kind_is_a_cause() {
        let facts = UsernsFacts { none_of: Some("net"), ..healthy() };
        let hint = diagnose(&facts).map(String::from).unwrap_or_default();
        assert!(hint.contains("user.max_net_namespaces=15000"), "{hint}");
    }

    #[test]
    fn each_cause_has_its_hint() {
        type Break = fn(&mut UsernsFacts);
        let cases: [(Break, Hint); 8] = [
            (|facts| facts.kernel_has_them = false, Hint::NoUserNamespaces),
            (|facts| facts.max = Some(0), Hint::MaxUserNamespaces),
            (|facts| facts.unprivileged_clone = Some(0), Hint::UnprivilegedUsernsClone),
            (|facts| facts.apparmor_restriction = Some(1), Hint::AppArmor),
            (|facts| facts.chroot = true, Hint::Chroot),
            (|facts| facts.ids_are_mapped = false, Hint::UnmappedCaller),
            (|facts| facts.has_filter = true, Hint::SyscallFilter),
            (|facts| (facts.has_filter, facts.max) = (true, Some(0)), Hint::MaxUserNamespaces),
        ];
        assert_eq!(diagnose(&healthy()), None);
        for (break_it, hint) in cases {
            let mut facts = healthy();
            break_it(&mut facts);
            assert_eq!(diagnose(&facts), Some(hint));
        }
    }

    #[test]
    fn a_profile_of_its_own_lifts_the_restriction_of_apparmor() {
        let mut facts = healthy();
        facts.apparmor_restriction = Some(1);
        facts.apparmor_profile = "usnea (unconfined)".into();
        assert_eq!(diagnose(&facts), None);
    }

    #[test]
    fn proc_files_are_read_as_they_are() {
        assert!(!is_chroot(
            "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n22 21 0:20 / /proc rw - proc proc rw\n"
        ));
        assert!(is_chroot("22 21 0:20 / /proc rw - proc proc rw\n"));
        assert!(is_mapped(
            "         0       1000          1\n         1     100000      65536\n",
            33
        ));
        assert!(!is_mapped("         0       1000          1\n", 1));
        assert!(has_filter("NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_filter("Seccomp:\t0\n"));
    }
}
