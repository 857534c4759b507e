//! Connections: sends one request to one address, and classifies the failure. Follows no redirects and knows no tokens.

use std::io;

use ureq::http::{Request, Response, Uri};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, AsSendBody, Body};

use super::failure::{FailureKind, RequestFailure};
use super::proxy::Proxies;
use super::retry::RequestTimeouts;
use super::{RegistryAccess, dns, tls};
use crate::error::{Error, Result};
use crate::hint;
use crate::image::endpoint::RegistryEndpoint;

/// Factor for the stall timeout of a push: the registry answers only after it has stored the bytes.
const STORING: u32 = 8;

/// Connections to a registry and its redirect targets: reused, direct or through proxies.
pub struct HttpAgents {
    proxies: Proxies,
    direct: Agent,
    // An agent for each scheme: ureq builds its TLS anew for a request with settings of its own.
    http: Option<Agent>,
    https: Option<Agent>,
}

impl HttpAgents {
    /// Prepares the agents; opens no connection yet.
    pub fn new(
        endpoint: &RegistryEndpoint,
        access: RegistryAccess,
        timeouts: RequestTimeouts,
    ) -> Result<Self> {
        let tls = tls::config(endpoint.transport, &endpoint.certificates)?;
        let stall = timeouts.stall * if access == RegistryAccess::Push { STORING } else { 1 };
        let agent = |proxy| {
            let config = Agent::config_builder()
                .tls_config(tls.clone())
                .proxy(proxy)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("usnea/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(timeouts.connect))
                .timeout_per_read(Some(stall))
                .timeout_per_write(Some(stall))
                .build();
            Agent::with_parts(config, DefaultConnector::default(), dns::NameResolver)
        };
        let proxies = Proxies::of_environment()?;
        let through = |address: &str| {
            let address = address.parse::<Uri>().ok()?;
            proxies.for_address(&address).map(|proxy| agent(Some(proxy.clone())))
        };
        // Names that no exception can match but '*', which matches all.
        let (http, https) = (through("http://0.invalid"), through("https://0.invalid"));
        Ok(Self { direct: agent(None), http, https, proxies })
    }

    /// Sends one request and returns the head of its answer.
    pub fn send(
        &self,
        request: Request<impl AsSendBody>,
    ) -> Result<Response<Body>, RequestFailure> {
        let agent = match self.proxies.for_address(request.uri()) {
            None => None,
            Some(_) if request.uri().scheme_str() == Some("https") => self.https.as_ref(),
            Some(_) => self.http.as_ref(),
        };
        agent.unwrap_or(&self.direct).run(request).map_err(|error| explain(&error))
    }
}

/// Makes the failure for a body that broke off.
pub fn broken_body(error: io::Error) -> RequestFailure {
    explain(&ureq::Error::from(error))
}

fn explain(error: &ureq::Error) -> RequestFailure {
    let unanswered = |error| RequestFailure { error, kind: FailureKind::Unanswered, after: None };
    match error {
        ureq::Error::Rustls(error) => explain_tls(error),
        ureq::Error::Io(error) => {
            let inner = error.get_ref();
            if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return explain_tls(error);
            }
            // Our own failure to read the content that we send.
            if let Some(ours) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
                return RequestFailure::lasting(ours.clone());
            }
            match error.kind() {
                io::ErrorKind::ConnectionRefused => unanswered(
                    Error::new("connection refused")
                        .hint("is the registry running, and are its name and port right?"),
                ),
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    unanswered(Error::new(error).hint("is this machine connected?"))
                }
                _ => RequestFailure::passing(Error::new(format!(
                    "the connection broke off ({})",
                    Error::from(io::Error::from(error.kind()))
                ))),
            }
        }
        ureq::Error::Timeout(ureq::Timeout::Connect) => unanswered(
            Error::new("it does not answer").hint("is its name right, and a proxy needed?"),
        ),
        ureq::Error::Timeout(_) => RequestFailure::passing(Error::new("nothing came for too long")),
        ureq::Error::Other(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => unanswered(ours.clone()),
            None => RequestFailure::lasting(Error::new(inner)),
        },
        ureq::Error::ConnectProxyFailed(why) => RequestFailure::unusable(
            Error::new(format!("the proxy refuses: {}", super::address::shown(why)))
                .hint("see HTTPS_PROXY and NO_PROXY in the environment"),
        ),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            RequestFailure::unusable(Error::new("what answers there does not speak HTTP"))
        }
        other => RequestFailure::passing(Error::new(super::address::shown(&other.to_string()))),
    }
}

fn explain_tls(error: &rustls::Error) -> RequestFailure {
    use rustls::{CertificateError, InvalidMessage};
    let trust = hint::TRUST_AUTHORITY;
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => RequestFailure {
            error: Error::new("what answers there does not speak TLS")
                .hint(hint::NO_TLS),
            kind: FailureKind::Unanswered,
            after: None,
        },
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => RequestFailure::unusable(
            Error::new("its certificate is not of an authority that is known here").hint(trust),
        ),
        rustls::Error::InvalidCertificate(why) => RequestFailure::unusable(
            Error::new(format!("its certificate: {}", super::address::shown(&why.to_string())))
                .hint(trust),
        ),
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            RequestFailure::unusable(Error::new("it requires a client certificate").hint(
                "put client.cert and client.key into certs.d/HOST:PORT, below /etc/docker or /etc/containers",
            ))
        }
        other => {
            RequestFailure::unusable(Error::new(format!("TLS: {}", super::address::shown(&other.to_string()))))
        }
    }
}
