//! Checks of user namespaces, mounts in them, and IDs for them. No container can run without the first two.

use std::process::Command;

use super::is_real_root;
use crate::error::{Context, Result};
use crate::fail;
use crate::host::distribution::Package;
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::idmap_helpers::{self, IdmapHelpers};
use crate::host::subid::{self, SubidKind, SubidRange, SubidRanges};
use crate::host::{account, program, trial, userns};
use crate::sys::mount::{self, Attributes};
use crate::sys::namespace::Namespaces;
use crate::sys::process;

/// Number of IDs that an image may expect: the 16 bits that user IDs once had.
const ENOUGH: u64 = 65536;

pub(super) fn user_namespace() -> Finding {
    let name = "user namespace";
    let look = || match rustix::process::getuid().as_raw() {
        0 => Ok("works; root inside is you outside".to_owned()),
        other => fail!("the map was written and the user inside is {other}, not 0"),
    };
    match trial::run(Namespaces::USER, trial::map_own_ids, look) {
        Ok(found) => Finding::ok(name, found),
        Err(error) => Finding::missing(name, error.to_string())
            .costs("no container can run")
            .fix(userns::forbidden_hint()),
    }
    .essential()
}

pub(super) fn mounts() -> Finding {
    let name = "namespaces, mounts";
    let namespaces =
        [Namespaces::PID, Namespaces::UTS, Namespaces::IPC, Namespaces::NET, Namespaces::CGROUP]
            .into_iter()
            .fold(Namespaces::USER.with(Namespaces::MOUNT), Namespaces::with);
    let mount = || {
        mount::make("tmpfs", "tmpfs", &[], Attributes::NO_SUID)
            .context(|| "cannot mount a tmpfs")?;
        // mount_too_revealing() in the kernel refuses a new proc while parts of the present one are covered.
        mount::make("proc", "proc", &[], Attributes::NO_SUID)
            .context(|| "cannot mount proc")
            .hint(|| Hint::MaskedProc)?;
        Ok("user, mnt, pid, uts, ipc, net and cgroup made; tmpfs and proc mounted in them"
            .to_owned())
    };
    match trial::run(namespaces, trial::map_own_ids, mount) {
        Ok(found) => Finding::ok(name, found),
        Err(error) => Finding::missing(name, error.to_string())
            .costs("no container can run")
            .fix(error.hint_text().map(str::to_owned).or_else(userns::forbidden_hint)),
    }
    .essential()
}

pub(super) fn subordinate_ids() -> Finding {
    let name = "subordinate IDs";
    let costs = "every file in a container is yours, its other users exist in appearance only";
    let ranges = match subid::granted() {
        Ok(ranges) => ranges,
        Err(error) => return Finding::missing(name, error.to_string()).costs(costs),
    };
    let count = subid::total(&ranges.uids).min(subid::total(&ranges.gids));
    let found = describe(&ranges);
    let fix = || match subid::other_source() {
        Some(source) => format!(
            "ask the administrator of '{source}' (nsswitch.conf) for a range, and {}",
            getsubids()
        ),
        None if !userns::in_initial_namespace() => Hint::NestedIds.to_string(),
        None => subid::missing_hint().to_string(),
    };
    if count == 0 && is_real_root() {
        return Finding::ok(name, "none, and root needs none");
    }
    if count == 0 {
        return Finding::missing(name, found).costs(costs).fix(fix());
    }
    if let Some(other) = overlap(&ranges) {
        return Finding::degraded(name, format!("{found}, and some of them are also {other}'s"))
            .costs(format!(
                "{other} can read and change files of your containers, and you those of theirs"
            ))
            .fix(format!("sudoedit {} {}", SubidKind::Users.file(), SubidKind::Groups.file()));
    }
    if count < ENOUGH {
        return Finding::degraded(name, found)
            .costs(format!(
                "files of IDs above {count} in an image are not stored with their owner"
            ))
            .fix(fix());
    }
    Finding::ok(name, found)
}

fn getsubids() -> String {
    match subid::getsubids() {
        Some(path) => format!("see what '{} {}' says", path.display(), account::own_name()),
        None => Hint::Install(Package::Getsubids).to_string(),
    }
}

fn describe(ranges: &SubidRanges) -> String {
    let list = |ranges: &[SubidRange]| match ranges {
        [] => "none".to_owned(),
        ranges => ranges
            .iter()
            .map(|range| format!("{}+{}", range.first, range.count))
            .collect::<Vec<_>>()
            .join(", "),
    };
    match (list(&ranges.uids), list(&ranges.gids)) {
        (uids, gids) if uids == gids => uids,
        (uids, gids) => format!("users {uids}; groups {gids}"),
    }
}

/// Returns another user who was granted some of the same IDs.
fn overlap(ranges: &SubidRanges) -> Option<String> {
    let me = rustix::process::getuid().as_raw();
    let names = account::names_of(me);
    let other_in = |kind: SubidKind, ours: &[SubidRange]| {
        let file = std::fs::read_to_string(kind.file()).ok()?;
        let mut lines = file.lines().filter_map(subid::parse_line);
        lines.find_map(|(owner, range)| {
            let theirs = !names.iter().any(|name| name == owner) && owner != me.to_string();
            (theirs && ours.iter().any(|our| our.common(range).is_some())).then(|| owner.to_owned())
        })
    };
    other_in(SubidKind::Users, &ranges.uids).or_else(|| other_in(SubidKind::Groups, &ranges.gids))
}

pub(super) fn idmap_helpers() -> Finding {
    let name = "newuidmap, newgidmap";
    let costs = "subordinate IDs cannot be used: every file in a container is yours";
    let Some(helpers) = idmap_helpers::find() else {
        let why = idmap_helpers::why_unusable().unwrap_or_default();
        if is_real_root() {
            return Finding::ok(name, format!("{why}, and root needs none"));
        }
        return Finding::missing(name, why)
            .costs(costs)
            .fix(idmap_helpers::hint().map(String::from));
    };
    let found = format!("{} and {}", helpers.newuidmap.display(), helpers.newgidmap.display());
    match subid::of_user() {
        Ok(Some(ranges)) => match really_map(&helpers, &ranges) {
            Ok(_) => Finding::ok(name, format!("{found}, both work")),
            Err(error) => {
                Finding::missing(name, error.to_string()).costs(costs).fix(userns::forbidden_hint())
            }
        },
        _ => Finding::ok(name, format!("{found} (not tried: no subordinate IDs to map)")),
    }
}

/// Maps all the caller's IDs into a child by the two programs; the child then becomes its user 1.
fn really_map(helpers: &IdmapHelpers, ranges: &SubidRanges) -> Result<String> {
    let map = |pid: i32| {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        write_map(Command::new(&helpers.newuidmap), pid, uid, &ranges.uids)?;
        write_map(Command::new(&helpers.newgidmap), pid, gid, &ranges.gids)
    };
    trial::run(Namespaces::USER, map, || {
        process::become_user(1, 1)
            .context(|| "the maps were written, but user 1 does not exist inside")?;
        Ok(String::new())
    })
}

fn write_map(mut command: Command, pid: i32, own: u32, ranges: &[SubidRange]) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.arg(pid.to_string()).args(["0", &own.to_string(), "1"]);
    let mut inside = 1;
    for range in ranges {
        command.args([inside, range.first, range.count].map(|number| number.to_string()));
        inside += range.count;
    }
    let answer =
        program::ask(&mut command, trial::PATIENCE).context(|| format!("cannot run {program}"))?;
    if !answer.status.success() {
        fail!("{program} fails: {}", answer.complaint.trim());
    }
    Ok(())
}
