//! Errors for a registry's refusals: our wording first, then the registry's own, which is untrusted: it is cut and
//! escaped.

use std::io::Read;

use serde::Deserialize;

use super::address::shown;
use super::messages::RegistryResponse;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::go_json;
use crate::image::endpoint::RegistryEndpoint;

/// Object of a request, for error messages.
#[derive(Clone, Copy, Debug)]
pub enum RequestSubject<'a> {
    /// The registry as such, not an object in it.
    Api,
    /// A tag or digest.
    Manifest(&'a str),
    /// A manifest that is pushed.
    NewManifest(&'a str),
    /// The tags of a repository.
    Tags,
    /// The list of repositories.
    Catalog,
    /// A blob.
    Blob(&'a Digest),
    /// The upload of a blob, and the check before it.
    Upload,
    /// A token from this host.
    Token(&'a str),
}

impl RequestSubject<'_> {
    /// Describes the object, in this repository.
    fn describe(&self, repository: &str) -> String {
        match self {
            Self::Api => "its API".to_owned(),
            Self::Catalog => "its list of repositories".to_owned(),
            Self::Manifest(which) | Self::NewManifest(which) if which.contains(':') => {
                format!("'{repository}@{which}'")
            }
            Self::Manifest(which) | Self::NewManifest(which) => {
                format!("'{repository}:{which}'")
            }
            Self::Tags => format!("'{repository}'"),
            Self::Blob(digest) => format!("blob {digest} of '{repository}'"),
            Self::Upload => format!("an upload to '{repository}'"),
            Self::Token(host) => format!("a token of {}", shown(host)),
        }
    }
}

/// Reads the message from the body of a refusal: `{"errors":[{"code":"DENIED","message":"..."}]}`, or a token server's
/// `{"details":"..."}`.
fn own_words(answer: RegistryResponse) -> Option<String> {
    #[derive(Deserialize)]
    struct RefusalBody {
        #[serde(default, deserialize_with = "go_json::list")]
        errors: Vec<RefusalMessage>,
        details: Option<String>,
    }
    #[derive(Default, Deserialize)]
    struct RefusalMessage {
        code: Option<String>,
        message: Option<String>,
    }
    let mut bytes = Vec::new();
    // A body that breaks off is no error: the caller has a text without it.
    let _ = answer.into_reader().ok()?.take(64 << 10).read_to_end(&mut bytes);
    let body: RefusalBody = go_json::read(&bytes).ok()?;
    let text = match body.errors.into_iter().next() {
        Some(RefusalMessage { code: Some(code), message: Some(message) }) => {
            format!("{code}: {message}")
        }
        Some(one) => one.message.or(one.code)?,
        None => body.details?,
    };
    Some(shown(&text))
}

/// Name that people use for the registry.
pub fn login_name(host: &str) -> &str {
    if host == "registry-1.docker.io" { "docker.io" } else { host }
}

/// True if the registry itself, not a token server, checks names and passwords: then it has checked ours.
fn is_basic(answer: &RegistryResponse) -> bool {
    let schemes = answer.headers("www-authenticate").filter_map(|text| text.split(' ').next());
    let mut schemes = schemes.map(str::to_ascii_lowercase).peekable();
    answer.is_home && schemes.peek().is_some() && schemes.all(|scheme| scheme == "basic")
}

fn kind_of(status: u16, subject: &RequestSubject<'_>) -> ErrorKind {
    match status {
        400 | 405 | 406 | 415 | 422 if matches!(subject, RequestSubject::NewManifest(_)) => {
            ErrorKind::Format
        }
        401 | 403 => ErrorKind::Refused,
        404 => ErrorKind::NotFound,
        _ => ErrorKind::Unreachable,
    }
}

/// Makes the error for an answer that is no success.
pub fn explain(
    answer: RegistryResponse,
    subject: &RequestSubject<'_>,
    endpoint: &RegistryEndpoint,
) -> Error {
    let status = answer.status;
    let has_login = endpoint.credentials.is_some();
    let login = format!("usnea login {}", login_name(&endpoint.host));
    let repository = &endpoint.repository;
    let what = subject.describe(repository);
    let (is_home, is_basic) = (answer.is_home, is_basic(&answer));
    let words = own_words(answer).map(|words| format!(" ({words})")).unwrap_or_default();
    let (text, hint) = match (status, subject) {
        (401, RequestSubject::Api | RequestSubject::Token(_)) if has_login => {
            ("our user name or password is refused".to_owned(), Some(login))
        }
        (401, _) if has_login && is_basic => {
            ("our user name or password is refused".to_owned(), Some(login))
        }
        (401, RequestSubject::Api) => ("a login is needed".to_owned(), Some(login)),
        (401, RequestSubject::Upload) if has_login => {
            (format!("our login may not write to '{repository}'"), Some(login))
        }
        (401, RequestSubject::Upload) => (format!("{what} needs a login"), Some(login)),
        (401, _) if is_home && !has_login => {
            (format!("{what} does not exist, or needs a login"), Some(login))
        }
        (401, _) if is_home => {
            (format!("{what} does not exist, or our login may not have it"), Some(login))
        }
        (403, RequestSubject::Upload) if has_login => {
            (format!("our login may not write to '{repository}'"), is_home.then_some(login))
        }
        (403, _) => (format!("access to {what} is denied"), is_home.then_some(login)),
        (404, RequestSubject::Api) => ("it is no registry: it has no /v2/".to_owned(), None),
        (404, RequestSubject::Manifest(_)) => {
            (format!("{what} does not exist"), Some("check the name and the tag".to_owned()))
        }
        (404, _) => (format!("{what} does not exist"), None),
        (429, _) => ("too many requests".to_owned(), (!has_login).then_some(login)),
        (status, _) => (format!("{what}: it answers {status}"), None),
    };
    let error = Error::new(format!("{text}{words}"));
    let error = match kind_of(status, subject) {
        // Another registry's answer would be the same.
        kind @ ErrorKind::Format => error.of_kind(kind),
        kind => error.at_endpoint(kind),
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
