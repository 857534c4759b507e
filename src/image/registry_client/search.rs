//! Search in a registry: docker's search of API version 1 if available, else the catalog of version 2. Also reads lists
//! (repositories, tags) page by page.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;
use ureq::http::Method;

use super::address::{self, escape};
use super::messages::{RegistryRequest, RegistryResponse, RequestTarget};
use super::refusal::RequestSubject;
use super::session::RegistrySession;
use super::{RegistryAccess, RequestTimeouts, read_manifest};
use crate::error::{Context, Error, Result};
use crate::go_json;
use crate::image::endpoint::RegistryEndpoint;
use crate::image::manifest::not_json;

/// Most pages of a list.
const MOST_PAGES: usize = 10_000;
/// Repositories on a page: some registries refuse larger pages.
const PAGE: usize = 1000;
/// Host of docker.io's search; the registry itself has none.
const HUB_SEARCH: &str = "index.docker.io";
const HUB: &str = "registry-1.docker.io";

/// A repository found by a registry's search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Name as the registry spells it: `library/debian`.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub name: String,
    /// Description in a single line; empty if the registry has none.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub description: String,
    /// Number of stars on docker's hub.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub star_count: u64,
    /// True for one of docker's official images.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub is_official: bool,
    /// True if docker's hub builds the repository automatically.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub is_automated: bool,
}

/// Finds at most `limit` repositories with `term` in their name (or, with docker's search, in their
/// description); an empty term finds all. Errors: the registry has neither a search nor a catalog.
pub fn search(
    mut endpoint: RegistryEndpoint,
    term: &str,
    limit: usize,
) -> Result<Vec<FoundRepository>> {
    let is_hub = endpoint.host == HUB;
    if is_hub {
        endpoint.host = HUB_SEARCH.to_owned();
    }
    let session = Arc::new(RegistrySession::new(
        endpoint,
        RegistryAccess::Catalog,
        RequestTimeouts::default(),
    )?);
    if is_hub && term.is_empty() {
        return Err(Error::new("docker.io lists no repositories without a term"));
    }
    if !term.is_empty() {
        let path = format!("/v1/search?q={}&n={limit}", escape(term));
        let answer = session.request(&RegistryRequest::new(Method::GET, path))?;
        let is_found = (200..=299).contains(&answer.status);
        if !is_found && is_hub {
            return Err(session.exchange.refused(answer, &RequestSubject::Catalog));
        }
        // Some registries answer unknown paths with a web page.
        if is_found && let Some(mut found) = results(answer) {
            found.truncate(limit);
            return Ok(found);
        }
    }
    catalog(&session, term, limit)
}

fn results(answer: RegistryResponse) -> Option<Vec<FoundRepository>> {
    #[derive(Deserialize)]
    struct Results {
        #[serde(deserialize_with = "go_json::list")]
        results: Vec<FoundRepository>,
    }
    let bytes = read_manifest(answer).ok()?.bytes;
    Some(go_json::read::<Results>(&bytes).ok()?.results)
}

fn catalog(session: &RegistrySession, term: &str, limit: usize) -> Result<Vec<FoundRepository>> {
    #[derive(Deserialize)]
    struct CatalogPage {
        #[serde(default, deserialize_with = "go_json::list")]
        repositories: Vec<String>,
    }
    let mut found = Vec::new();
    pages(session, format!("/v2/_catalog?n={PAGE}"), RequestSubject::Catalog, |bytes| {
        let page: CatalogPage =
            go_json::read(bytes).map_err(not_json(bytes)).context(|| "the list of repositories")?;
        let fitting = page.repositories.into_iter().filter(|name| name.contains(term));
        found.extend(fitting.map(|name| FoundRepository { name, ..FoundRepository::default() }));
        Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    found.truncate(limit);
    Ok(found)
}

/// Reads a list page by page until it ends or `each` breaks. True if the list ended.
pub fn pages(
    session: &RegistrySession,
    path: String,
    subject: RequestSubject<'_>,
    mut each: impl FnMut(&[u8]) -> Result<ControlFlow<()>>,
) -> Result<bool> {
    let mut place = RequestTarget::Path(path);
    for _ in 0..MOST_PAGES {
        let answer = session.request(&RegistryRequest::at(Method::GET, place))?;
        if !(200..=299).contains(&answer.status) {
            return Err(session.exchange.refused(answer, &subject));
        }
        let next = next_page(&answer)
            .map(|text| address::resolve(&answer.address, &text))
            .transpose()
            .context(|| session.name())?;
        let page = read_manifest(answer).map_err(|failure| failure.error)?;
        let is_enough = each(&page.bytes)?.is_break();
        match next {
            Some(_) if is_enough => return Ok(false),
            Some(next) => place = RequestTarget::Address(next),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// The address of the next page in a `Link` field: `<ADDRESS>; rel="next"` (RFC 8288).
fn next_page(answer: &RegistryResponse) -> Option<String> {
    let links = answer.headers("link").flat_map(|text| text.split(','));
    let mut nexts = links.filter_map(|link| {
        let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.replace(['"', ' '], "").to_ascii_lowercase().contains("rel=next");
        is_next.then(|| address.to_owned())
    });
    nexts.next()
}
