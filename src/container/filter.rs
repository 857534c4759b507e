//! `--filter` of containers: docker's and podman's keys. Several values of one key are alternatives, and each key must
//! match. Each `label` and `label!` must match by itself.

mod ancestor;
mod port;

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::networks::{self, KnownNetwork};
use super::pods;
use super::volumes;
use super::{Container, find_in};
use crate::error::{Context, Error, ErrorKind, Result, Setting};
use crate::expression::Expression;
use crate::monitor::Status;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::STOPPED;
use crate::net::Mode;
use ancestor::Ancestor;
use port::Ports;

/// List of all keys, for hints.
const KEYS: &str = "id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy, health, volume, \
                    network, publish, expose, command, pod, should-start-on-boot, is-task";

/// Filter of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerFilter {
    /// Prefix of an ID, or a regular expression.
    Id(Expression),
    /// Regular expression that matches a name; docker's names have a slash in front.
    Name(Expression),
    /// Label of the container: KEY, or KEY=VALUE.
    Label(String),
    /// Label that the container must not have.
    NoLabel(String),
    /// docker's word for a status.
    Status(String),
    /// Exit status of an ended container.
    Exited(u8),
    /// Image that the container was made from, or that its image was built on.
    Ancestor(Ancestor),
    /// Container (name or ID) that is newer than this container.
    Before(String),
    /// Container (name or ID) that is older than this container.
    Since(String),
    /// Time before which the container was made.
    Until(Timestamp),
    /// Name of the restart policy.
    RestartPolicy(String),
    /// True for containers that a boot starts: policy always, or unless-stopped and not stopped on purpose (podman's).
    StartOnBoot(bool),
    /// Volume that the container mounts: its name, or its mount point in the container.
    Volume(String),
    /// docker's word for the health.
    Health(String),
    /// Name or ID of the network.
    Network(String),
    /// Name of the pod, or beginning of its ID.
    Pod(String),
    /// Port of the host that is published for the container.
    Publish(Ports),
    /// Published or exposed port of the container.
    Expose(Ports),
    /// First word of the command.
    Command(String),
    /// Filter that matches no container.
    Never,
    /// Filter that matches every container.
    Always,
}

impl FromStr for ContainerFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let phrase = || Setting::Filter.with(text.escape_debug());
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::invalid("it is KEY=VALUE").hint(KEYS)).context(phrase);
        };
        // docker's rule: spaces and the case of the key are ignored.
        let key = key.trim().to_ascii_lowercase();
        let is_inverted = key.ends_with('!');
        let key = key.trim_end_matches('!');
        let value = value.trim().to_owned();
        let bad = |why: &str| Err(Error::invalid(why)).context(phrase);
        Ok(match (key, is_inverted) {
            ("label", true) => Self::NoLabel(value),
            (_, true) => return bad("only label can be inverted"),
            ("id", _) => Self::Id(value.parse().context(phrase)?),
            ("name", _) => Self::Name(value.parse().context(phrase)?),
            ("label", _) => Self::Label(value),
            ("status", _) => match value.as_str() {
                "created" | "running" | "restarting" | "exited" | "paused" | "removing"
                | "dead" => Self::Status(value),
                "stopped" => Self::Status("exited".into()),
                "configured" | "initialized" => Self::Status("created".into()),
                _ => return bad("created, running, restarting, paused, exited"),
            },
            ("exited", _) => match value.parse() {
                Ok(status) => Self::Exited(status),
                Err(_) => return bad("an exit status is 0 to 255"),
            },
            ("ancestor", _) => Self::Ancestor(Ancestor::new(value)),
            ("before", _) => Self::Before(value),
            ("since", _) => Self::Since(value),
            ("until", _) => match super::time::moment(&value) {
                Some(time) => Self::Until(time),
                None => return bad("a time, or how long ago"),
            },
            ("health", _) => match value.as_str() {
                "starting" | "healthy" | "unhealthy" | "none" => Self::Health(value),
                _ => return bad("starting, healthy, unhealthy, none"),
            },
            ("restart-policy", _) => Self::RestartPolicy(value),
            ("should-start-on-boot", _) => Self::StartOnBoot(truth(&value).context(phrase)?),
            ("volume", _) => Self::Volume(value),
            ("network", _) => Self::Network(value),
            ("publish", _) => Self::Publish(value.parse().map_err(Error::new).context(phrase)?),
            ("expose", _) => Self::Expose(value.parse().map_err(Error::new).context(phrase)?),
            ("command", _) => Self::Command(value),
            ("pod", _) => Self::Pod(value),
            // usnea has no swarm mode, and so no tasks.
            ("is-task", _) => match truth(&value).context(phrase)? {
                true => Self::Never,
                false => Self::Always,
            },
            _ => {
                let error = format!("there is no filter {key}");
                return Err(Error::invalid(error).hint(KEYS)).context(phrase);
            }
        })
    }
}

