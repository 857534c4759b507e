//! Requests to one repository: addresses, tokens, redirects, and retries where they help.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use ureq::{Body, SendBody};

use super::Access;
use super::address::{self, Origin};
use super::auth::Keeper;
use super::http::{Failure, Http, Kind};
use super::refusal::{self, Subject, shown};
use super::retry::{self, Patience, Tempo};
use crate::error::{self, Context, Error, Result};
use crate::image::endpoint::{Endpoint, Transport};

/// Most redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Destination of a request.
#[derive(Clone, Debug)]
pub enum Place {
    /// Path at the registry.
    Path(String),
    /// Absolute address that the registry named.
    Address(Uri),
}

/// Body of a request; can be sent again for a retry.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// No body.
    Nothing,
    /// Media type and bytes.
    Bytes(&'a str, &'a [u8]),
    /// A file of this length; `progress` receives the bytes sent so far.
    File { length: u64, open: &'a dyn Fn() -> Result<File>, progress: &'a dyn Fn(u64) },
}

/// A request.
#[derive(Clone)]
pub struct Ask<'a> {
    method: Method,
    place: Place,
    accept: Option<String>,
    from: u64,
    content: Content<'a>,
}

impl<'a> Ask<'a> {
    /// Makes a request for a path at the registry.
    pub fn new(method: Method, path: String) -> Self {
        Self::at(method, Place::Path(path))
    }

    /// Makes a request for any place.
    pub fn at(method: Method, place: Place) -> Self {
        Self { method, place, accept: None, from: 0, content: Content::Nothing }
    }

    /// Accepts these media types.
    pub fn accept(mut self, accept: String) -> Self {
        self.accept = Some(accept);
        self
    }

    /// Asks for the bytes from `from` on.
    pub fn from(mut self, from: u64) -> Self {
        self.from = from;
        self
    }

    /// Sets bytes of media type `kind` as the body.
    pub fn bytes(mut self, kind: &'a str, bytes: &'a [u8]) -> Self {
        self.content = Content::Bytes(kind, bytes);
        self
    }

    /// Sets the body.
    pub fn content(mut self, content: Content<'a>) -> Self {
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
pub struct Answer {
    /// HTTP status, such as 200.
    pub status: u16,
    /// Address that answered, after redirects.
    pub address: Uri,
    /// True if the answer is from the registry itself.
    pub is_home: bool,
    body: Body,
    headers: HeaderMap,
}

impl Answer {
    /// The value of a header field, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// True if the body is packed for the transfer alone (Content-Encoding).
    pub fn is_encoded(&self) -> bool {
        self.encoding() != Encoding::Identity
    }

    /// Ignores the content encoding: the body is read as it arrives.
    pub fn forget_encoding(&mut self) {
        self.headers.remove(header::CONTENT_ENCODING);
    }

    fn encoding(&self) -> Encoding {
        match self
            .header("content-encoding")
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            None | Some("" | "identity") => Encoding::Identity,
            Some("gzip" | "x-gzip") => Encoding::Gzip,
            Some("zstd") => Encoding::Zstd,
            Some(_) => Encoding::Unknown,
        }
    }

    /// The decoded body. We ask for `identity`, but some servers pack all the same.
    pub fn into_reader(self) -> Result<Box<dyn Read + Send>> {
        let encoding = self.encoding();
        let said = || shown(self.header("content-encoding").unwrap_or_default());
        if encoding == Encoding::Unknown {
            let error = format!("it sends what is packed in a way that is not known: {}", said());
            return Err(Error::new(error).of_kind(error::Kind::Unreachable));
        }
        let body = self.body.into_reader();
        Ok(match encoding {
            Encoding::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::new(body)))
            }
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(body)?),
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
enum Encoding {
    Identity,
    Gzip,
    Zstd,
    Unknown,
}

/// Client of one repository of a registry.
pub struct Session {
    /// Address and credentials of the repository.
    pub endpoint: Endpoint,
    /// Timeouts and pauses.
    pub tempo: Tempo,
    http: Http,
    keeper: Keeper,
    // The scheme of an insecure registry, http or https; unset until the first answer.
    scheme: OnceLock<&'static str>,
    // Challenges of /v2/ without a login; `None`: not fetched yet.
    challenges: Mutex<Option<Vec<String>>>,
}

impl Session {
    /// Prepares the session; sends nothing yet.
    pub fn new(endpoint: Endpoint, access: Access, tempo: Tempo) -> Result<Self> {
        let host = &endpoint.host;
        let address = format!("https://{host}/").parse::<Uri>().ok();
        if address.is_none_or(|address| Origin::of(&address).is_none() || address.path() != "/") {
            return Err(Error::new(format!("'{}' is not a registry's name", shown(host))));
        }
        let http = Http::new(&endpoint, access, tempo)?;
        let keeper = Keeper::new(&endpoint, access)?;
        let scheme = OnceLock::new();
        if endpoint.transport == Transport::Verified {
            let _ = scheme.set("https");
        }
        Ok(Self { endpoint, tempo, http, keeper, scheme, challenges: Mutex::default() })
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
    pub fn refused(&self, answer: Answer, subject: &Subject<'_>) -> Error {
        refusal::explain(answer, subject, &self.endpoint)
    }

    /// Repeats `work` until it succeeds or no retry can help.
    pub fn persist<T>(&self, mut work: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut patience = Patience::new(self.tempo);
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(failure) => patience.bear(failure).context(|| self.name())?,
            }
        }
    }

