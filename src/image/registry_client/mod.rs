//! The registry client: OCI distribution 1.1 (docker's registry v2) over HTTP, as a [`ImageSource`] and a [`ImageTarget`].
//!
//! ```text
//!  Registry (manifests)   blob (reads that resume)            push (uploads)
//!        \                        |                            /
//!         +--- session: one request: token, redirects, refusals; tries again (retry)
//!                 |            |
//!               auth        http: connections: tls, dns, proxy, address
//! ```
//!
//! The other side is not trusted: all input from it is limited, and any of it that is shown is escaped. A credential is
//! sent only to the registry's own address or the realm that the registry names, never along a redirect.

mod address;
mod auth;
mod blob;
mod dns;
mod exchange;
mod failure;
mod fetch;
mod http;
mod messages;
mod proxy;
mod push;
mod refusal;
mod retry;
mod search;
mod session;
mod tls;

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use ureq::http::Method;

pub use self::dns::look_up;
pub use self::fetch::fetch;
use self::messages::{RegistryRequest, RegistryResponse};
use self::refusal::RequestSubject;
pub use self::retry::RequestTimeouts;
pub use self::search::{FoundRepository, search};
use self::session::RegistrySession;
use super::endpoint::RegistryEndpoint;
use super::manifest::{Descriptor, LARGEST, media};
use super::source::{BlobReader, FetchedManifest, ImageSource, ImageTarget};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::go_json;

/// Access that a token must grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryAccess {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
    /// Reading the list of repositories.
    Catalog,
}

/// Media types of docker's manifests of 2015 and before: listed so that the registry names the type instead of denying
/// that the manifest exists.
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// Most tags of a repository that are listed.
const MOST_TAGS: usize = 100_000;

/// A repository of a registry, and a tag or digest in it. Cheap to clone; used by several threads at once.
#[derive(Clone)]
pub struct Registry {
    session: Arc<RegistrySession>,
    which: String,
}

impl Registry {
    /// Creates a client for `which`, a tag or a digest; sends nothing yet. Errors: invalid names, unreadable
    /// certificates.
    pub fn new(endpoint: RegistryEndpoint, which: String, access: RegistryAccess) -> Result<Self> {
        Self::with_tempo(endpoint, which, access, RequestTimeouts::default())
    }

    /// [`Registry::new`] with other waiting times, for tests.
    pub fn with_tempo(
        endpoint: RegistryEndpoint,
        which: String,
        access: RegistryAccess,
        timeouts: RequestTimeouts,
    ) -> Result<Self> {
        if !is_made_of(&endpoint.repository, b"._-/") || endpoint.repository.contains("..") {
            fail!("'{}' is not a repository", endpoint.repository.escape_debug());
        }
        let which = tag_or_digest(which)?;
        Ok(Self { session: Arc::new(RegistrySession::new(endpoint, access, timeouts)?), which })
    }

    /// Another tag or digest of the same repository, over the same connections. Errors: `which` is neither.
    pub fn other(&self, which: String) -> Result<Self> {
        Ok(Self { session: self.session.clone(), which: tag_or_digest(which)? })
    }

    /// Checks that the registry accepts our credentials, for a login. Errors: it refuses them, or cannot be reached.
    pub fn check_credentials(&self) -> Result<()> {
        let request = RegistryRequest::new(Method::GET, "/v2/".to_owned());
        let answer = self.session.request(&request)?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(self.session.exchange.refused(answer, &RequestSubject::Api)),
        }
    }

    /// The source for another tag of the same repository, such as an image's signatures. `None`: the tag does not
    /// exist.
    pub fn sibling(&self, tag: &str) -> Result<Option<Box<dyn ImageSource>>> {
        let other = self.other(tag.to_owned())?;
        Ok(other.head_manifest()?.map(|_| Box::new(other) as Box<dyn ImageSource>))
    }

    /// The digest that `which` names now, without a download where the registry sends the digest. `None`: no such
    /// manifest.
    pub fn head_manifest(&self) -> Result<Option<Digest>> {
        let answer = self.session.request(&self.manifest_request(Method::HEAD, &self.which))?;
        let digest = match answer.status {
            404 => return Ok(None),
            200..=299 => answer.header("docker-content-digest").and_then(|text| text.parse().ok()),
            // An answer to HEAD has no body to explain the failure: the GET below brings one.
            _ => None,
        };
        match digest {
            Some(digest) => Ok(Some(digest)),
            None => self.manifest(None).map(|fetched| Some(Digest::of(&fetched.bytes))),
        }
    }

    /// All tags of the repository. Errors: the repository does not exist, or has more than [`MOST_TAGS`].
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct TagsPage {
            #[serde(default, deserialize_with = "go_json::list")]
            tags: Vec<String>,
        }
        let mut tags: Vec<String> = Vec::new();
        let path = self.session.path("tags/list");
        let is_whole = search::pages(&self.session, path, RequestSubject::Tags, |bytes| {
            let page: TagsPage = go_json::read(bytes)
                .map_err(crate::image::manifest::not_json(bytes))
                .context(|| "the list of tags")?;
            tags.extend(page.tags);
            let is_enough = tags.len() > MOST_TAGS;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        match is_whole {
            true => Ok(tags),
            false => {
                let name = self.session.name();
                fail!("{name}: the repository has more than {MOST_TAGS} tags")
            }
        }
    }

    fn manifest_request(&self, method: Method, which: &str) -> RegistryRequest<'static> {
        let kinds =
            [media::OCI_MANIFEST, media::OCI_INDEX, media::DOCKER_MANIFEST, media::DOCKER_LIST];
        let accept = [&kinds[..], &SCHEMA_1[..]].concat().join(", ");
        RegistryRequest::new(method, self.session.path(&format!("manifests/{which}")))
            .accept(accept)
    }
}

