//! Exchange of messages with one registry: addresses, redirects, and answers that a retry may improve. Tokens are the
//! session's.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;

use jiff::Timestamp;
use ureq::http::{HeaderValue, Request, Uri, header};
use ureq::{Body, SendBody};

use super::RegistryAccess;
use super::address::{self, ServerOrigin, shown};
use super::failure::{FailureKind, RequestFailure};
use super::http::HttpAgents;
use super::messages::{RegistryRequest, RegistryResponse, RequestBody, RequestTarget};
use super::refusal::{self, RequestSubject};
use super::retry::{self, RequestTimeouts};
use crate::error::{self, Error, Result};
use crate::hint;
use crate::image::endpoint::{RegistryEndpoint, TransportSecurity};

/// Most redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Registry at its addresses.
pub struct RegistryExchange {
    /// Address and credentials of the repository.
    pub endpoint: RegistryEndpoint,
    http: HttpAgents,
    // The scheme of an insecure registry, http or https; unset until the first answer.
    scheme: OnceLock<&'static str>,
}

impl RegistryExchange {
    /// Prepares the exchange; sends nothing yet.
    pub fn new(
        endpoint: RegistryEndpoint,
        access: RegistryAccess,
        timeouts: RequestTimeouts,
    ) -> Result<Self> {
        let host = &endpoint.host;
        let address = format!("https://{host}/").parse::<Uri>().ok();
        if address
            .is_none_or(|address| ServerOrigin::of(&address).is_none() || address.path() != "/")
        {
            return Err(Error::new(format!("'{}' is not a registry's name", shown(host))));
        }
        let http = HttpAgents::new(&endpoint, access, timeouts)?;
        let scheme = OnceLock::new();
        if endpoint.transport == TransportSecurity::Verified {
            let _ = scheme.set("https");
        }
        Ok(Self { endpoint, http, scheme })
    }

    /// Makes the error for an answer that is no success.
    pub fn refused(&self, answer: RegistryResponse, subject: &RequestSubject<'_>) -> Error {
        refusal::explain(answer, subject, &self.endpoint)
    }

    /// Returns the answer, or a passing failure where a retry may improve it.
    pub fn final_answer(
        &self,
        answer: RegistryResponse,
        subject: &RequestSubject<'_>,
    ) -> Result<RegistryResponse, RequestFailure> {
        if !matches!(answer.status, 408 | 429 | 500..=599) {
            return Ok(answer);
        }
        let after = answer.header("retry-after");
        let after = after.and_then(|value| retry::retry_after(value, Timestamp::now()));
        let error = refusal::explain(answer, subject, &self.endpoint);
        Err(RequestFailure { error, kind: FailureKind::Passing, after })
    }

    /// Sends a request to the registry, or to the address that it named.
    pub(super) fn reach(
        &self,
        request: &RegistryRequest<'_>,
        token: Option<&HeaderValue>,
    ) -> Result<RegistryResponse, RequestFailure> {
        let at = |scheme: &str, path: &str| -> Result<Uri, RequestFailure> {
            let text = format!("{scheme}://{}{path}", self.endpoint.host);
            text.parse().map_err(|_| RequestFailure::lasting(Error::new("not an address")))
        };
        let path = match (&request.target, self.scheme.get()) {
            (RequestTarget::Address(address), _) => return self.exchange(request, address, token),
            (RequestTarget::Path(path), Some(scheme)) => {
                return self.exchange(request, &at(scheme, path)?, token);
            }
            (RequestTarget::Path(path), None) => path,
        };
        // Insecure registry: HTTPS first, plain HTTP if HTTPS fails.
        let (scheme, answer) = match self.exchange(request, &at("https", path)?, token) {
            Err(failure) if failure.kind != FailureKind::Lasting => {
                match self.exchange(request, &at("http", path)?, token) {
                    // A server that wants TLS answers a plain request with 400.
                    Ok(answer) if answer.status != 400 => ("http", answer),
                    Err(plain) if plain.kind != FailureKind::Unanswered => return Err(plain),
                    _ => return Err(failure),
                }
            }
            answer => ("https", answer?),
        };
        let _ = self.scheme.set(scheme);
        Ok(answer)
    }

