//! Uploads: POST for a location, PATCH with all bytes, PUT with the digest. Every registry supports this way, for it is
//! docker's own. An upload that breaks off restarts from the first byte.

use std::fs::File;

use ureq::http::{Method, Uri};

use super::address;
use super::failure::RequestFailure;
use super::messages::{RegistryRequest, RegistryResponse, RequestBody, RequestTarget};
use super::refusal::RequestSubject;
use super::session::RegistrySession;
use crate::error::{Error, Result};
use crate::image::manifest::Descriptor;

/// Uploads a blob that the registry lacks. `progress` receives the number of bytes sent, from 0 again after a restart.
pub fn upload(
    session: &RegistrySession,
    descriptor: &Descriptor,
    open: &dyn Fn() -> Result<File>,
    progress: &dyn Fn(u64),
) -> Result<()> {
    session.with_retries(|| once(session, descriptor, open, progress))
}

fn once(
    session: &RegistrySession,
    descriptor: &Descriptor,
    open: &dyn Fn() -> Result<File>,
    progress: &dyn Fn(u64),
) -> Result<(), RequestFailure> {
    let step = |request: &RegistryRequest<'_>| -> Result<RegistryResponse, RequestFailure> {
        let answer = session.attempt(request)?;
        match answer.status {
            200..=299 => Ok(answer),
            // The upload location no longer exists (a registry that was restarted): a new one will do.
            404 | 416 if !is_begin(request) => Err(RequestFailure::passing(
                session.exchange.refused(answer, &RequestSubject::Upload),
            )),
            _ => Err(session.exchange.refused(answer, &RequestSubject::Upload).into()),
        }
    };
    let begin = RegistryRequest::new(Method::POST, session.path("blobs/uploads/"));
    let place = location(session, &step(&begin)?)?
        .ok_or_else(|| Error::new("it gives no place for an upload"))?;
    let content = RequestBody::File { length: descriptor.size, open, progress };
    let bytes =
        RegistryRequest::at(Method::PATCH, RequestTarget::Address(place.clone())).content(content);
    let place = location(session, &step(&bytes)?)?.unwrap_or(place);
    let place = address::with_query(&place, "digest", &descriptor.digest.to_string())?;
    let answer = step(&RegistryRequest::at(Method::PUT, RequestTarget::Address(place)))?;
    match answer.header("docker-content-digest") {
        Some(said) if said != descriptor.digest.to_string() => {
            let said = super::address::shown(said);
            Err(Error::new(format!("stored blob {} as {said}", descriptor.digest)).into())
        }
        _ => Ok(()),
    }
}

fn is_begin(request: &RegistryRequest<'_>) -> bool {
    request.method() == Method::POST
}

fn location(session: &RegistrySession, answer: &RegistryResponse) -> Result<Option<Uri>> {
    let Some(text) = answer.location() else { return Ok(None) };
    let place = address::resolve(&answer.address, &text)?;
    session.exchange.check_sealed(&place)?;
    Ok(Some(place))
}
