//! Requests to one repository: tokens, and retries where they help.

use std::sync::{Mutex, PoisonError};

use ureq::http::{HeaderValue, Method};

use super::RegistryAccess;
use super::auth::TokenCache;
use super::exchange::RegistryExchange;
use super::failure::RequestFailure;
use super::messages::{RegistryRequest, RegistryResponse};
use super::refusal::{self, RequestSubject};
use super::retry::{RequestTimeouts, RetryCounter};
use crate::error::{Context, Result};
use crate::image::endpoint::RegistryEndpoint;

/// Client of one repository of a registry.
pub struct RegistrySession {
    /// Exchange with the registry.
    pub exchange: RegistryExchange,
    /// Timeouts and pauses.
    pub timeouts: RequestTimeouts,
    tokens: TokenCache,
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
        let tokens = TokenCache::new(&endpoint, access)?;
        let exchange = RegistryExchange::new(endpoint, access, timeouts)?;
        Ok(Self { exchange, timeouts, tokens, challenges: Mutex::default() })
    }

    /// Name for error messages: `registry 127.0.0.1:5000`.
    pub fn name(&self) -> String {
        format!("registry {}", refusal::login_name(&self.exchange.endpoint.host))
    }

    /// A path below the repository.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.exchange.endpoint.repository)
    }

    /// Repeats `work` until it succeeds or no retry can help.
    pub fn with_retries<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RequestFailure>,
    ) -> Result<T> {
        let mut retries = RetryCounter::new(self.timeouts, self.exchange.endpoint.retries);
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
        let mut answer = self.exchange.reach(request, used.as_ref())?;
        if answer.status == 401 && answer.is_home {
            let mut challenge = challenges(&answer);
            if challenge.is_empty() {
                challenge = self.challenges_of_api()?;
            }
            if let Some(new) = self.tokens.renew(&self.exchange, &challenge, used.as_ref())? {
                answer = self.exchange.reach(request, Some(&new))?;
            }
        }
        self.exchange.final_answer(answer, &RequestSubject::Api)
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
            false => self.tokens.renew(&self.exchange, &found, None)?,
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
        let answer =
            self.exchange.reach(&RegistryRequest::new(Method::GET, "/v2/".to_owned()), None)?;
        let is_wanted = answer.status == 401 && answer.is_home;
        Ok(if is_wanted { challenges(&answer) } else { Vec::new() })
    }
}

fn challenges(answer: &RegistryResponse) -> Vec<String> {
    answer.headers("www-authenticate").map(str::to_owned).collect()
}