    /// Sends a request to `start` and follows redirects. `authorization` goes only to the server of `start`, and is not
    /// sent again once a redirect has led elsewhere.
    pub fn exchange(
        &self,
        request: &RegistryRequest<'_>,
        start: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<RegistryResponse, RequestFailure> {
        let home = ServerOrigin::of(start);
        let own = format!("{}://{}", start.scheme_str().unwrap_or_default(), self.endpoint.host);
        let own = own.parse().ok().and_then(|own| ServerOrigin::of(&own));
        let mut address = start.clone();
        // An upload's address may be at another server: our token is not sent there.
        let mut is_home = home == own || !matches!(request.target, RequestTarget::Address(_));
        for _ in 0..=MOST_REDIRECTS {
            let authorization = authorization.filter(|_| is_home);
            let response = self.send(request, &address, authorization)?;
            let status = response.status().as_u16();
            let (parts, body) = response.into_parts();
            let answer =
                RegistryResponse { status, address, is_home, body, headers: parts.headers };
            let Some(location) = answer.location() else {
                return Ok(answer);
            };
            let is_redirect = match status {
                301..=303 => request.is_reading(),
                307 | 308 => true,
                _ => false,
            };
            if !is_redirect {
                return Ok(answer);
            }
            let next = address::resolve(&answer.address, &location)?;
            is_home &= ServerOrigin::of(&next) == home;
            if !request.is_reading() && !is_home {
                return Err(Error::new("it sends what we upload to another server").into());
            }
            self.check_sealed(&next)?;
            address = next;
        }
        let error = Error::new(format!("more than {MOST_REDIRECTS} redirects"));
        Err(error.at_endpoint(error::ErrorKind::Unreachable).into())
    }

    /// Refuses plain HTTP where the registry must be verified.
    pub fn check_sealed(&self, address: &Uri) -> Result<()> {
        let is_sealed = ServerOrigin::of(address).is_some_and(|origin| origin.is_https());
        if is_sealed || self.endpoint.transport == TransportSecurity::Insecure {
            return Ok(());
        }
        let host = shown(address.host().unwrap_or_default());
        Err(Error::new(format!("it sends us to {host} without TLS"))
            .at_endpoint(error::ErrorKind::Unreachable)
            .hint(hint::NO_TLS))
    }

    fn send(
        &self,
        request: &RegistryRequest<'_>,
        address: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<ureq::http::Response<Body>, RequestFailure> {
        let mut builder = Request::builder().method(request.method.clone()).uri(address.clone());
        if let Some(value) = authorization {
            builder = builder.header(header::AUTHORIZATION, value.clone());
        }
        if let Some(accept) = &request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if request.is_reading() {
            builder = builder.header(header::ACCEPT_ENCODING, "identity");
        }
        if request.offset > 0 {
            builder = builder.header(header::RANGE, format!("bytes={}-", request.offset));
        }
        let (mut slice, mut file);
        let (length, kind, reader): (u64, _, &mut dyn Read) = match request.content {
            RequestBody::Nothing if request.is_reading() => {
                return self.http.send(builder.body(()).map_err(|_| no_request())?);
            }
            RequestBody::Nothing => {
                slice = &[][..];
                (0, None, &mut slice)
            }
            RequestBody::Bytes(kind, bytes) => {
                slice = bytes;
                (bytes.len() as u64, Some(kind), &mut slice)
            }
            RequestBody::File { length, open, progress } => {
                file = CountingReader { inner: open()?.take(length), count: 0, progress };
                (length, Some("application/octet-stream"), &mut file)
            }
        };
        if let Some(kind) = kind {
            builder = builder.header(header::CONTENT_TYPE, kind);
        }
        let builder = builder.header(header::CONTENT_LENGTH, length);
        let message = builder.body(SendBody::from_reader(reader)).map_err(|_| no_request())?;
        self.http.send(message)
    }
}

fn no_request() -> Error {
    Error::new("not a request")
}

/// Counts the bytes read and reports them.
struct CountingReader<'a> {
    inner: io::Take<File>,
    count: u64,
    progress: &'a dyn Fn(u64),
}

impl Read for CountingReader<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(room)?;
        self.count = self.count.saturating_add(length as u64);
        (self.progress)(self.count);
        Ok(length)
    }
}
