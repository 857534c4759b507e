//! A file from the web (`usnea import ADDRESS`): one request, redirects followed, no login.

use std::io::Read;

use ureq::http::{Request, Uri, header};

use super::RegistryAccess;
use super::address::shown;
use super::address::{self, ServerOrigin};
use super::http::HttpAgents;
use super::retry::RequestTimeouts;
use crate::error::{Context, Error, Result};
use crate::image::endpoint::{RegistryEndpoint, RetrySettings, TransportSecurity};

/// Most redirects.
const MOST_REDIRECTS: usize = 10;

/// Downloads the content at `address`. Errors: not an address of http or https, no answer, an answer other than
/// success, a redirect from https to http.
pub fn fetch(address: &str) -> Result<Box<dyn Read + Send>> {
    follow(address).context(|| shown(address))
}

fn follow(text: &str) -> Result<Box<dyn Read + Send>> {
    let bad = || Error::new("not an address of http or https");
    let text = address::escape_forbidden(text.split('#').next().unwrap_or_default().as_bytes());
    let mut address: Uri = text.parse().map_err(|_| bad())?;
    let start = ServerOrigin::of(&address).ok_or_else(bad)?;
    let endpoint = RegistryEndpoint {
        host: address.authority().map(ToString::to_string).unwrap_or_default(),
        repository: String::new(),
        transport: TransportSecurity::Verified,
        credentials: None,
        certificates: Vec::new(),
        retries: RetrySettings::default(),
    };
    let http = HttpAgents::new(&endpoint, RegistryAccess::Pull, RequestTimeouts::default())?;
    for _ in 0..=MOST_REDIRECTS {
        let request = Request::get(address.clone()).header(header::ACCEPT_ENCODING, "identity");
        let request = request.body(()).map_err(|_| bad())?;
        let answer = http.send(request).map_err(|failure| failure.error)?;
        let status = answer.status().as_u16();
        let location = answer.headers().get(header::LOCATION);
        match (status, location) {
            (200, _) => return Ok(Box::new(answer.into_body().into_reader())),
            (301..=303 | 307 | 308, Some(location)) => {
                let location = address::escape_forbidden(location.as_bytes());
                let next = address::resolve(&address, &location)?;
                let is_sealed = ServerOrigin::of(&next).is_some_and(|origin| origin.is_https());
                if start.is_https() && !is_sealed {
                    return Err(Error::new("it sends us on without TLS"));
                }
                address = next;
            }
            _ => return Err(Error::new(format!("it answers {status}"))),
        }
    }
    Err(Error::new(format!("more than {MOST_REDIRECTS} redirects")))
}
