//! Container health: results of the checks (`health.json`), and the time of the next check. The monitor only keeps the
//! time; a child process runs the check and records the result (`container::kept`).

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{self, Healthcheck, State};
use crate::error::Result;

/// Name of the file with the check results, in the container's folder.
pub const HEALTH: &str = "health.json";
/// Number of check results in the file (docker's value).
const KEPT: usize = 5;

/// Health of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check has finished yet.
    #[default]
    Starting,
    /// The last check succeeded, or too few in a row have failed.
    Healthy,
    /// Too many checks in a row have failed.
    Unhealthy,
}

impl Health {
    /// docker's word for this health.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// Time when the check began.
    pub start: Timestamp,
    /// Time when the check ended.
    pub end: Timestamp,
    /// Exit status of the check. 0: success; -1: timeout.
    pub exit_code: i32,
    /// Beginning of the check's output.
    pub output: String,
}

/// Results of the checks of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Number of the start that the results belong to.
    pub run: u64,
    /// Health after the last check.
    pub health: Health,
    /// Number of failures in a row.
    pub streak: u32,
    /// The last check results, the newest last.
    pub checks: Vec<Check>,
}

impl HealthReport {
    /// Reads the results of the run that `state` describes; empty if the file is about another run.
    pub fn of(folder: &Path, state: &State) -> Result<Self> {
        let told = record::read::<Self>(folder, HEALTH)?.filter(|told| told.run == state.run);
        Ok(told.unwrap_or_else(|| Self { run: state.run, ..Self::default() }))
    }

    /// Adds a check that began when the container had run for `age`. Failures within the start period do not count
    /// until the first success (docker).
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

/// Timer of the next check. Idle without a health check.
#[derive(Debug, Default)]
pub struct Timer {
    due: Option<Instant>,
    /// PID of the running check.
    checks: Option<i32>,
}

impl Timer {
    /// Sets the time of the next check, after a start or a check.
    pub fn next(&mut self, settings: &Healthcheck, health: Health, age: Duration) {
        self.checks = None;
        self.due = Some(Instant::now() + settings.wait(health, age));
    }

    /// Stops the checks.
    pub fn stop(&mut self) {
        *self = Self::default();
    }

    /// Time at which the monitor must wake up.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes that process `pid` runs the check.
    pub fn begun(&mut self, pid: i32) {
        self.due = None;
        self.checks = Some(pid);
    }

    /// True if `pid` is the running check.
    pub fn is(&self, pid: i32) -> bool {
        self.checks == Some(pid)
    }
}

impl Healthcheck {
    /// True if the settings contain a command to run.
    pub fn is_on(&self) -> bool {
        self.test.first().is_some_and(|kind| kind != "NONE") && self.test.len() > 1
    }

    /// Returns a duration; 0 stands for docker's default.
    fn or(nanoseconds: u64, seconds: u64) -> Duration {
        if nanoseconds == 0 {
            Duration::from_secs(seconds)
        } else {
            Duration::from_nanos(nanoseconds)
        }
    }

    /// Longest duration of one check.
    pub fn timeout(&self) -> Duration {
        Self::or(self.timeout, 30)
    }

    fn retries(&self) -> u32 {
        if self.retries == 0 { 3 } else { self.retries }
    }

    fn start_period(&self) -> Duration {
        Duration::from_nanos(self.start_period)
    }

    /// Time to wait before the next check of a container that has run for `age`.
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
        let mut told = HealthReport::default();
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
        // The time of day is for display only: the clock may jump.
        let day = Duration::from_secs(86_400);
        let (yesterday, tomorrow) = (Timestamp::now() - day, Timestamp::now() + day);
        let mut told = HealthReport::default();
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
