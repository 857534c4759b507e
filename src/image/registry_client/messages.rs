//! Messages of a session: a request that can be sent again, and the answer to it.

use std::fs::File;
use std::io::{self, Read};

use ureq::Body;
use ureq::http::{HeaderMap, Method, Uri, header};

use super::address::{self, shown};
use crate::error::{self, Error, Result};

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
    pub(super) method: Method,
    pub(super) target: RequestTarget,
    pub(super) accept: Option<String>,
    pub(super) offset: u64,
    pub(super) content: RequestBody<'a>,
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

    /// True if the request changes nothing.
    pub(super) fn is_reading(&self) -> bool {
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
    pub(super) body: Body,
    pub(super) headers: HeaderMap,
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
            return Err(Error::new(error).at_endpoint(error::ErrorKind::Unreachable));
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
