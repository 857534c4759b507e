//! `--ulimit NAME=SOFT[:HARD]`.

use std::str::FromStr;

use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use rustix::process::Resource;

use crate::error::{Error, Result, Setting};

/// Parsed value of `--ulimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ulimit {
    /// All of the caller's limits, unchanged.
    Host,
    /// Limit of a single resource. `u64::MAX` (RLIM_INFINITY) is unlimited.
    Limit {
        /// Index into the table of names.
        name: usize,
        /// Soft limit, which applies to processes.
        soft: u64,
        /// Hard limit, up to which processes may raise the soft limit.
        hard: u64,
    },
}

const UNLIMITED: u64 = u64::MAX;

/// Names of the limits: docker's (and `as`, podman's), the OCI's, the kernel's.
const NAMES: [(&str, PosixRlimitType, Resource); 16] = [
    ("as", PosixRlimitType::RlimitAs, Resource::As),
    ("core", PosixRlimitType::RlimitCore, Resource::Core),
    ("cpu", PosixRlimitType::RlimitCpu, Resource::Cpu),
    ("data", PosixRlimitType::RlimitData, Resource::Data),
    ("fsize", PosixRlimitType::RlimitFsize, Resource::Fsize),
    ("locks", PosixRlimitType::RlimitLocks, Resource::Locks),
    ("memlock", PosixRlimitType::RlimitMemlock, Resource::Memlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue, Resource::Msgqueue),
    ("nice", PosixRlimitType::RlimitNice, Resource::Nice),
    ("nofile", PosixRlimitType::RlimitNofile, Resource::Nofile),
    ("nproc", PosixRlimitType::RlimitNproc, Resource::Nproc),
    ("rss", PosixRlimitType::RlimitRss, Resource::Rss),
    ("rtprio", PosixRlimitType::RlimitRtprio, Resource::Rtprio),
    ("rttime", PosixRlimitType::RlimitRttime, Resource::Rttime),
    ("sigpending", PosixRlimitType::RlimitSigpending, Resource::Sigpending),
    ("stack", PosixRlimitType::RlimitStack, Resource::Stack),
];

fn parse_limit(text: &str) -> Result<u64, String> {
    match text {
        "-1" | "unlimited" => Ok(UNLIMITED),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map_err(|_| format!("'{text}' is not a limit"))
        }
        _ => Err(format!("'{text}' is not a limit: expected a number or -1")),
    }
}

impl FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let (name, limits) = text.split_once('=').ok_or("expected NAME=SOFT[:HARD] or host")?;
        let index = NAMES
            .iter()
            .position(|(known, ..)| *known == name)
            .ok_or_else(|| format!("'{name}' is not a resource limit"))?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (parse_limit(soft)?, parse_limit(hard)?);
        if soft > hard {
            return Err("the soft limit is above the hard limit".into());
        }
        Ok(Self::Limit { name: index, soft, hard })
    }
}

/// Returns the limits to set; the last value for a resource counts. Errors: a hard limit above the caller's own, which
/// only root could raise (setrlimit(2): CAP_SYS_RESOURCE in the first user namespace).
pub(super) fn limits(asked: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    let mut limits: [Option<(u64, u64)>; NAMES.len()] = [None; NAMES.len()];
    for ulimit in asked {
        match *ulimit {
            Ulimit::Host => limits = NAMES.map(|(.., resource)| Some(own(resource))),
            Ulimit::Limit { name, soft, hard } => {
                refuse_above_own(name, hard)?;
                limits[name] = Some((soft, hard));
            }
        }
    }
    let set = |((_, kind, _), limit): (_, Option<(u64, u64)>)| limit.map(|limit| (kind, limit));
    NAMES
        .into_iter()
        .zip(limits)
        .filter_map(set)
        .map(|(kind, (soft, hard))| {
            let limit = PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard);
            limit.build().map_err(Error::new)
        })
        .collect()
}

fn own(resource: Resource) -> (u64, u64) {
    let own = rustix::process::getrlimit(resource);
    (own.current.unwrap_or(UNLIMITED), own.maximum.unwrap_or(UNLIMITED))
}

fn refuse_above_own(name: usize, hard: u64) -> Result<()> {
    let (name, _, resource) = NAMES[name];
    let (_, own) = own(resource);
    if hard <= own {
        return Ok(());
    }
    let asked = if hard == UNLIMITED { "unlimited".to_owned() } else { hard.to_string() };
    let error = format!("{asked} is above your own hard limit of {own}");
    Err(Error::refused(error).within(Setting::Ulimit.with(name)).hint(format!(
        "only root can raise a hard limit (limits.conf(5), or LimitNOFILE= and its like in systemd): ask for at most {own}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_one_number_or_two() {
        let limit = |text: &str| match text.parse() {
            Ok(Ulimit::Limit { name, soft, hard }) => (NAMES[name].0, soft, hard),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(limit("nofile=1024:2048"), ("nofile", 1024, 2048));
        assert_eq!(limit("core=0"), ("core", 0, 0));
        assert_eq!(limit("cpu=5:-1"), ("cpu", 5, UNLIMITED));
        assert_eq!(limit("stack=unlimited"), ("stack", UNLIMITED, UNLIMITED));
        assert_eq!("host".parse(), Ok(Ulimit::Host));
    }

    #[test]
    fn an_invalid_limit_is_refused() {
        for wrong in [
            "",
            "nofile",
            "nofile=",
            "nofile=a",
            "nofile=+1",
            "nofile=-2",
            "nofile=1:",
            "nofile=:1",
            "nofile=2:1",
            "nofile=-1:5",
            "nofile=1:2:3",
            "NOFILE=1",
            "files=1",
            "nofile=18446744073709551616",
            "host=1",
        ] {
            assert!(wrong.parse::<Ulimit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hard_limit_above_our_own_is_refused_before_anything_runs() {
        let (_, own) = own(Resource::Nofile);
        let asked = format!("nofile={}", own.saturating_add(1));
        if own == UNLIMITED {
            return;
        }
        let error = limits(&[asked.parse().unwrap()]).unwrap_err();
        assert!(error.to_string().starts_with("--ulimit nofile: "), "{error}");
        assert!(error.hint_text().is_some());
    }

    #[test]
    fn of_two_limits_for_one_resource_the_last_counts() {
        let asked = ["core=5:5", "host", "core=0:0"].map(|text| text.parse().unwrap());
        let limits = limits(&asked).unwrap();
        assert_eq!(limits.len(), NAMES.len());
        let core = limits.iter().find(|limit| limit.typ() == PosixRlimitType::RlimitCore).unwrap();
        assert_eq!((core.soft(), core.hard()), (0, 0));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(nofile=)?\\PC*") {
            let _ = text.parse::<Ulimit>();
        }
    }
}
