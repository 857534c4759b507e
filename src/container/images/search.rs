//! `usnea search`: repositories of registries, and their tags.

use std::str::FromStr;

use crate::documents::image::{SearchRow, TagRow};
use crate::documents::text::{Truncation, WIDEST};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint;
use crate::image::reference::{Reference, TypedReference};
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::{self, FoundRepository, Registry, RegistryAccess};

/// Settings of a search.
#[derive(Clone, Debug)]
pub struct Search {
    /// Search term: `[REGISTRY/]TERM`; without a registry, all registries for short names are searched.
    pub term: String,
    /// Largest number of results of one registry.
    pub limit: usize,
    /// Filters. Each repository must match them.
    pub filters: Vec<SearchFilter>,
    /// Settings of registries from the command line.
    pub asked: RegistryOptions,
}

/// Repository, and the registry that has it.
#[derive(Clone, Debug)]
pub struct SearchResult {
    /// Name of the registry.
    pub registry: String,
    /// Repository, and its description by the registry.
    pub repository: FoundRepository,
}

/// Filter of `--filter` for repositories.
#[derive(Clone, Debug)]
pub enum SearchFilter {
    /// Least number of stars.
    Stars(u64),
    /// True: docker's official images; false: the others.
    Official(bool),
    /// True: repositories with automated builds on Docker Hub; false: the others.
    Automated(bool),
}

impl FromStr for SearchFilter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (key, value) = text.split_once('=').unwrap_or((text, "true"));
        let truth = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{key}: neither true nor false: '{}'", value.escape_debug())),
        };
        match key {
            "stars" => value.parse().map(Self::Stars).map_err(|_| "stars: not a number".into()),
            "is-official" => truth().map(Self::Official),
            "is-automated" => truth().map(Self::Automated),
            _ => Err("one of stars=NUMBER, is-official=BOOL, is-automated=BOOL is needed".into()),
        }
    }
}

impl SearchFilter {
    fn takes(&self, repository: &FoundRepository) -> bool {
        match self {
            Self::Stars(least) => repository.star_count >= *least,
            Self::Official(wanted) => repository.is_official == *wanted,
            Self::Automated(wanted) => repository.is_automated == *wanted,
        }
    }
}

/// Repository, and its tags.
#[derive(Clone, Debug)]
pub struct RepositoryTags {
    /// Name of the repository.
    pub repository: Reference,
    /// Tags, as the registry sorts them.
    pub tags: Vec<String>,
}

impl From<RepositoryTags> for Vec<TagRow> {
    fn from(tags: RepositoryTags) -> Self {
        let name = tags.repository.name();
        tags.tags.into_iter().map(|tag| TagRow { name: name.clone(), tag }).collect()
    }
}

impl SearchResult {
    /// Returns the row of a table.
    pub fn row(&self, truncation: Truncation) -> SearchRow {
        let repository = &self.repository;
        // docker's mark.
        let mark = |is_so| if is_so { "[OK]" } else { "" };
        let (official, automated) = (mark(repository.is_official), mark(repository.is_automated));
        SearchRow {
            index: self.registry.clone(),
            name: self.name(),
            description: truncation
                .text(&repository.description.replace(['\n', '\t'], " "), WIDEST),
            star_count: repository.star_count,
            stars: repository.star_count,
            is_official: official,
            official,
            is_automated: automated,
            automated,
        }
    }

    /// Returns the whole name: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        let (registry, name) = (&self.registry, &self.repository.name);
        let library = if registry == "docker.io" && !name.contains('/') { "library/" } else { "" };
        format!("{registry}/{library}{name}")
    }
}

/// Searches the registries. Warns of a registry that fails, if another one answers. Errors: no registry answers.
pub fn search(search: &Search) -> Result<Vec<SearchResult>> {
    let registries = Registries::load()?;
    let (places, term) = match search.term.split_once('/') {
        Some((registry, term)) if is_registry(registry) => (vec![registry.to_owned()], term),
        _ => (registries.searched(), &*search.term),
    };
    if places.is_empty() {
        let error = Error::new(format!("'{}' names no registry", search.term.escape_debug()));
        return Err(error
            .at_endpoint(ErrorKind::NotFound)
            .hint("type REGISTRY/TERM, or fill unqualified-search-registries in registries.conf"));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for registry in &places {
        let look = || {
            let endpoint = registries.search_endpoint(registry, &search.asked)?;
            registry_client::search(endpoint, term, search.limit)
        };
        match look() {
            Ok(all) => found.extend(
                all.into_iter()
                    .map(|repository| SearchResult { registry: registry.clone(), repository }),
            ),
            Err(error) => failures.push(error),
        }
    }
    if failures.len() == places.len()
        && let Some(error) = failures.pop()
    {
        return Err(error).context(|| format!("cannot search in {}", places.join(", ")));
    }
    for error in failures {
        log::warn!("{error}");
    }
    found.retain(|one| search.filters.iter().all(|filter| filter.takes(&one.repository)));
    Ok(found)
}

/// True if the part before the first slash names a registry.
fn is_registry(text: &str) -> bool {
    let name = format!("{text}/x");
    name.parse::<TypedReference>().is_ok_and(|typed| typed.registry.is_some())
}

/// Returns the repository that `search` names, and its tags up to the limit.
pub fn tags(search: &Search) -> Result<RepositoryTags> {
    let typed: TypedReference = search.term.parse()?;
    if typed.tag.is_some() || typed.digest.is_some() {
        let error = format!("'{}' names one image, not a repository", search.term.escape_debug());
        return Err(Error::invalid(error).hint(hint::LIST_TAGS));
    }
    let registries = Registries::load()?;
    let mut failure = Error::new("registries.conf has no registry to look in");
    for reference in registries.candidates(&typed)? {
        for endpoint in registries.pull_endpoints(&reference, &search.asked)? {
            let registry = Registry::new(endpoint, reference.which(), RegistryAccess::Pull)?;
            match registry.tags() {
                Ok(mut tags) => {
                    tags.truncate(search.limit);
                    return Ok(RepositoryTags { repository: reference, tags });
                }
                Err(error) => failure = error,
            }
        }
    }
    Err(failure).context(|| format!("cannot list the tags of {}", search.term.escape_debug()))
}
