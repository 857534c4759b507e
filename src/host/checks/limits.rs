//! Checks of limited numbers: namespaces, watches, keys, descriptors, processes.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::first_line;
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::limits::KINDS;

pub(super) fn all() -> Vec<Finding> {
    vec![namespaces(), inotify(), keys(), resource_limits()]
}

fn number(path: &str) -> Option<u64> {
    first_line(path)?.parse().ok()
}

fn namespaces() -> Finding {
    let name = "namespace limits";
    let limit = |kind: &&'static str| {
        Some((number(&format!("/proc/sys/user/max_{kind}_namespaces"))?, *kind))
    };
    match KINDS.iter().filter_map(limit).min() {
        Some((0, kind)) => Finding::missing(name, format!("user.max_{kind}_namespaces is 0"))
            .costs(format!("no container can have a {kind} namespace of its own"))
            .fix(Hint::Sysctl("user", format!("max_{kind}_namespaces"), 15000).to_string()),
        Some((max, kind)) if max < 128 => {
            Finding::degraded(name, format!("user.max_{kind}_namespaces is {max}"))
                .costs(format!("no more than about {} containers at once", max / 2))
                .fix(Hint::Sysctl("user", format!("max_{kind}_namespaces"), 15000).to_string())
        }
        Some((max, _)) => Finding::ok(name, format!("{max} of each kind, or more")),
        None => Finding::ok(name, "none known"),
    }
}

fn inotify() -> Finding {
    let name = "inotify";
    let instances = number("/proc/sys/fs/inotify/max_user_instances").unwrap_or(128);
    let watches = number("/proc/sys/fs/inotify/max_user_watches").unwrap_or(8192);
    let found = format!("{instances} instances, {watches} watches");
    let fix = |what: &str, value| {
        Hint::Sysctl("fs.inotify", format!("max_user_{what}"), value).to_string()
    };
    let costs = "programs in containers that watch files (editors, servers in development, kubelets) may fail";
    if instances < 128 {
        return Finding::degraded(name, found).costs(costs).fix(fix("instances", 1024));
    }
    if watches < 8192 {
        return Finding::degraded(name, found).costs(costs).fix(fix("watches", 524_288));
    }
    Finding::ok(name, found)
}

fn keys() -> Finding {
    let name = "kernel keys";
    let users = std::fs::read_to_string("/proc/key-users").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let Some((used, max)) = key_quota(&users, uid) else {
        return Finding::ok(name, "none in use");
    };
    let found = format!("{used} of {max} in use");
    if used * 10 < max * 9 {
        return Finding::ok(name, found);
    }
    Finding::degraded(name, found)
        .costs("programs that keep keys (logins, Kerberos, other container tools) soon get 'Disk quota exceeded'")
        .fix(Hint::Sysctl("kernel.keys", "maxkeys".into(), 2000).to_string())
}

/// Parses `1002:     2 2/2 2/200 28/20000` (proc_key_users(5)): user, usage, keys, and keys counted against the quota.
fn key_quota(users: &str, uid: u32) -> Option<(u64, u64)> {
    let line = users.lines().find_map(|line| {
        let (user, rest) = line.split_once(':')?;
        (user.trim().parse() == Ok(uid)).then_some(rest)
    })?;
    let (used, max) = line.split_whitespace().nth(2)?.split_once('/')?;
    Some((used.parse().ok()?, max.parse().ok()?))
}

fn resource_limits() -> Finding {
    let name = "ulimits";
    let limits = [
        (Resource::RLIMIT_NOFILE, "open files", "-n", 1024),
        (Resource::RLIMIT_NPROC, "processes", "-u", 256),
    ];
    let mut found = Vec::new();
    for (resource, what, option, enough) in limits {
        let (soft, hard) = getrlimit(resource).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
        if soft < enough {
            let fix = if hard >= enough {
                format!("ulimit {option} {enough}")
            } else {
                Hint::Ulimits.to_string()
            };
            return Finding::degraded(name, format!("{soft} {what}"))
                .costs("larger programs in containers fail with 'Too many open files' or 'cannot fork'")
                .fix(fix);
        }
        found.push(if soft == RLIM_INFINITY {
            format!("any number of {what}")
        } else {
            format!("{soft} {what}")
        });
    }
    Finding::ok(name, found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_of_keys_is_the_users_own() {
        let users = "    0:     9 8/8 3/1000000 48/25000000\n 1002:     2 2/2 2/200 28/20000\n";
        assert_eq!(key_quota(users, 1002), Some((2, 200)));
        assert_eq!(key_quota(users, 0), Some((3, 1_000_000)));
        assert_eq!(key_quota(users, 2), None);
        assert_eq!(key_quota("broken", 2), None);
    }
}
