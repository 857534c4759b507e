//! Checks of a container's network: the helper programs, and the kernel's permissions for them.

use std::fs::File;

use super::first_line;
use crate::error::Error;
use crate::hint;
use crate::host::finding::{Finding, FindingStatus};
use crate::host::hint::Hint;
use crate::host::limits;
use crate::host::network_helper::{self, NetworkHelper};

pub(super) fn all(default: Result<&str, &Error>) -> Vec<Finding> {
    let tun = tun();
    let default = default_network(default, &tun);
    vec![helpers(), tun, default, ping(), ports()]
}

/// Checks the network of containers whose flags name none.
fn default_network(default: Result<&str, &Error>, tun: &Finding) -> Finding {
    let name = "default network";
    let word = match default {
        Ok(word @ ("none" | "host")) => {
            return Finding::ok(name, format!("{word}, by usnea.toml"));
        }
        Ok(word) => word,
        Err(error) => {
            return Finding::missing(name, error.to_string())
                .costs("containers that name no network do not start");
        }
    };
    let wanted = NetworkHelper::ALL.into_iter().find(|helper| helper.name() == word);
    let offline = |found: String| {
        Finding::degraded(name, found)
            .costs("containers that name no network have a loopback interface alone")
    };
    match network_helper::installed(wanted, None).first() {
        None => offline(format!("{word}, and the helper for it is missing"))
            .fix(Hint::Install(wanted.unwrap_or(NetworkHelper::Pasta).package()).to_string()),
        Some(_) if tun.status != FindingStatus::Ok => {
            offline(format!("{word}, and /dev/net/tun is missing"))
                .fix(Hint::LoadModule("tun").to_string())
        }
        Some((helper, _)) => Finding::ok(name, format!("{word}, connected by {}", helper.name())),
    }
}

fn helpers() -> Finding {
    let name = "network helper";
    let here = NetworkHelper::ALL.map(|one| {
        let path = one.find()?;
        let version = network_helper::version(&path);
        Some((format!("{} ({version})", path.display()), version))
    });
    let is_old = here[0].as_ref().is_some_and(|(_, version)| !network_helper::is_mature(version));
    let found = here.map(|here| here.map(|(shown, _)| shown));
    match found {
        [Some(pasta), None] if is_old => {
            Finding::degraded(name, format!("{pasta}, of before February 2024; no slirp4netns"))
                .costs("some connections of containers do not end, or have bytes twice")
                .fix(Hint::Install(NetworkHelper::Slirp4netns.package()).to_string())
        }
        [None, None] => Finding::missing(name, "neither pasta nor slirp4netns is installed")
            .costs(hint::COST_NO_NETWORK_HELPER)
            .fix(Hint::Install(NetworkHelper::Pasta.package()).to_string()),
        [None, Some(slirp)] => Finding::degraded(name, format!("{slirp}; no pasta"))
            .costs("published ports are for IPv4 alone")
            .fix(Hint::Install(NetworkHelper::Pasta.package()).to_string()),
        found => Finding::ok(name, found.into_iter().flatten().collect::<Vec<_>>().join(", ")),
    }
}

fn tun() -> Finding {
    let name = "/dev/net/tun";
    match File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Finding::ok(name, "opens for reading and writing"),
        Err(error) => Finding::missing(
            name,
            format!("cannot be opened: {}", crate::error::Error::from(error)),
        )
        .costs(hint::COST_NO_TUN)
        .fix(Hint::LoadModule("tun").to_string()),
    }
}

fn ping() -> Finding {
    let name = "ping";
    let range =
        first_line("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default().replace('\t', " ");
    let groups = nix::unistd::getgroups().unwrap_or_default();
    let mut groups =
        groups.iter().map(|gid| gid.as_raw()).chain([rustix::process::getegid().as_raw()]);
    if groups.any(|gid| is_in_range(&range, gid)) {
        return Finding::ok(name, format!("groups {range} may ping"));
    }
    Finding::degraded(
        name,
        format!("no group of yours may ping (net.ipv4.ping_group_range is {range})"),
    )
    .costs("ping from a container reaches nothing outside")
    .fix(Hint::Ping.to_string())
}

fn is_in_range(range: &str, gid: u32) -> bool {
    let ends: Vec<u32> = range.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    matches!(ends[..], [first, last] if (first..=last).contains(&gid))
}

fn ports() -> Finding {
    let name = "published ports";
    match limits::first_unprivileged_port() {
        0 | 1 => Finding::ok(name, "any port may be published"),
        first => Finding::ok(name, format!("ports from {first} on may be published"))
            .fix(Hint::LowPorts(80).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upside_down_range_holds_nobody() {
        assert!(!is_in_range("1\t0", 0));
        assert!(is_in_range("0 2147483647", 1000));
        assert!(!is_in_range("", 0));
    }
}
