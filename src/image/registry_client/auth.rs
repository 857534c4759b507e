//! Authentication: challenges (RFC 9110, 11; distribution's "Token Authentication") and the answers to them.
//!
//! A token is fetched when the registry demands one, cached until it expires, and renewed at most once for a request.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{HeaderValue, Method, Uri};

use super::RegistryAccess;
use super::address::{self, ServerOrigin};
use super::exchange::RegistryExchange;
use super::failure::RequestFailure;
use super::http::broken_body;
use super::messages::{RegistryRequest, RequestTarget};
use super::refusal::RequestSubject;
use crate::error::{Error, ErrorKind, Result};
use crate::go_json;
use crate::image::endpoint::{RegistryCredentials, RegistryEndpoint};

/// Largest accepted answer of a token server, in bytes.
const LARGEST: u64 = 1 << 20;
/// Lifetime of a token whose answer names none, in seconds (distribution's specification).
const DEFAULT_LIFE: u64 = 60;
/// Safety margin before a token expires: a request sent in the token's last moments would arrive too late.
const MARGIN: Duration = Duration::from_secs(5);

/// An authentication challenge: `Bearer realm="https://...",service="..."`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    fields: Vec<(String, String)>,
}

impl Challenge {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A value for `Authorization`, and the time when it expires.
struct GrantedToken {
    value: HeaderValue,
    until: Option<Instant>,
}

/// Caches the granted authorization.
pub struct TokenCache {
    /// Scope such as `repository:library/debian:pull`; `None` where the endpoint names no repository.
    scope: Option<String>,
    credentials: Option<RegistryCredentials>,
    grant: Mutex<Option<GrantedToken>>,
}

impl TokenCache {
    /// Creates a tokens without a grant, unless the credentials are already a registry token.
    pub fn new(endpoint: &RegistryEndpoint, access: RegistryAccess) -> Result<Self> {
        let repository = &endpoint.repository;
        let of = |actions| {
            (!repository.is_empty()).then(|| format!("repository:{repository}:{actions}"))
        };
        let scope = match access {
            RegistryAccess::Pull => of("pull"),
            RegistryAccess::Push => of("pull,push"),
            RegistryAccess::Catalog => Some("registry:catalog:*".to_owned()),
        };
        let grant = match &endpoint.credentials {
            Some(RegistryCredentials::RegistryToken(token)) => {
                Some(GrantedToken { value: header(&format!("Bearer {token}"))?, until: None })
            }
            _ => None,
        };
        let credentials = endpoint.credentials.clone();
        Ok(Self { scope, credentials, grant: Mutex::new(grant) })
    }

    /// True if the endpoint has credentials.
    pub fn has_login(&self) -> bool {
        self.credentials.is_some()
    }

    /// The authorization granted now; `None` if there is none or it has expired.
    pub fn current(&self) -> Option<HeaderValue> {
        let grant = self.grant.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |grant: &&GrantedToken| grant.until.is_none_or(|until| Instant::now() < until);
        grant.as_ref().filter(fresh).map(|grant| grant.value.clone())
    }

    /// An authorization other than `used`, which was refused with these challenges. `None`: no other is available.
    pub fn renew(
        &self,
        exchange: &RegistryExchange,
        challenges: &[String],
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RequestFailure> {
        // Held while a token is fetched: other threads want the same token.
        let mut kept = self.grant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = kept.as_ref().filter(|grant| Some(&grant.value) != used)
            && grant.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Some(grant.value.clone()));
        }
        let challenges: Vec<Challenge> =
            challenges.iter().filter_map(|text| parse(text)).flatten().collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let grant = match (of("bearer"), of("basic"), &self.credentials) {
            (_, _, Some(RegistryCredentials::RegistryToken(_))) => return Ok(None),
            (Some(challenge), ..) => self.fetch(exchange, challenge)?,
            (None, Some(_), Some(RegistryCredentials::Password { username, password })) => {
                GrantedToken { value: basic(username, password)?, until: None }
            }
            (None, Some(_), _) => return Ok(None),
            (None, None, _) => {
                let error = Error::new("it wants a login of a kind that is not known here");
                return Err(error.at_endpoint(ErrorKind::Refused).into());
            }
        };
        if Some(&grant.value) == used {
            return Ok(None);
        }
        let value = grant.value.clone();
        *kept = Some(grant);
        Ok(Some(value))
    }

