//! Check of control groups: whether limits can be set.

use super::is_real_root;
use crate::hint;
use crate::host::cgroup::{self, CgroupVersion, DelegatedCgroup};
use crate::host::finding::Finding;
use crate::host::hint::Hint;

const NAME: &str = "cgroups";
const NO_LIMITS: &str = hint::COST_NO_LIMITS;

pub(super) fn cgroups() -> Finding {
    let version = match cgroup::version() {
        CgroupVersion::V2 => return delegation(),
        CgroupVersion::Hybrid => "version 1 with an empty version 2 beside it",
        CgroupVersion::V1 => "version 1",
        CgroupVersion::None => "none mounted on /sys/fs/cgroup",
    };
    Finding::degraded(NAME, format!("{version} (version 2 is needed)"))
        .costs(NO_LIMITS)
        .fix(Hint::CgroupVersion2.to_string())
}

fn delegation() -> Finding {
    let own = cgroup::own().filter(|own| own.writable);
    let found = match (own, cgroup::of_user_manager().filter(|manager| manager.writable)) {
        (Some(own), _) => Some((own, "this process's own is delegated to you")),
        (None, Some(manager)) => Some((manager, "the systemd user manager can delegate one")),
        (None, None) => None,
    };
    match found {
        Some((delegation, how)) => controllers(&delegation, how),
        None if is_real_root() => Finding::ok(NAME, "version 2, writable for root"),
        None => Finding::degraded(NAME, "version 2, and none is delegated to you")
            .costs(NO_LIMITS)
            .fix(Hint::NoUserManager.to_string()),
    }
}

fn controllers(delegation: &DelegatedCgroup, how: &str) -> Finding {
    let has = match delegation.controllers.join(" ") {
        none if none.is_empty() => "no controller".to_owned(),
        some => some,
    };
    let found = format!("version 2, {how}: {has}");
    let missing = delegation.missing();
    if missing.is_empty() {
        return Finding::ok(NAME, found);
    }
    Finding::degraded(NAME, format!("{found}; not {}", missing.join(" ")))
        .costs(format!("limits are refused where they need {}", missing.join(" or ")))
        .fix(Hint::Delegate.to_string())
}
