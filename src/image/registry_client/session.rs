//! Requests to one repository: addresses, tokens, redirects, and retries where they help.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use ureq::{Body, SendBody};

use super::RegistryAccess;
use super::address::{self, ServerOrigin};
use super::auth::TokenCache;
use super::http::{FailureKind, HttpAgents, RequestFailure};
use super::refusal::{self, RequestSubject, shown};
use super::retry::{self, RequestTimeouts, RetryCounter};
use crate::error::{self, Context, Error, Result};
use crate::hint;
use crate::image::endpoint::{RegistryEndpoint, TransportSecurity};

/// Most redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Destination of a request.
#[derive(Clone, Debug)]
pub enum RequestTarget {
    /// Path at the registry.
    Path(String),
    /// Absolute address that the registry named.
    Address(Uri),
}

/// Body of a request; can be sent again for a retry.
#[derive(Clone, Copy)]
pub enum RequestBody<'a> {
    /// No body.
    Nothing,
    /// Media type and bytes.
    Bytes(&'a str, &'a [u8]),
    /// A file of this length; `progress` receives the bytes sent so far.
    File { length: u64, open: &'a dyn Fn() -> Result<File>, progress: &'a dyn Fn(u64) },
}

/// A request.
#[derive(Clone)]
pub struct RegistryRequest<'a> {
    method: Method,
    target: RequestTarget,
    accept: Option<String>,
    offset: u64,
    content: RequestBody<'a>,
}

impl<'a> RegistryRequest<'a> {
    /// Makes a request for a path at the registry.
    pub fn new(method: Method, path: String) -> Self {
        Self::at(method, RequestTarget::Path(path))
    }

    /// Makes a request for any target.
    pub fn at(method: Method, target: RequestTarget) -> Self {
        Self { method, target, accept: None, offset: 0, content: RequestBody::Nothing }
    }

    /// Accepts these media types.
    pub fn accept(mut self, accept: String) -> Self {
        self.accept = Some(accept);
        self
    }

    /// Asks for the bytes from `offset` on.
    pub fn starting_at(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Sets bytes of media type `kind` as the body.
    pub fn bytes(mut self, kind: &'a str, bytes: &'a [u8]) -> Self {
        self.content = RequestBody::Bytes(kind, bytes);
        self
    }

    /// Sets the body.
    pub fn content(mut self, content: RequestBody<'a>) -> Self {
        self.content = content;
        self
    }

    /// Method of the request: GET, POST.
    pub fn method(&self) -> &Method {
        &self.method
    }

    fn is_reading(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// An answer whose body is still unread.
pub struct RegistryResponse {
    /// HTTP status, such as 200.
    pub status: u16,
    /// Address that answered, after redirects.
    pub address: Uri,
    /// True if the answer is from the registry itself.
    pub is_home: bool,
    body: Body,
    headers: HeaderMap,
}

impl RegistryResponse {
    /// The value of a header field, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// True if the body is packed for the transfer alone (Content-Encoding).
    pub fn is_encoded(&self) -> bool {
        self.encoding() != ContentCoding::Identity
    }

    /// Ignores the content encoding: the body is read as it arrives.
    pub fn forget_encoding(&mut self) {
        self.headers.remove(header::CONTENT_ENCODING);
    }

    fn encoding(&self) -> ContentCoding {
        match self
            .header("content-encoding")
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            None | Some("" | "identity") => ContentCoding::Identity,
            Some("gzip" | "x-gzip") => ContentCoding::Gzip,
            Some("zstd") => ContentCoding::Zstd,
            Some(_) => ContentCoding::Unknown,
        }
    }

    /// The decoded body. We ask for `identity`, but some servers pack all the same.
    pub fn into_reader(self) -> Result<Box<dyn Read + Send>> {
        let encoding = self.encoding();
        let said = || shown(self.header("content-encoding").unwrap_or_default());
        if encoding == ContentCoding::Unknown {
            let error = format!("it sends what is packed in a way that is not known: {}", said());
            return Err(Error::new(error).of_place(error::ErrorKind::Unreachable));
        }
        let body = self.body.into_reader();
        Ok(match encoding {
            ContentCoding::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::new(body)))
            }
            ContentCoding::Zstd => Box::new(zstd::stream::read::Decoder::new(body)?),
            _ => Box::new(body),
        })
    }

    /// The `Location` field, with bytes escaped that no address may hold.
    pub fn location(&self) -> Option<String> {
        let value = self.headers.get(header::LOCATION)?;
        Some(address::escape_forbidden(value.as_bytes()))
    }

    /// All header fields of that name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

/// Content coding of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentCoding {
    Identity,
    Gzip,
    Zstd,
    Unknown,
}

