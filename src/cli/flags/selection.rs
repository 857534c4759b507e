//! Selection of containers for a command: by name, all, the last one, or by filters; and the messages about each.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::{self, Container, ContainerFilter, Usnea};
use crate::error::{Context, Error, Result};
use crate::monitor::Status;
use crate::object_id::ContainerId;

/// Selection of containers.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Selection {
    /// Container names, or prefixes of container IDs.
    #[arg(value_name = "CONTAINER")]
    pub names: Vec<String>,

    /// Select all containers.
    #[arg(short, long, conflicts_with = "latest")]
    pub all: bool,

    /// Use the container that was created last.
    #[arg(short, long)]
    pub latest: bool,

    /// Filter the containers by id, name (regular expressions), label, label!, status, exited, ancestor, before, since, until,
    /// restart-policy, should-start-on-boot, health, volume, network, pod, publish, expose or command. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// Read the container ID from this file.
    #[arg(long, value_name = "FILE")]
    pub cidfile: Vec<PathBuf>,
}

/// Rule for names of containers that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingContainers {
    /// Missing containers are an error.
    Fails,
    /// Missing containers are left out.
    Ignored,
}

/// Selected container: its name as typed, and its ID.
pub struct Selected {
    /// Name as typed, for messages.
    pub typed: String,
    /// ID of the container.
    pub id: ContainerId,
}

impl Selection {
    /// Removes the files of `--cidfile`, whose containers are removed: a service could not start again with such a file.
    pub fn remove_id_files(&self) {
        for file in &self.cidfile {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    log::warn!("cannot remove {}: {error}", file.display());
                }
                _ => {}
            }
        }
    }

    /// Returns the containers. Adds names that do not exist to `failed`. Errors: no selection; an invalid filter.
    pub fn find(
        &self,
        usnea: &Usnea,
        missing: MissingContainers,
        failed: &mut Failures,
    ) -> Result<Vec<Selected>> {
        let filters = given_filters(&self.filters)
            .map(|text| text.parse())
            .collect::<Result<Vec<ContainerFilter>>>()?;
        let mut names = self.names.clone();
        for file in &self.cidfile {
            let describe = || format!("--cidfile {}", file.display());
            match std::fs::read_to_string(file) {
                Err(error)
                    if missing == MissingContainers::Ignored
                        && error.kind() == ErrorKind::NotFound => {}
                answer => names.push(answer.context(describe)?.trim().to_owned()),
            }
        }
        if names.is_empty()
            && self.cidfile.is_empty()
            && !self.all
            && !self.latest
            && filters.is_empty()
        {
            return Err(Error::invalid("no container is named")
                .hint("give a name or an ID, or --all, --latest or --filter"));
        }
        if !names.is_empty() && (self.all || self.latest) {
            return Err(Error::invalid("names, and --all or --latest, exclude each other"));
        }
        let mut selected = Vec::new();
        for typed in names {
            match container::find_id(usnea, &typed) {
                Ok(id) => selected.push(Selected { typed, id }),
                Err(_) if missing == MissingContainers::Ignored => {}
                Err(error) => failed.add(error),
            }
        }
        if self.is_vague() {
            let mut all = container::fitting(usnea, &filters)?;
            if self.latest {
                all.truncate(1);
            }
            let of = |container: Container| Selected {
                typed: container.record.id.to_string(),
                id: container.record.id,
            };
            selected.extend(all.into_iter().map(of));
        }
        Ok(selected)
    }

    /// Returns the typed names and IDs.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// True if all containers are selected, without filters.
    pub fn is_all(&self) -> bool {
        self.all && self.filters.iter().all(String::is_empty)
    }

    /// True if containers in the wrong state are skipped silently, because they were not named.
    pub fn is_vague(&self) -> bool {
        self.names.is_empty() && self.cidfile.is_empty()
    }
}

/// Returns the filters without empty ones, which are as good as not given (docker).
pub fn given_filters(filters: &[String]) -> impl Iterator<Item = &String> {
    filters.iter().filter(|text| !text.is_empty())
}

/// Runs `work` for each container, prints the typed name after a success, and goes on to the end after a failure.
pub fn each(
    selection: &Selection,
    usnea: &Usnea,
    missing: MissingContainers,
    mut work: impl FnMut(&Selected) -> Result<AfterSuccess>,
) -> Result<u8> {
    each_together(selection, usnea, missing, |_| Ok(()), |selected, ()| work(selected))
}

/// Runs `work` for each container. Containers in another state are skipped silently where they were not named.
pub fn each_in_state(
    selection: &Selection,
    usnea: &Usnea,
    has_state: impl Fn(&Status) -> bool,
    mut work: impl FnMut(&Container) -> Result<()>,
) -> Result<u8> {
    each(selection, usnea, MissingContainers::Fails, |selected| {
        let container = open(usnea, selected)?;
        if selection.is_vague() && !has_state(&container.status()?) {
            return Ok(AfterSuccess::PrintNothing);
        }
        work(&container)?;
        Ok(AfterSuccess::PrintName)
    })
}

/// Number of containers in work at the same time: each of them may need some descriptors.
const TOGETHER: usize = 128;

/// Runs [`each`] in two rounds: `begin` for all, then `finish` for those that succeeded. Their waiting times overlap.
pub fn each_together<T>(
    selection: &Selection,
    usnea: &Usnea,
    missing: MissingContainers,
    mut begin: impl FnMut(&Selected) -> Result<T>,
    mut finish: impl FnMut(&Selected, T) -> Result<AfterSuccess>,
) -> Result<u8> {
    let mut failures = Failures::default();
    let all = selection.find(usnea, missing, &mut failures)?;
    for together in all.chunks(TOGETHER) {
        let begun: Vec<_> = together.iter().map(|selected| (selected, begin(selected))).collect();
        for (selected, work) in begun {
            match work.and_then(|work| finish(selected, work)) {
                Ok(AfterSuccess::PrintName) => print_line(&selected.typed),
                Ok(AfterSuccess::PrintNothing) => {}
                Err(error) => failures.add(error),
            }
        }
    }
    failures.end()
}

/// Output after a success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AfterSuccess {
    /// The name as typed is printed.
    PrintName,
    /// Nothing is printed.
    PrintNothing,
}

/// Opens the container of this name; without a name, the one that was created last.
pub fn named_or_newest(usnea: &Usnea, name: Option<&str>) -> Result<Container> {
    match name {
        Some(name) => container::find(usnea, name),
        None => container::all(usnea)?
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("there is no container")),
    }
}

/// Opens the container.
pub fn open(usnea: &Usnea, selected: &Selected) -> Result<Container> {
    let gone = || Error::not_found(format!("container {} is gone", selected.typed));
    Container::open(usnea.store()?, &selected.id)?.ok_or_else(gone)
}
