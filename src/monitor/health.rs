//! The health of a container: what its checks have told (`health.json`), and when the next is due. The monitor only
//! keeps the time; a process that it starts does the check and writes down what it told (`container::kept`).

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{self, Healthcheck, State};
use crate::error::Result;

/// What the checks have told, in the container's folder.
pub const HEALTH: &str = "health.json";
/// How many of the last checks are kept (docker's).
const KEPT: usize = 5;

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check has told yet.
    #[default]
    Starting,
    /// The last check went well, or not enough in a row have not.
    Healthy,
    /// Too many in a row have failed.
    Unhealthy,
}

impl Health {
    /// docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0: well. -1: it took too long.
    pub exit_code: i32,
    /// The beginning of what it wrote.
    pub output: String,
}

/// What the checks of one run have told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Of which start.
    pub run: u64,
    /// How it is.
    pub health: Health,
    /// So many failures in a row.
    pub streak: u32,
    /// The last checks, the newest last.
    pub checks: Vec<Check>,
}

impl Told {
    /// Of the run that `state` is about.
    pub fn of(folder: &Path, state: &State) -> Result<Self> {
        let told = record::read::<Self>(folder, HEALTH)?.filter(|told| told.run == state.run);
        Ok(told.unwrap_or_else(|| Self { run: state.run, ..Self::default() }))
    }

    /// Notes a check that began when the container had run for `age`. Failures do not count within the start period, as
    /// long as none went well (docker).
    pub fn note(&mut self, check: Check, settings: &Healthcheck, age: Duration) {
        let counts = self.health != Health::Starting || age >= settings.start_period();
        if check.exit_code == 0 {
            self.health = Health::Healthy;
            self.streak = 0;
        } else if counts {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= settings.retries() {
                self.health = Health::Unhealthy;
            }
        }
        self.checks.push(check);
        let old = self.checks.len().saturating_sub(KEPT);
        self.checks.drain(..old);
    }
}

/// When the next check is due. Nothing is, where there is no check.
#[derive(Debug, Default)]
pub struct Timer {
    due: Option<Instant>,
    /// The number of the process that checks.
    checks: Option<i32>,
}

impl Timer {
    /// After a start, or a check: the next.
    pub fn next(&mut self, settings: &Healthcheck, health: Health, age: Duration) {
        self.checks = None;
        self.due = Some(Instant::now() + settings.wait(health, age));
    }

    /// No more checks.
    pub fn stop(&mut self) {
        *self = Self::default();
    }

    /// When to wake up.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A process checks.
    pub fn begun(&mut self, pid: i32) {
        self.due = None;
        self.checks = Some(pid);
    }

    /// Whether it is that process.
    pub fn is(&self, pid: i32) -> bool {
        self.checks == Some(pid)
    }
}

impl Healthcheck {
    /// Whether there is something to check.
    pub fn is_on(&self) -> bool {
        self.test.first().is_some_and(|kind| kind != "NONE") && self.test.len() > 1
    }

    /// docker's defaults stand for 0.
    fn or(nanoseconds: u64, seconds: u64) -> Duration {
        if nanoseconds == 0 {
            Duration::from_secs(seconds)
        } else {
            Duration::from_nanos(nanoseconds)
        }
    }

    /// How long one check may take.
    pub fn timeout(&self) -> Duration {
        Self::or(self.timeout, 30)
    }

    fn retries(&self) -> u32 {
        if self.retries == 0 { 3 } else { self.retries }
    }

    fn start_period(&self) -> Duration {
        Duration::from_nanos(self.start_period)
    }

    /// How long to wait before the next check of a container that runs since `age`.
    fn wait(&self, health: Health, age: Duration) -> Duration {
        match health == Health::Starting && age < self.start_period() {
            true => Self::or(self.start_interval, 5),
            false => Self::or(self.interval, 30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: Timestamp, exit_code: i32) -> Check {
        Check { start, end: start, exit_code, output: String::new() }
    }

    #[test]
    fn so_many_failures_in_a_row_are_ill_and_one_success_is_well() {
        let settings = Healthcheck { retries: 2, ..Healthcheck::default() };
        let start = Timestamp::now();
        let mut told = Told::default();
        let mut health = Vec::new();
        for code in [1, 0, 1, 1, 1, 0, -1] {
            told.note(check(start, code), &settings, Duration::from_secs(1));
            health.push(told.health.word());
        }
        assert_eq!(
            health,
            ["starting", "healthy", "healthy", "unhealthy", "unhealthy", "healthy", "healthy"]
        );
        assert_eq!((told.streak, told.checks.len()), (1, KEPT));
    }

    #[test]
    fn failures_do_not_count_within_the_start_period() {
        let second = 1_000_000_000;
        let settings =
            Healthcheck { retries: 1, start_period: 60 * second, ..Healthcheck::default() };
        // The time of day is only for people to read: it may jump.
        let day = Duration::from_secs(86_400);
        let (yesterday, tomorrow) = (Timestamp::now() - day, Timestamp::now() + day);
        let mut told = Told::default();
        told.note(check(tomorrow, 1), &settings, Duration::from_secs(59));
        assert_eq!((told.health, told.streak), (Health::Starting, 0));
        told.note(check(yesterday, 1), &settings, Duration::from_secs(60));
        assert_eq!(told.health, Health::Unhealthy);
        let wait = |health, age| settings.wait(health, Duration::from_secs(age)).as_secs();
        assert_eq!((wait(Health::Starting, 1), wait(Health::Starting, 60)), (5, 30));
        assert_eq!(wait(Health::Healthy, 1), 30);
    }

    #[test]
    fn none_is_no_check() {
        let on = |words: &[&str]| {
            let test = words.iter().map(|word| (*word).to_owned()).collect();
            Healthcheck { test, ..Healthcheck::default() }.is_on()
        };
        assert!(on(&["CMD", "true"]) && on(&["CMD-SHELL", "true"]));
        assert!(!on(&[]) && !on(&["NONE"]) && !on(&["CMD"]));
    }
}