    fn fetch(
        &self,
        exchange: &RegistryExchange,
        challenge: &Challenge,
    ) -> Result<GrantedToken, RequestFailure> {
        let realm = challenge.field("realm").unwrap_or_default();
        let realm: Uri = realm.parse().map_err(|_| no_realm())?;
        let host = realm.host().ok_or_else(no_realm)?.to_owned();
        ServerOrigin::of(&realm).ok_or_else(no_realm)?;
        exchange.check_sealed(&realm)?;
        let mut fields = Vec::new();
        fields.extend(challenge.field("service").map(|service| ("service", service)));
        fields.extend(self.scopes(challenge).into_iter().map(|scope| ("scope", scope)));
        let mut form = String::new();
        let (request, authorization) = match &self.credentials {
            Some(RegistryCredentials::IdentityToken(token)) => {
                fields.push(("grant_type", "refresh_token"));
                fields.push(("client_id", "usnea"));
                fields.push(("refresh_token", token));
                for (name, value) in fields {
                    form += &format!("&{name}={}", address::escape(value));
                }
                let form = form.trim_start_matches('&').as_bytes();
                let request = RegistryRequest::at(Method::POST, RequestTarget::Path(String::new()));
                ((request.bytes("application/x-www-form-urlencoded", form), realm), None)
            }
            credentials => {
                let mut authorization = None;
                if let Some(RegistryCredentials::Password { username, password }) = credentials {
                    fields.push(("account", username));
                    authorization = Some(basic(username, password)?);
                }
                let mut realm = realm;
                for (name, value) in fields {
                    realm = address::with_query(&realm, name, value)?;
                }
                ((RegistryRequest::new(Method::GET, String::new()), realm), authorization)
            }
        };
        let (request, realm) = request;
        let answer = exchange.exchange(&request, &realm, authorization.as_ref())?;
        let subject = RequestSubject::Token(&host);
        let answer = exchange.final_answer(answer, &subject)?;
        if !(200..300).contains(&answer.status) {
            return Err(exchange.refused(answer, &subject).into());
        }
        let mut bytes = Vec::new();
        let mut body = answer.into_reader()?.take(LARGEST);
        body.read_to_end(&mut bytes).map_err(broken_body)?;
        Ok(read_token(&bytes)?)
    }

    /// Our scope, and the registry's where it names another subject (a repository that has another name there).
    fn scopes<'a>(&'a self, challenge: &'a Challenge) -> Vec<&'a str> {
        let Some(own) = self.scope.as_deref() else { return Vec::new() };
        let subject = |scope: &str| scope.rsplit_once(':').map(|(subject, _)| subject.to_owned());
        let other = challenge.field("scope").filter(|scope| subject(scope) != subject(own));
        [Some(own), other].into_iter().flatten().collect()
    }
}

fn no_realm() -> Error {
    Error::new("it sends us for a token to what is not an address of http or https")
        .at_endpoint(ErrorKind::Unreachable)
}

fn read_token(bytes: &[u8]) -> Result<GrantedToken> {
    #[derive(Deserialize)]
    struct TokenDocument {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<Value>,
    }
    let bad =
        || Error::new("the token server's answer has no token").at_endpoint(ErrorKind::Unreachable);
    // serde's own message would show a piece of the token.
    let read: TokenDocument = go_json::read(bytes).map_err(|_| bad())?;
    let token = [read.token, read.access_token].into_iter().flatten().find(|one| !one.is_empty());
    let life = read.expires_in.and_then(|said| seconds(&said)).unwrap_or(DEFAULT_LIFE);
    let life = Duration::from_secs(life.clamp(1, 86_400));
    let life = life.checked_sub(MARGIN).filter(|left| *left >= MARGIN).unwrap_or(life);
    let value = header(&format!("Bearer {}", token.ok_or_else(bad)?))?;
    Ok(GrantedToken { value, until: Some(Instant::now() + life) })
}

/// Lifetime of a token in seconds: a number, also in quotes or with a fraction. `None`: no positive number.
fn seconds(said: &Value) -> Option<u64> {
    let number = match said {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        said => said.as_f64()?,
    };
    (number > 0.0).then_some(number as u64)
}

