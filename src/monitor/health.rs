//! Container health: results of the checks (`health.json`), and the time of the next check. The monitor only keeps the
//! time; a child process runs the check and records the result (`container::kept`).

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{self, HealthLog, Healthcheck, Record, StartupCheck, State};
use crate::error::Result;

/// Name of the file with the check results, in the container's folder.
pub const HEALTH: &str = "health.json";
/// Number of check results in the file, unless set (docker's value).
pub const KEPT: usize = 5;
/// Number of bytes of a check's output that are recorded, unless set (docker's value).
pub const OUTPUT: usize = 4096;

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

/// Progress of a startup check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartupState {
    /// Not passed yet.
    #[default]
    Pending,
    /// Passed: the first regular check comes at once.
    Passed,
    /// Failed too often: the container is to be restarted.
    Failed,
    /// A regular check has run.
    Over,
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
    /// Progress of the startup check.
    #[serde(default)]
    pub startup: StartupState,
    /// Number of successes of the startup check in a row.
    #[serde(default)]
    pub startup_successes: u32,
    /// The last check results, the newest last.
    pub checks: Vec<Check>,
}

impl HealthReport {
    /// Reads the results of the run that `state` describes; empty if the file is about another run.
    pub fn of(folder: &Path, state: &State) -> Result<Self> {
        let told = record::read::<Self>(folder, HEALTH)?.filter(|told| told.run == state.run);
        Ok(told.unwrap_or_else(|| Self { run: state.run, ..Self::default() }))
    }

    /// Startup check that is to run next. `None`: the regular one.
    pub fn startup_check<'a>(&self, record: &'a Record) -> Option<&'a StartupCheck> {
        record.startup.as_ref().filter(|_| self.startup == StartupState::Pending)
    }

    /// Adds a startup check. The health does not change.
    pub fn note_startup(&mut self, check: Check, settings: &StartupCheck, log: &HealthLog) {
        if check.exit_code == 0 {
            (self.streak, self.startup_successes) = (0, self.startup_successes.saturating_add(1));
            if self.startup_successes >= settings.successes.max(1) {
                self.startup = StartupState::Passed;
            }
        } else {
            (self.streak, self.startup_successes) = (self.streak.saturating_add(1), 0);
            if settings.retries > 0 && self.streak >= settings.retries {
                self.startup = StartupState::Failed;
            }
        }
        self.keep(check, log);
    }

    fn keep(&mut self, check: Check, log: &HealthLog) {
        self.checks.push(check);
        let most = log.max_count.unwrap_or(KEPT);
        let old = if most == 0 { 0 } else { self.checks.len().saturating_sub(most) };
        self.checks.drain(..old);
    }

    /// Adds a check that began when the container had run for `age`. Failures within the start period do not count
    /// until the first success (docker).
    pub fn note(&mut self, check: Check, settings: &Healthcheck, run: RunProgress<'_>) {
        let RunProgress { age, log } = run;
        self.startup = StartupState::Over;
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
        self.keep(check, log);
    }
}

/// Run that a check belongs to.
#[derive(Clone, Copy, Debug)]
pub struct RunProgress<'a> {
    /// Time since the start of the container.
    pub age: Duration,
    /// Bounds of the results.
    pub log: &'a HealthLog,
}

impl HealthLog {
    /// Number of bytes of a check's output that are recorded.
    pub fn output_limit(&self) -> usize {
        match self.max_size {
            None => OUTPUT,
            Some(0) => usize::MAX,
            Some(size) => size,
        }
    }
}

impl StartupCheck {
    /// Longest duration of one check.
    pub fn timeout(&self) -> Duration {
        Healthcheck::or(self.timeout, 30)
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
    /// Idle without a check.
    pub fn next(&mut self, record: &Record, report: &HealthReport, age: Duration) {
        let Some(settings) = record.health.as_ref().filter(|settings| settings.is_on()) else {
            return;
        };
        let wait = match (report.startup_check(record), report.startup) {
            (Some(startup), _) => Healthcheck::or(startup.interval, 30),
            (None, StartupState::Passed) => Duration::ZERO,
            (None, _) => settings.wait(report.health, age),
        };
        self.checks = None;
        self.due = Some(Instant::now() + wait);
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

    fn after(seconds: u64, log: &HealthLog) -> RunProgress<'_> {
        RunProgress { age: Duration::from_secs(seconds), log }
    }

    #[test]
    fn a_startup_check_passes_or_fails_by_its_own_numbers() {
        let settings = StartupCheck { retries: 2, successes: 2, ..StartupCheck::default() };
        let log = HealthLog { max_count: Some(2), ..HealthLog::default() };
        let states = |codes: &[i32]| {
            let mut told = HealthReport::default();
            for code in codes {
                told.note_startup(check(Timestamp::now(), *code), &settings, &log);
            }
            assert!(told.checks.len() <= 2 && told.health == Health::Starting);
            told.startup
        };
        assert_eq!(states(&[0, 1, 0]), StartupState::Pending);
        assert_eq!(states(&[0, 1, 0, 0]), StartupState::Passed);
        assert_eq!(states(&[1, 0, 1, 1]), StartupState::Failed);
    }

    #[test]
    fn so_many_failures_in_a_row_are_ill_and_one_success_is_well() {
        let settings = Healthcheck { retries: 2, ..Healthcheck::default() };
        let start = Timestamp::now();
        let (log, mut told) = (HealthLog::default(), HealthReport::default());
        let mut health = Vec::new();
        for code in [1, 0, 1, 1, 1, 0, -1] {
            told.note(check(start, code), &settings, after(1, &log));
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
        let (log, mut told) = (HealthLog::default(), HealthReport::default());
        told.note(check(tomorrow, 1), &settings, after(59, &log));
        assert_eq!((told.health, told.streak), (Health::Starting, 0));
        told.note(check(yesterday, 1), &settings, after(60, &log));
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
