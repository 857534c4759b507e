//! Waiting times, and the number of retries.

use std::time::Duration;

use jiff::Timestamp;

use super::failure::{FailureKind, RequestFailure};
use crate::error::{self, Error, Result};
use crate::image::endpoint::RetrySettings;

/// Waiting times. The defaults suit people; tests use shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct RequestTimeouts {
    /// Limit for connecting, over all addresses of the name.
    pub connect: Duration,
    /// Time without a byte until a transfer counts as interrupted.
    pub stall: Duration,
    /// Pause before the second try; doubled before each further try.
    pub pause: Duration,
}

impl Default for RequestTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            pause: Duration::from_millis(500),
        }
    }
}

/// Retries without progress, unless set.
const RETRIES: u32 = 4;
/// Largest number of times that the pause is doubled.
const MOST_DOUBLINGS: u32 = 6;
/// Longest wait that a registry may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug)]
pub struct RetryCounter {
    timeouts: RequestTimeouts,
    settings: RetrySettings,
    failures: u32,
}

impl RetryCounter {
    /// Starts with no failures.
    pub fn new(timeouts: RequestTimeouts, settings: RetrySettings) -> Self {
        Self { timeouts, settings, failures: 0 }
    }

    /// Resets the count: data arrived.
    pub fn progress(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try. Errors: the failure, when there is no next try.
    pub fn pause_or_fail(&mut self, failure: RequestFailure) -> Result<(), Error> {
        self.failures += 1;
        match failure.kind {
            FailureKind::Lasting => return Err(failure.error),
            FailureKind::Passing if self.failures <= self.settings.count.unwrap_or(RETRIES) => {}
            _ => return Err(failure.error.at_endpoint(error::ErrorKind::Unreachable)),
        }
        log::debug!("{}; once more", failure.error);
        let pause = self.settings.delay.unwrap_or_else(|| {
            let doublings = (self.failures - 1).min(MOST_DOUBLINGS);
            let pause = self.timeouts.pause.saturating_mul(1 << doublings);
            // Half of the pause is random, so that many clients cut off together do not return together.
            pause.mul_f64(0.5 + f64::from(chance()) / 255.0 / 2.0)
        });
        std::thread::sleep(failure.after.map_or(pause, |after| after.max(pause)));
        Ok(())
    }
}

fn chance() -> u8 {
    let mut byte = [0];
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty());
    byte[0]
}

/// Wait that `Retry-After` demands: seconds, or a date (RFC 9110, 10.2.3); at most a minute.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let seconds = date.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:27:50Z".parse().unwrap();
        let after = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("99999999999999999999999"), Some(60));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(10));
        assert_eq!(after("Wed, 21 Oct 2015 07:20:00 GMT"), Some(0));
        assert_eq!(after("Wed, 21 Oct 2099 07:20:00 GMT"), Some(60));
        assert_eq!((after(""), after("-1"), after("soon")), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_a_minute(value in ".{0,40}") {
            let wait = retry_after(&value, Timestamp::UNIX_EPOCH).unwrap_or_default();
            prop_assert!(wait <= LONGEST_WAIT);
        }
    }
}
