//! A blob as one stream: a transfer that breaks off is resumed where it stopped. Nothing is held in memory.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::http::Method;

use super::failure::{FailureKind, RequestFailure};
use super::messages::{RegistryRequest, RegistryResponse};
use super::refusal::RequestSubject;
use super::retry::RetryCounter;
use super::session::RegistrySession;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::manifest::Descriptor;

/// Reads a blob to its end, over as many connections as needed.
pub struct ResumedBlob {
    session: Arc<RegistrySession>,
    digest: Digest,
    size: u64,
    // Bytes received so far.
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    // The answer has a content encoding: a range of it is no range of the blob.
    is_encoded: bool,
    retries: RetryCounter,
}

impl ResumedBlob {
    /// Opens the blob at byte `from`, with retries. Errors: the request is refused, or the registry does not answer.
    pub fn open(session: Arc<RegistrySession>, descriptor: &Descriptor, from: u64) -> Result<Self> {
        let mut blob = Self {
            retries: RetryCounter::new(session.timeouts, session.exchange.endpoint.retries),
            session,
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            at: from,
            body: None,
            is_encoded: false,
        };
        if from > blob.size {
            return Err(Error::new(format!("blob {} has no byte {from}", blob.digest)));
        }
        while blob.at < blob.size && blob.body.is_none() {
            if let Err(failure) = blob.connect() {
                blob.pause_or_fail(failure)?;
            }
        }
        Ok(blob)
    }

    fn pause_or_fail(&mut self, failure: RequestFailure) -> Result<()> {
        self.body = None;
        self.retries.pause_or_fail(failure).context(|| self.session.name())
    }

    fn connect(&mut self) -> Result<(), RequestFailure> {
        let path = self.session.path(&format!("blobs/{}", self.digest));
        let from = if self.is_encoded { 0 } else { self.at };
        let mut answer = self
            .session
            .attempt(&RegistryRequest::new(Method::GET, path.clone()).starting_at(from))?;
        // Object stores mark a layer that is gzip itself as "gzip": an answer as long as the blob is not encoded.
        if answer.is_encoded() && whole_length(&answer) == Some(self.size) {
            answer.forget_encoding();
        }
        if answer.status == 206 && answer.is_encoded() {
            answer = self.session.attempt(&RegistryRequest::new(Method::GET, path))?;
        }
        let starts = match answer.status {
            206 => range_start(&answer)?,
            // Not every registry supports ranges: the bytes before `at` come again and are skipped.
            200 => 0,
            416 => return Err(self.error("is shorter than its manifest says").into()),
            _ => {
                let subject = RequestSubject::Blob(&self.digest);
                return Err(self.session.exchange.refused(answer, &subject).into());
            }
        };
        let skip = self.at.checked_sub(starts);
        let skip = skip.ok_or_else(|| self.error("comes from the wrong byte on"))?;
        let said = answer.header("content-length").and_then(|text| text.parse::<u64>().ok());
        self.is_encoded = answer.is_encoded();
        let said = said.filter(|_| !self.is_encoded);
        if said.is_some_and(|said| said > self.size.saturating_sub(starts)) {
            return Err(self.error("is longer than its manifest says").into());
        }
        let mut body = answer.into_reader()?;
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        if skipped.map_err(super::http::broken_body)? != skip {
            return Err(RequestFailure::passing(self.error("breaks off")));
        }
        self.body = Some(Box::new(body));
        Ok(())
    }

    fn error(&self, what: &str) -> Error {
        Error::new(format!("blob {} {what}", self.digest))
    }

    // All bytes have arrived: any further byte is an error.
    fn finish(&mut self) -> io::Result<usize> {
        let Some(mut body) = self.body.take() else { return Ok(0) };
        match body.read(&mut [0]) {
            Ok(1..) => Err(io::Error::other(self.error("is longer than its manifest says"))),
            _ => Ok(0),
        }
    }
}

impl Read for ResumedBlob {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.size.saturating_sub(self.at);
            if left == 0 {
                return self.finish();
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
            let Some(room) = room.get_mut(..most).filter(|room| !room.is_empty()) else {
                return Ok(0);
            };
            let failure = match &mut self.body {
                Some(body) => match body.read(room) {
                    Ok(0) => RequestFailure::passing(self.error("breaks off")),
                    Ok(length) => {
                        self.at = self.at.saturating_add(length as u64);
                        self.retries.progress();
                        return Ok(length);
                    }
                    Err(error) => super::http::broken_body(error),
                },
                None => match self.connect() {
                    Ok(()) => continue,
                    // The registry answered before: if it does not now, it may be restarting, so the failure is
                    // passing.
                    Err(failure) if failure.kind == FailureKind::Unanswered => {
                        RequestFailure { kind: FailureKind::Passing, ..failure }
                    }
                    Err(failure) => failure,
                },
            };
            self.pause_or_fail(failure).map_err(io::Error::other)?;
        }
    }
}

/// Length of the whole blob, also when the answer holds only a part.
fn whole_length(answer: &RegistryResponse) -> Option<u64> {
    match answer.status {
        206 => answer.header("content-range")?.rsplit_once('/')?.1.trim().parse().ok(),
        _ => answer.header("content-length")?.parse().ok(),
    }
}

/// Returns N of `Content-Range: bytes N-M/L`.
fn range_start(answer: &RegistryResponse) -> Result<u64, RequestFailure> {
    let range = answer.header("content-range").and_then(|text| text.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split('-').next()?.trim().parse().ok());
    start.ok_or_else(|| Error::new("a part of a blob that does not say which").into())
}