impl ContainerFilter {
    fn key(&self) -> u8 {
        match self {
            Self::Id(_) => 0,
            Self::Name(_) => 1,
            Self::Status(_) => 2,
            Self::Exited(_) => 3,
            Self::Ancestor(_) => 4,
            Self::RestartPolicy(_) => 5,
            Self::Volume(_) => 6,
            Self::Health(_) => 7,
            Self::Network(_) => 8,
            // docker's rule: `publish` and `expose` are alternatives.
            Self::Publish(_) | Self::Expose(_) => 9,
            Self::Command(_) => 10,
            Self::Pod(_) => 11,
            Self::StartOnBoot(_) => 12,
            // Each of these must match by itself.
            Self::Label(_)
            | Self::NoLabel(_)
            | Self::Before(_)
            | Self::Since(_)
            | Self::Until(_)
            | Self::Never
            | Self::Always => 255,
        }
    }

    /// True for a filter that is about ended containers, so that `ps` lists containers in any state.
    pub fn is_about_ended(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Exited(_))
    }

    fn fits(&self, container: &Container, status: &Status, store: &Path) -> Result<bool> {
        let record = &container.record;
        let made = |other: &str| find_in(store, other).map(|other| other.record.created);
        Ok(match self {
            Self::Id(id) => id.is_of_id(&record.id),
            Self::Name(name) => {
                name.is_in(&record.name) || name.is_in(&format!("/{}", record.name))
            }
            Self::Label(label) => has_label(container, label),
            Self::NoLabel(label) => !has_label(container, label),
            Self::Status(word) => status.word() == word,
            Self::Exited(code) => matches!(status, Status::Exited(exit) if exit.status == *code),
            Self::Ancestor(image) => image.is_of(container)?,
            Self::Before(other) => record.created < made(other)?,
            Self::Since(other) => record.created > made(other)?,
            Self::Until(time) => record.created < *time,
            Self::Health(word) => {
                super::health(container, status).map_or("none", |told| told.health.word()) == word
            }
            Self::RestartPolicy(name) => record.restart.name() == name,
            Self::StartOnBoot(starts) => starts_on_boot(container) == *starts,
            Self::Volume(text) => volumes::used_by(container)?
                .iter()
                .any(|used| used.name.as_str() == text || used.destination == Path::new(text)),
            Self::Network(name) => is_in_network(container, name)?,
            Self::Pod(text) => record.pod.as_deref().is_some_and(|pod| {
                !text.is_empty()
                    && (pod.starts_with(text) || pods::name_of(&container.store, pod) == *text)
            }),
            Self::Publish(ports) => ports.have_host_port(&record.network.forwards),
            Self::Expose(ports) => {
                ports.have_container_port(&record.network.forwards, &record.network.exposed)
            }
            Self::Command(word) => record.command.first() == Some(word),
            Self::Never => false,
            Self::Always => true,
        })
    }

    /// True if a container matches all `filters`. Errors: a filter names an unknown container.
    pub fn fit(filters: &[Self], container: &Container, status: &Status) -> Result<bool> {
        for filter in filters {
            let same = |other: &&Self| other.key() == filter.key() && other.key() != 255;
            let mut fits = filter.fits(container, status, &container.store)?;
            for other in filters.iter().filter(same) {
                fits = fits || other.fits(container, status, &container.store)?;
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Parses docker's words for yes and no.
fn truth(text: &str) -> Result<bool> {
    crate::spec::parse_switch(text).map_err(|_| Error::invalid("true or false"))
}

/// True if the container's policy starts it after a boot.
fn starts_on_boot(container: &Container) -> bool {
    match container.record.restart {
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !container.folder.join(STOPPED).exists(),
        RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
    }
}

fn has_label(container: &Container, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => container.record.labels.get(key).is_some_and(|has| has == value),
        None => container.record.labels.contains_key(label),
    }
}

/// True if the container is in the network `text`: its name or ID, or docker's or podman's name for a network mode.
fn is_in_network(container: &Container, text: &str) -> Result<bool> {
    let network = &container.record.network;
    if network.word() == text
        || (network.mode == Mode::Helper && matches!(text, "private" | "bridge" | "default"))
    {
        return Ok(true);
    }
    match networks::find(&container.store, text) {
        Ok(KnownNetwork::Builtin(known)) => Ok(known.is_mode(network.mode)),
        Ok(KnownNetwork::Named(known)) => Ok(networks::is_member(container, &known.name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        assert_eq!(
            "name=web".parse::<ContainerFilter>().unwrap(),
            ContainerFilter::Name("web".parse().unwrap())
        );
        assert_eq!(
            "label!=a=b".parse::<ContainerFilter>().unwrap(),
            ContainerFilter::NoLabel("a=b".into())
        );
        assert_eq!(
            " Label = a ".parse::<ContainerFilter>().unwrap(),
            ContainerFilter::Label("a".into())
        );
        for wrong in [
            "name",
            "nope=1",
            "name!=x",
            "name=(",
            "exited=256",
            "status=well",
            "until=soon",
            "publish=http",
            "expose=0",
            "is-task=perhaps",
            "should-start-on-boot=perhaps",
        ] {
            assert!(wrong.parse::<ContainerFilter>().is_err(), "{wrong}");
        }
    }
}
