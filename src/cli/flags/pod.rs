//! Flags about pods: the pod of a new container, and the selection of pods for a command.

use std::path::PathBuf;

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::pods::{self, NewPod, Pod, PodChoice, PodOutcome};
use crate::container::{ContainerOptions, Lifecycle, Usnea};
use crate::error::{Context, Error, ErrorKind, Result};

/// Pod of a new container.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PodFlags {
    /// Add the container to this pod, and share its namespaces. new:NAME creates the pod, with the ports, the network
    /// and the host name of the other options.
    #[arg(long, value_name = "POD")]
    pod: Option<String>,

    /// Read the ID of the pod from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    pod_id_file: Option<PathBuf>,
}

impl PodFlags {
    /// Returns the pod. Errors: an invalid name; an unreadable file.
    pub fn choice(&self) -> Result<Option<PodChoice>> {
        if let Some(file) = &self.pod_id_file {
            let describe = || format!("--pod-id-file {}", file.display());
            let text = std::fs::read_to_string(file).context(describe)?;
            return Ok(Some(PodChoice::Existing(text.trim().to_owned())));
        }
        let Some(text) = &self.pod else { return Ok(None) };
        let describe = || format!("--pod {}", text.escape_debug());
        text.parse().map_err(Error::invalid).context(describe).map(Some)
    }

    /// True if the container is to be in a pod.
    pub fn is_given(&self) -> bool {
        self.pod.is_some() || self.pod_id_file.is_some()
    }

    /// Makes a container a member of the pod, if one is given. Returns a pod that was made for it.
    pub fn join<'a>(
        &self,
        usnea: &'a Usnea,
        options: &mut ContainerOptions,
        lifecycle: &mut Lifecycle,
    ) -> Result<Option<NewPod<'a>>> {
        let Some(choice) = self.choice()? else { return Ok(None) };
        pods::join(usnea, &choice, options, lifecycle).map(Some)
    }
}

/// Selection of pods.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PodSelection {
    /// Pod names, or prefixes of pod IDs.
    #[arg(value_name = "POD")]
    names: Vec<String>,

    /// Select all pods.
    #[arg(short, long, conflicts_with_all = ["latest", "names"])]
    all: bool,

    /// Use the pod that was created last.
    #[arg(short, long, conflicts_with = "names")]
    latest: bool,

    /// Read the pod ID from this file.
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
}

/// Rule for pods that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPods {
    /// A missing pod is an error.
    Fails,
    /// A missing pod is left out.
    Ignored,
}

impl PodSelection {
    /// Opens the pod of this name; without a name, the one that was created last.
    pub fn single(usnea: &Usnea, name: Option<&str>) -> Result<Pod> {
        let none = || Error::not_found("there is no pod");
        match name {
            Some(name) => pods::find(usnea, name),
            None => pods::all(usnea)?.into_iter().next().ok_or_else(none),
        }
    }

    /// Returns the IDs of the pods. Adds names that do not exist to `failed`. Errors: no selection; an unreadable file.
    pub fn find(
        &self,
        usnea: &Usnea,
        missing: MissingPods,
        failed: &mut Failures,
    ) -> Result<Vec<String>> {
        let mut names = self.names.clone();
        for file in &self.pod_id_file {
            let describe = || format!("--pod-id-file {}", file.display());
            match std::fs::read_to_string(file) {
                Err(error)
                    if missing == MissingPods::Ignored
                        && error.kind() == std::io::ErrorKind::NotFound => {}
                answer => names.push(answer.context(describe)?.trim().to_owned()),
            }
        }
        if self.all || self.latest {
            let count = if self.latest { 1 } else { usize::MAX };
            let all = pods::all(usnea)?.into_iter().take(count);
            return Ok(all.map(|pod| pod.record.id).collect());
        }
        if names.is_empty() && self.pod_id_file.is_empty() {
            return Err(Error::invalid("no pod is named")
                .hint("give a name or an ID, or --all or --latest"));
        }
        let mut ids = Vec::new();
        for name in names {
            match pods::find_id(usnea, &name) {
                Ok(id) => ids.push(id),
                Err(error)
                    if missing == MissingPods::Ignored && error.kind() == ErrorKind::NotFound => {}
                Err(error) => failed.add(error),
            }
        }
        Ok(ids)
    }

    /// Runs `work` for each pod, prints its ID after a success, and goes on to the end after a failure.
    pub fn each(
        &self,
        usnea: &Usnea,
        missing: MissingPods,
        mut work: impl FnMut(&Pod) -> Result<PodOutcome>,
    ) -> Result<u8> {
        let mut failures = Failures::default();
        for id in self.find(usnea, missing, &mut failures)? {
            let done = pods::find(usnea, &id).and_then(|pod| work(&pod));
            match done {
                Ok(outcome) if outcome.failures.is_empty() => print_line(&id),
                Ok(outcome) => outcome.failures.into_iter().for_each(|error| failures.add(error)),
                Err(error) => failures.add(error),
            }
        }
        failures.end()
    }
}
