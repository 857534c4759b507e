//! Checks of the kernel, of its filters, and of filters that restrict usnea.

use super::first_line;
use crate::hint;
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::kernel::{self, KernelVersion};
use crate::host::userns;
use crate::sys::probe;

/// First kernel with mount_setattr(2), the youngest call that a container is made with.
const COMFORTABLE: KernelVersion = KernelVersion(5, 12);

pub(super) fn kernel() -> Finding {
    let name = "kernel";
    let release = kernel::release();
    if kernel::version() >= COMFORTABLE {
        return Finding::ok(name, release);
    }
    Finding::degraded(name, format!("{release} (older than {COMFORTABLE})"))
        .costs("layers are stacked without the kernel's help, and some options are refused")
        .fix(Hint::Kernel(COMFORTABLE).to_string())
}

pub(super) fn all() -> Vec<Finding> {
    vec![seccomp(), landlock(), mandatory_access_control()]
}

fn seccomp() -> Finding {
    let name = "seccomp";
    let Some(actions) = first_line("/proc/sys/kernel/seccomp/actions_avail") else {
        return Finding::missing(name, "this kernel has no system-call filters")
            .costs(hint::COST_NO_FILTERS)
            .fix(Hint::KernelOption("CONFIG_SECCOMP_FILTER").to_string());
    };
    if actions.split(' ').any(|action| action == "user_notif") {
        return Finding::ok(name, "filters, and user notification");
    }
    Finding::degraded(name, "filters; no user notification")
        .costs("root emulation, which needs user notification, cannot be used")
        .fix(Hint::Kernel(KernelVersion(5, 0)).to_string())
}

fn landlock() -> Finding {
    let name = "landlock";
    match probe::landlock_version() {
        Ok(version) => Finding::ok(name, format!("version {version}")),
        Err(_) => Finding::degraded(name, "not in this kernel, or not enabled")
            .costs("usnea's own servers are confined by namespaces alone")
            .fix(Hint::KernelOption("CONFIG_SECURITY_LANDLOCK").to_string()),
    }
}

fn mandatory_access_control() -> Finding {
    let name = "AppArmor, SELinux";
    if userns::apparmor_restricts() {
        return Finding::degraded(
            name,
            "AppArmor restricts user namespaces of programs without a profile",
        )
        .costs("may be the cause if a user namespace cannot be made or used")
        .fix(Hint::AppArmor.to_string());
    }
    let apparmor =
        first_line("/sys/module/apparmor/parameters/enabled").is_some_and(|enabled| enabled == "Y");
    let found = match (first_line("/sys/fs/selinux/enforce").as_deref(), apparmor) {
        (Some("1"), _) => {
            "SELinux enforces; it leaves user namespaces alone unless its policy says otherwise"
        }
        (Some(_), _) => "SELinux is permissive",
        (None, true) => "AppArmor, without a restriction of user namespaces",
        (None, false) => "neither restricts you",
    };
    Finding::ok(name, found)
}