/// Client of one repository of a registry.
pub struct RegistrySession {
    /// Address and credentials of the repository.
    pub endpoint: RegistryEndpoint,
    /// Timeouts and pauses.
    pub timeouts: RequestTimeouts,
    http: HttpAgents,
    tokens: TokenCache,
    // The scheme of an insecure registry, http or https; unset until the first answer.
    scheme: OnceLock<&'static str>,
    // Challenges of /v2/ without a login; `None`: not fetched yet.
    challenges: Mutex<Option<Vec<String>>>,
}

impl RegistrySession {
    /// Prepares the session; sends nothing yet.
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
        let tokens = TokenCache::new(&endpoint, access)?;
        let scheme = OnceLock::new();
        if endpoint.transport == TransportSecurity::Verified {
            let _ = scheme.set("https");
        }
        Ok(Self { endpoint, timeouts, http, tokens, scheme, challenges: Mutex::default() })
    }

    /// Name for error messages: `registry 127.0.0.1:5000`.
    pub fn name(&self) -> String {
        format!("registry {}", refusal::login_name(&self.endpoint.host))
    }

    /// A path below the repository.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.endpoint.repository)
    }

    /// Makes the error for an answer that is no success.
    pub fn refused(&self, answer: RegistryResponse, subject: &RequestSubject<'_>) -> Error {
        refusal::explain(answer, subject, &self.endpoint)
    }

    /// Repeats `work` until it succeeds or no retry can help.
    pub fn with_retries<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RequestFailure>,
    ) -> Result<T> {
        let mut retries = RetryCounter::new(self.timeouts);
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(failure) => retries.pause_or_fail(failure).context(|| self.name())?,
            }
        }
    }

    /// Sends a request until an answer arrives.
    pub fn request(&self, request: &RegistryRequest<'_>) -> Result<RegistryResponse> {
        self.with_retries(|| self.attempt(request))
    }

    /// Sends a request, and repeats it once with a new token where the registry demands one. Sends a login at once: a
    /// registry may hide what exists from others (403, 404). Errors also for an answer that a retry may improve: 408,
    /// 429 and all of 5xx.
    pub fn attempt(
        &self,
        request: &RegistryRequest<'_>,
    ) -> Result<RegistryResponse, RequestFailure> {
        let mut used = self.tokens.current();
        if used.is_none() && self.tokens.has_login() {
            used = self.log_in()?;
        }
        let mut answer = self.reach(request, used.as_ref())?;
        if answer.status == 401 && answer.is_home {
            let mut challenge = challenges(&answer);
            if challenge.is_empty() {
                challenge = self.challenges_of_api()?;
            }
            if let Some(new) = self.tokens.renew(self, &challenge, used.as_ref())? {
                answer = self.reach(request, Some(&new))?;
            }
        }
        self.final_answer(answer, &RequestSubject::Api)
    }

    /// Answers the challenge of /v2/ with our login, once. `None`: no challenge.
    fn log_in(&self) -> Result<Option<HeaderValue>, RequestFailure> {
        // Held until an answer arrives: other threads want the same token.
        let mut known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return Ok(self.tokens.current());
        }
        let found = self.ask_for_challenges()?;
        let granted = match found.is_empty() {
            true => None,
            false => self.tokens.renew(self, &found, None)?,
        };
        *known = Some(found);
        Ok(granted)
    }

    /// The challenges of /v2/ without a login, cached.
    fn challenges_of_api(&self) -> Result<Vec<String>, RequestFailure> {
        let mut known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) => Ok(known.clone()),
            None => Ok(known.insert(self.ask_for_challenges()?).clone()),
        }
    }

    fn ask_for_challenges(&self) -> Result<Vec<String>, RequestFailure> {
        let answer = self.reach(&RegistryRequest::new(Method::GET, "/v2/".to_owned()), None)?;
        let is_wanted = answer.status == 401 && answer.is_home;
        Ok(if is_wanted { challenges(&answer) } else { Vec::new() })
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

    fn reach(
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
        Err(error.of_place(error::ErrorKind::Unreachable).into())
    }

    /// Refuses plain HTTP where the registry must be verified.
    pub fn check_sealed(&self, address: &Uri) -> Result<()> {
        let is_sealed = ServerOrigin::of(address).is_some_and(|origin| origin.is_https());
        if is_sealed || self.endpoint.transport == TransportSecurity::Insecure {
            return Ok(());
        }
        let host = shown(address.host().unwrap_or_default());
        Err(Error::new(format!("it sends us to {host} without TLS"))
            .of_place(error::ErrorKind::Unreachable)
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

fn challenges(answer: &RegistryResponse) -> Vec<String> {
    answer.headers("www-authenticate").map(str::to_owned).collect()
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
