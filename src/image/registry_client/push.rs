//! Uploads: POST for a location, PATCH with all bytes, PUT with the digest. Every registry supports this way, for it is
//! docker's own. An upload that breaks off restarts from the first byte.

use std::fs::File;

use ureq::http::{Method, Uri};

use super::address;
use super::http::Failure;
use super::refusal::Subject;
use super::session::{Answer, Ask, Content, Place, Session};
use crate::error::{Error, Result};
use crate::image::manifest::Descriptor;

/// Uploads a blob that the registry lacks. `progress` receives the number of bytes sent, from 0 again after a restart.
pub fn upload(
    session: &Session,
    descriptor: &Descriptor,
    open: &dyn Fn() -> Result<File>,
    progress: &dyn Fn(u64),
) -> Result<()> {
    session.persist(|| once(session, descriptor, open, progress))
}

fn once(
    session: &Session,
    descriptor: &Descriptor,
    open: &dyn Fn() -> Result<File>,
    progress: &dyn Fn(u64),
) -> Result<(), Failure> {
    let step = |ask: &Ask<'_>| -> Result<Answer, Failure> {
        let answer = session.attempt(ask)?;
        match answer.status {
            200..=299 => Ok(answer),
            // The upload location no longer exists (a registry that was restarted): a new one will do.
            404 | 416 if !is_begin(ask) => {
                Err(Failure::passing(session.refused(answer, &Subject::Upload)))
            }
            _ => Err(session.refused(answer, &Subject::Upload).into()),
        }
    };
    let begin = Ask::new(Method::POST, session.path("blobs/uploads/"));
    let place = location(session, &step(&begin)?)?
        .ok_or_else(|| Error::new("it gives no place for an upload"))?;
    let content = Content::File { length: descriptor.size, open, progress };
    let bytes = Ask::at(Method::PATCH, Place::Address(place.clone())).content(content);
    let place = location(session, &step(&bytes)?)?.unwrap_or(place);
    let place = address::with_query(&place, "digest", &descriptor.digest.to_string())?;
    let answer = step(&Ask::at(Method::PUT, Place::Address(place)))?;
    match answer.header("docker-content-digest") {
        Some(said) if said != descriptor.digest.to_string() => {
            let said = super::refusal::shown(said);
            Err(Error::new(format!("stored blob {} as {said}", descriptor.digest)).into())
        }
        _ => Ok(()),
    }
}

fn is_begin(ask: &Ask<'_>) -> bool {
    ask.method() == Method::POST
}

fn location(session: &Session, answer: &Answer) -> Result<Option<Uri>> {
    let Some(text) = answer.location() else { return Ok(None) };
    let place = address::resolve(&answer.address, &text)?;
    session.check_sealed(&place)?;
    Ok(Some(place))
}
