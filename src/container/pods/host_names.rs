//! Names of members in the /etc/hosts of all members: they reach each other at localhost (podman's rule).

use std::path::Path;

use super::known::Pod;
use crate::container::Container;
use crate::error::Result;
use crate::files::{self, Lock};
use crate::monitor::pod::{self, PodRecord};
use crate::net::{HOSTS, Mode, Network, namespace};

/// Lock on the files of the members, which are changed one after the other.
const HOSTS_LOCK: &str = "hosts.lock";

/// True if the members have an /etc/hosts of ours, for a network that is not the host's.
fn has_hosts(pod: &PodRecord) -> bool {
    pod.has_network() && pod.network.mode != Mode::Host && pod.network.hosts.is_some()
}

/// Adds the names of all members to the files of one that is about to start.
pub(super) fn add_all(network: &mut Network, pod: &PodRecord, store: &Path) -> Result<()> {
    let Some(file) = network.files.iter_mut().find(|file| file.path == HOSTS) else {
        return Ok(());
    };
    if has_hosts(pod) {
        for member in super::members(store, &pod.id)? {
            file.content.extend(line(&file.content, &member.record.name));
        }
    }
    Ok(())
}

/// Adds the name of a member that has just started to the files of all that run. Its own is a copy of another member's.
pub(in crate::container) fn tell_members(container: &Container) -> Result<()> {
    let Some(id) = &container.record.pod else { return Ok(()) };
    let Some(pod) = Pod::open(&container.store, id)?.filter(|pod| has_hosts(&pod.record)) else {
        return Ok(());
    };
    let folder = pod::folder(&container.store, id);
    let _lock = files::lock_file(&folder.join(HOSTS_LOCK), Lock::Exclusive)?;
    let name = &container.record.name;
    for member in pod.members()? {
        let status = member.status()?;
        let is_here = status.is_running() && status.elsewhere().is_none();
        let Some(state) = status.state().filter(|_| is_here) else { continue };
        let add = |text: &str| line(text, name).map(|line| text.to_owned() + &line);
        // A member that has ended meanwhile, or has a file of its own, is no reason not to tell the rest.
        if let Err(error) = namespace::edit_generated(state.process.pid, Path::new(HOSTS), add) {
            log::debug!("container {}: {error}", member.record.name);
        }
    }
    Ok(())
}

/// Returns the line of hosts(5) for a member. `None`: the text has the name already.
fn line(text: &str, name: &str) -> Option<String> {
    let has_name = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).any(|word| word == name)
    };
    (!text.lines().any(has_name)).then(|| format!("127.0.0.1\t{name}\n"))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_name_has_one_line() {
        let text = "127.0.0.1\tlocalhost\n127.0.0.1 shop web # db\n";
        assert_eq!(line(text, "db").as_deref(), Some("127.0.0.1\tdb\n"));
        assert_eq!((line(text, "web"), line(text, "shop")), (None, None));
        assert!(line(text, "127.0.0.1").is_some());
    }
}