    /// Sends a request until an answer arrives.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Answer> {
        self.persist(|| self.attempt(ask))
    }

    /// Sends a request, and repeats it once with a new token where the registry demands one. Sends a login at once: a
    /// registry may hide what exists from others (403, 404). Errors also for an answer that a retry may improve: 408,
    /// 429 and all of 5xx.
    pub fn attempt(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let mut used = self.keeper.current();
        if used.is_none() && self.keeper.has_login() {
            used = self.log_in()?;
        }
        let mut answer = self.reach(ask, used.as_ref())?;
        if answer.status == 401 && answer.is_home {
            let mut challenge = challenges(&answer);
            if challenge.is_empty() {
                challenge = self.challenges_of_api()?;
            }
            if let Some(new) = self.keeper.renew(self, &challenge, used.as_ref())? {
                answer = self.reach(ask, Some(&new))?;
            }
        }
        self.passing(answer, &Subject::Api)
    }

    /// Answers the challenge of /v2/ with our login, once. `None`: no challenge.
    fn log_in(&self) -> Result<Option<HeaderValue>, Failure> {
        // Held until an answer arrives: other threads want the same token.
        let mut known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return Ok(self.keeper.current());
        }
        let found = self.ask_for_challenges()?;
        let granted = match found.is_empty() {
            true => None,
            false => self.keeper.renew(self, &found, None)?,
        };
        *known = Some(found);
        Ok(granted)
    }

    /// The challenges of /v2/ without a login, cached.
    fn challenges_of_api(&self) -> Result<Vec<String>, Failure> {
        let mut known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) => Ok(known.clone()),
            None => Ok(known.insert(self.ask_for_challenges()?).clone()),
        }
    }

    fn ask_for_challenges(&self) -> Result<Vec<String>, Failure> {
        let answer = self.reach(&Ask::new(Method::GET, "/v2/".to_owned()), None)?;
        let is_wanted = answer.status == 401 && answer.is_home;
        Ok(if is_wanted { challenges(&answer) } else { Vec::new() })
    }

    /// Returns the answer, or a passing failure where a retry may improve it.
    pub fn passing(&self, answer: Answer, subject: &Subject<'_>) -> Result<Answer, Failure> {
        if !matches!(answer.status, 408 | 429 | 500..=599) {
            return Ok(answer);
        }
        let after = answer.header("retry-after");
        let after = after.and_then(|value| retry::retry_after(value, Timestamp::now()));
        let error = refusal::explain(answer, subject, &self.endpoint);
        Err(Failure { error, kind: Kind::Passing, after })
    }

    fn reach(&self, ask: &Ask<'_>, token: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let at = |scheme: &str, path: &str| -> Result<Uri, Failure> {
            let text = format!("{scheme}://{}{path}", self.endpoint.host);
            text.parse().map_err(|_| Failure::lasting(Error::new("not an address")))
        };
        let path = match (&ask.place, self.scheme.get()) {
            (Place::Address(address), _) => return self.exchange(ask, address, token),
            (Place::Path(path), Some(scheme)) => {
                return self.exchange(ask, &at(scheme, path)?, token);
            }
            (Place::Path(path), None) => path,
        };
        // Insecure registry: HTTPS first, plain HTTP if HTTPS fails.
        let (scheme, answer) = match self.exchange(ask, &at("https", path)?, token) {
            Err(failure) if failure.kind != Kind::Lasting => {
                match self.exchange(ask, &at("http", path)?, token) {
                    // A server that wants TLS answers a plain request with 400.
                    Ok(answer) if answer.status != 400 => ("http", answer),
                    Err(plain) if plain.kind != Kind::Unanswered => return Err(plain),
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
        ask: &Ask<'_>,
        start: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let home = Origin::of(start);
        let own = format!("{}://{}", start.scheme_str().unwrap_or_default(), self.endpoint.host);
        let own = own.parse().ok().and_then(|own| Origin::of(&own));
        let mut address = start.clone();
        // An upload's address may be at another server: our token is not sent there.
        let mut is_home = home == own || !matches!(ask.place, Place::Address(_));
        for _ in 0..=MOST_REDIRECTS {
            let authorization = authorization.filter(|_| is_home);
            let response = self.send(ask, &address, authorization)?;
            let status = response.status().as_u16();
            let (parts, body) = response.into_parts();
            let answer = Answer { status, address, is_home, body, headers: parts.headers };
            let Some(location) = answer.location() else {
                return Ok(answer);
            };
            let is_redirect = match status {
                301..=303 => ask.is_reading(),
                307 | 308 => true,
                _ => false,
            };
            if !is_redirect {
                return Ok(answer);
            }
            let next = address::resolve(&answer.address, &location)?;
            is_home &= Origin::of(&next) == home;
            if !ask.is_reading() && !is_home {
                return Err(Error::new("it sends what we upload to another server").into());
            }
            self.check_sealed(&next)?;
            address = next;
        }
        let error = Error::new(format!("more than {MOST_REDIRECTS} redirects"));
        Err(error.of_kind(error::Kind::Unreachable).into())
    }

    /// Refuses plain HTTP where the registry must be verified.
    pub fn check_sealed(&self, address: &Uri) -> Result<()> {
        let is_sealed = Origin::of(address).is_some_and(|origin| origin.is_https());
        if is_sealed || self.endpoint.transport == Transport::Insecure {
            return Ok(());
        }
        let host = shown(address.host().unwrap_or_default());
        Err(Error::new(format!("it sends us to {host} without TLS"))
            .of_kind(error::Kind::Unreachable)
            .hint("a registry without TLS is used with --tls-verify=false"))
    }

    fn send(
        &self,
        ask: &Ask<'_>,
        address: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<ureq::http::Response<Body>, Failure> {
        let mut request = Request::builder().method(ask.method.clone()).uri(address.clone());
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        if let Some(accept) = &ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if ask.is_reading() {
            request = request.header(header::ACCEPT_ENCODING, "identity");
        }
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        let (mut slice, mut file);
        let (length, kind, reader): (u64, _, &mut dyn Read) = match ask.content {
            Content::Nothing if ask.is_reading() => {
                return self.http.send(request.body(()).map_err(|_| no_request())?);
            }
            Content::Nothing => {
                slice = &[][..];
                (0, None, &mut slice)
            }
            Content::Bytes(kind, bytes) => {
                slice = bytes;
                (bytes.len() as u64, Some(kind), &mut slice)
            }
            Content::File { length, open, progress } => {
                file = Counted { inner: open()?.take(length), count: 0, progress };
                (length, Some("application/octet-stream"), &mut file)
            }
        };
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.header(header::CONTENT_LENGTH, length);
        let request = request.body(SendBody::from_reader(reader)).map_err(|_| no_request())?;
        self.http.send(request)
    }
}

fn challenges(answer: &Answer) -> Vec<String> {
    answer.headers("www-authenticate").map(str::to_owned).collect()
}

fn no_request() -> Error {
    Error::new("not a request")
}

/// Counts the bytes read and reports them.
struct Counted<'a> {
    inner: io::Take<File>,
    count: u64,
    progress: &'a dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(room)?;
        self.count = self.count.saturating_add(length as u64);
        (self.progress)(self.count);
        Ok(length)
    }
}