fn is_made_of(text: &str, more: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
}

fn tag_or_digest(which: String) -> Result<String> {
    match is_made_of(&which, b"._-:") {
        true => Ok(which),
        false => fail!("'{}' is neither a tag nor a digest", which.escape_debug()),
    }
}

/// Reads the answer's body, at most [`LARGEST`] bytes.
fn read_manifest(answer: RegistryResponse) -> Result<FetchedManifest, failure::RequestFailure> {
    let media_type = answer.header("content-type").map(str::to_owned);
    let mut bytes = Vec::new();
    // Content-Length is untrusted: it only serves to refuse early.
    let said = answer.header("content-length").and_then(|text| text.parse::<u64>().ok());
    let said = said.filter(|_| !answer.is_encoded());
    let mut body = answer.into_reader()?.take(LARGEST + 1);
    if said.is_none_or(|said| said <= LARGEST) {
        body.read_to_end(&mut bytes).map_err(http::broken_body)?;
    }
    if said.is_some_and(|said| said > LARGEST) || bytes.len() as u64 > LARGEST {
        let error = Error::new(format!("the manifest is larger than {LARGEST} bytes"));
        return Err(failure::RequestFailure::lasting(error));
    }
    Ok(FetchedManifest { bytes, media_type })
}

impl ImageSource for Registry {
    fn describe(&self) -> String {
        let separator = if self.which.contains(':') { '@' } else { ':' };
        let endpoint = &self.session.exchange.endpoint;
        format!("docker://{}/{}{separator}{}", endpoint.host, endpoint.repository, self.which)
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        let which = digest.map_or_else(|| self.which.clone(), Digest::to_string);
        let request = self.manifest_request(Method::GET, &which);
        self.session.with_retries(|| {
            let answer = self.session.attempt(&request)?;
            match answer.status {
                200..=299 => read_manifest(answer),
                _ => {
                    let error =
                        self.session.exchange.refused(answer, &RequestSubject::Manifest(&which));
                    Err(failure::RequestFailure::lasting(error))
                }
            }
        })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        Ok(Box::new(blob::ResumedBlob::open(self.session.clone(), descriptor, from)?))
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        // Some registries answer HEAD with 405, or without a length.
        for method in [Method::HEAD, Method::GET] {
            let request =
                RegistryRequest::new(method, self.session.path(&format!("blobs/{digest}")));
            let answer = self.session.request(&request)?;
            let size = answer.header("content-length").and_then(|text| text.parse().ok());
            match (answer.status, size) {
                (200..=299, Some(size)) if !answer.is_encoded() => return Ok(size),
                (404, _) => {
                    return Err(self
                        .session
                        .exchange
                        .refused(answer, &RequestSubject::Blob(digest)));
                }
                _ => {}
            }
        }
        fail!("blob {digest}: neither its manifest nor {} says its size", self.session.name())
    }
}

impl ImageTarget for Registry {
    fn describe(&self) -> String {
        ImageSource::describe(self)
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let path = self.session.path(&format!("blobs/{}", descriptor.digest));
        let answer = self.session.request(&RegistryRequest::new(Method::HEAD, path))?;
        match answer.status {
            200..=299 => Ok(true),
            404 => Ok(false),
            _ => Err(self.session.exchange.refused(answer, &RequestSubject::Upload)),
        }
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<std::fs::File>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        if self.has_blob(descriptor)? {
            progress(descriptor.size);
            return Ok(());
        }
        push::upload(&self.session, descriptor, open, progress)
    }

    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()> {
        let which = digest.map_or_else(|| self.which.clone(), Digest::to_string);
        let request =
            RegistryRequest::new(Method::PUT, self.session.path(&format!("manifests/{which}")))
                .bytes(media_type, bytes);
        let answer = self.session.request(&request)?;
        match answer.status {
            200..=299 => {}
            401 | 403 => {
                return Err(self.session.exchange.refused(answer, &RequestSubject::Upload));
            }
            // The registry may accept only manifests of the other format.
            400 | 405 | 406 | 415 | 422 => {
                return Err(self
                    .session
                    .exchange
                    .refused(answer, &RequestSubject::NewManifest(&which)));
            }
            _ => {
                return Err(self
                    .session
                    .exchange
                    .refused(answer, &RequestSubject::Manifest(&which)));
            }
        }
        let Some(said) = answer.header("docker-content-digest") else { return Ok(()) };
        let said: Digest = said.parse().context(|| self.session.name())?;
        if said != digest_of(bytes, said.algorithm()) {
            fail!(
                "{}: stored our manifest {which} as {said}, which is not its digest",
                self.session.name()
            );
        }
        Ok(())
    }
}

fn digest_of(bytes: &[u8], algorithm: Algorithm) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}
