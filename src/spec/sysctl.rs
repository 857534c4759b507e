//! `--sysctl NAME=VALUE`: kernel parameters that belong to a namespace, so that a change in the container does not
//! affect the host. All others are refused.

use std::str::FromStr;

use super::namespace::NamespaceSharing;
use crate::error::{Context, Error, Result, Setting};
use crate::hint;

/// Parsed value of `--sysctl`. The name is in sysctl(8)'s dotted form; a dot within a part of the name is written as a
/// slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Parameter name in dotted form.
    pub name: String,
    /// Value to write.
    pub value: String,
}

impl FromStr for Sysctl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        Ok(Self { name: dotted(name)?, value: value.to_owned() })
    }
}

/// Converts a name to dotted form as sysctl(8): the first separator decides the form; in the slash form a dot is part
/// of a name.
fn dotted(name: &str) -> Result<String, String> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let dotted: String = if slashes { name.chars().map(swap).collect() } else { name.to_owned() };
    // A part becomes a name below /proc/sys: a part of dots alone would lead out of there.
    let part = |part: &str| {
        part.bytes().any(|byte| byte != b'/')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/:@".contains(&byte))
    };
    if !dotted.split('.').all(part) || !dotted.contains('.') {
        return Err(format!("'{name}' is not the name of a kernel parameter"));
    }
    Ok(dotted)
}

/// Refuses a parameter that the container may not set.
pub(super) fn refuse_hosts(
    sysctl: &Sysctl,
    ipc: &NamespaceSharing,
    network: &NamespaceSharing,
) -> Result<()> {
    let name = sysctl.name.as_str();
    let refusal = |why: &str, hint: &str| {
        Err(Error::invalid(why)).context(|| Setting::Sysctl.with(name)).hint(|| hint)
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if matches!(name, "kernel.hostname" | "kernel.domainname") {
        return refusal("is not set this way", hint::HOSTNAME);
    }
    if name == "kernel.sem" || begins(&["kernel.shm", "kernel.msg", "fs.mqueue."]) {
        return match ipc {
            NamespaceSharing::Private | NamespaceSharing::Joined(_) => Ok(()),
            NamespaceSharing::Host => {
                refusal("belongs to the host's IPC namespace", hint::NOT_IPC_HOST)
            }
        };
    }
    if begins(&["net."]) {
        return match network {
            NamespaceSharing::Private | NamespaceSharing::Joined(_) => Ok(()),
            NamespaceSharing::Host => {
                refusal("belongs to the host's network", hint::NOT_NETWORK_HOST)
            }
        };
    }
    refusal(
        "belongs to no namespace: it would be set for the whole machine",
        "kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* can be set",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_with_dots_or_slashes() {
        for (text, name, value) in [
            ("net.ipv4.ip_forward=1", "net.ipv4.ip_forward", "1"),
            ("net/ipv4/ip_forward=1", "net.ipv4.ip_forward", "1"),
            ("net/ipv4/conf/eth0.100/forwarding=1", "net.ipv4.conf.eth0/100.forwarding", "1"),
            ("net.ipv4.conf.eth0/100.forwarding=1", "net.ipv4.conf.eth0/100.forwarding", "1"),
            ("kernel.sem=250 32000=x", "kernel.sem", "250 32000=x"),
            ("kernel.shmmax=", "kernel.shmmax", ""),
        ] {
            let sysctl: Sysctl = text.parse().unwrap();
            assert_eq!((sysctl.name.as_str(), sysctl.value.as_str()), (name, value), "{text}");
        }
    }

    #[test]
    fn a_name_that_leads_out_of_proc_sys_is_refused() {
        for wrong in [
            "",
            "=1",
            "net",
            "net=1",
            ".=1",
            "net.=1",
            ".net=1",
            "net..ipv4=1",
            "net/../kernel/x=1",
            "net.//.kernel=1",
            "net.///.x=1",
            "net/ipv4/..=1",
            "net/./x=1",
            "/net/ipv4=1",
            "net.ipv4 x=1",
            "net.\0=1",
        ] {
            assert!(wrong.parse::<Sysctl>().is_err(), "{wrong}");
        }
    }

    const PRIVATE: NamespaceSharing = NamespaceSharing::Private;
    const HOST: NamespaceSharing = NamespaceSharing::Host;

    #[test]
    fn only_what_belongs_to_a_namespace_of_the_container_is_allowed() {
        let refused = |name: &str, ipc, network| {
            let sysctl = format!("{name}=1").parse().unwrap();
            refuse_hosts(&sysctl, ipc, network).is_err()
        };
        for name in [
            "kernel.shmmax",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shm_rmid_forced",
            "fs.mqueue.msg_max",
        ] {
            assert!(!refused(name, &PRIVATE, &HOST), "{name}");
            assert!(refused(name, &HOST, &PRIVATE), "{name}");
        }
        assert!(!refused("net.core.somaxconn", &HOST, &PRIVATE));
        assert!(refused("net.core.somaxconn", &PRIVATE, &HOST));
        for name in [
            "kernel.hostname",
            "kernel.domainname",
            "kernel.pid_max",
            "vm.swappiness",
            "fs.file-max",
            "network.x",
        ] {
            assert!(refused(name, &PRIVATE, &PRIVATE), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_name_is_dots_alone(text in "[a./]{0,12}=1") {
            if let Ok(sysctl) = text.parse::<Sysctl>() {
                for part in sysctl.name.split('.') {
                    prop_assert!(part.contains('a'));
                }
            }
        }
    }
}