fn basic(username: &str, password: &str) -> Result<HeaderValue> {
    header(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new("a token that is none: not plain text"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Parses the challenges of one `WWW-Authenticate`; schemes and names become lower case. `None`: malformed.
fn parse(text: &str) -> Option<Vec<Challenge>> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = token(rest)?;
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']))?;
                let challenge = challenges.last_mut()?;
                // The last of two fields with the same name counts, as with docker and podman.
                challenge.fields.retain(|(name, _)| *name != word);
                challenge.fields.push((word, value));
                rest = separated(after)?;
            }
            None => {
                challenges.push(Challenge { scheme: word, fields: Vec::new() });
                if !after.is_empty() && !after.starts_with([' ', '\t', ',']) {
                    return None;
                }
                rest = after.trim_start_matches([' ', '\t', ',']);
            }
        }
    }
    Some(challenges)
}

/// The rest after a separator: commas or only blanks, for some registries write no commas. `None`: neither a separator
/// nor the end.
fn separated(rest: &str) -> Option<&str> {
    let is_separated = rest.is_empty() || rest.starts_with([' ', '\t', ',']);
    is_separated.then(|| rest.trim_start_matches([' ', '\t', ',']))
}

fn token(text: &str) -> Option<(String, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    (!word.is_empty()).then(|| (word.to_ascii_lowercase(), rest))
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        let is_bare = !value.is_empty() && !value.contains('"');
        return is_bare.then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return quoted.get(at + 1..).map(|rest| (value, rest)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read_strictly() {
        let text = r#"Bearer realm="https://a.example/token",service="r, \"x\"", scope="repository:x:pull,push",Basic realm=plain"#;
        let all = parse(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].field("service"), Some("r, \"x\""));
        assert_eq!(all[0].field("scope"), Some("repository:x:pull,push"));
        assert_eq!((all[1].scheme.as_str(), all[1].field("realm")), ("basic", Some("plain")));
        assert_eq!(parse("Negotiate, Basic realm=\"\"").unwrap().len(), 2);
        for bad in [
            r#"Bearer realm="https://a"#,
            r#"Bearer realm="a"service="b""#,
            r#"realm="a""#,
            "Bearer realm=,x=y",
            "\"Bearer\"",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn challenges_without_commas_and_with_a_field_twice_are_read() {
        let all = parse(r#"Bearer realm="https://a" service="b"  Basic realm="c""#).unwrap();
        assert_eq!((all.len(), all[0].field("service")), (2, Some("b")));
        assert_eq!(all[1].field("realm"), Some("c"));
        assert_eq!(parse(r#"Bearer realm="a",realm="b""#).unwrap()[0].field("realm"), Some("b"));
        assert_eq!(parse("Bearer realm=a service=b").unwrap()[0].field("service"), Some("b"));
    }

    #[test]
    fn a_tokens_life_may_be_written_in_any_way() {
        let left = |life: &str| {
            let text = format!(r#"{{"token":"a","expires_in":{life}}}"#);
            let until = read_token(text.as_bytes()).unwrap().until.unwrap();
            until.saturating_duration_since(Instant::now()).as_secs()
        };
        for said in ["300", "300.5", r#""300""#, r#"" 300 ""#] {
            assert!((280..=300).contains(&left(said)), "{said}");
        }
        for nothing in ["-1", "0", "null", r#""""#, "true", "{}", r#""never""#] {
            assert!((40..=60).contains(&left(nothing)), "{nothing}");
        }
    }

    #[test]
    fn tokens_have_two_names_and_a_life() {
        let value = |text: &str| read_token(text.as_bytes()).map(|grant| grant.value);
        assert_eq!(value(r#"{"token":"a"}"#).unwrap(), "Bearer a");
        assert_eq!(value(r#"{"access_token":"b","expires_in":1}"#).unwrap(), "Bearer b");
        for bad in ["", "{}", r#"{"token":""}"#, r#"{"token":"secret\n"}"#] {
            let error = value(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let endless = format!(r#"{{"token":"a","expires_in":{}}}"#, u64::MAX);
        assert!(read_token(endless.as_bytes()).unwrap().until.is_some());
    }

    proptest! {
        #[test]
        fn no_challenge_breaks_us(text in "[a-zA-Z=\", \\\\é]{0,40}|.{0,40}") {
            parse(&text);
        }
    }
}
