//! `--restart`: the decision whether to restart a container that has ended, and how soon. Times and rules are docker's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Restart policy of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// No restarts.
    #[default]
    No,
    /// Restart after a failure; the number limits the restarts in a row.
    OnFailure(Option<u32>),
    /// Restart after every end.
    Always,
    /// Restart after every end, unless the container was stopped before the machine was.
    UnlessStopped,
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        match (name, count) {
            ("no" | "", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure(None)),
            ("on-failure", Some(count)) => match count.parse() {
                Ok(0) => Ok(Self::OnFailure(None)),
                Ok(count) => Ok(Self::OnFailure(Some(count))),
                Err(_) => Err(format!("'{count}' is not a number of attempts")),
            },
            ("always" | "unless-stopped" | "no", Some(_)) => {
                Err(format!("{name} takes no number of attempts"))
            }
            _ => Err("it is no, on-failure[:N], always or unless-stopped".into()),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::OnFailure(Some(count)) => write!(f, ":{count}"),
            _ => Ok(()),
        }
    }
}

/// Facts about an end that decide on a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit status.
    pub status: u8,
    /// True if a user or the monitor stopped the container on purpose.
    pub is_wanted: bool,
    /// Number of restarts so far.
    pub restarts: u32,
}

impl RestartPolicy {
    /// Name of the policy without the number.
    pub fn name(&self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure(_) => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// Limit of restarts of `on-failure`; 0: no limit.
    pub fn attempts(&self) -> u32 {
        match self {
            Self::OnFailure(Some(count)) => *count,
            _ => 0,
        }
    }

    /// True if the container is restarted after this end.
    pub fn restarts(&self, ending: Ending) -> bool {
        !ending.is_wanted
            && match self {
                Self::No => false,
                Self::OnFailure(limit) => {
                    ending.status != 0 && limit.is_none_or(|limit| ending.restarts < limit)
                }
                Self::Always | Self::UnlessStopped => true,
            }
    }
}

/// Time to wait before the next start, when the last wait was `last` and the container ran for `ran`.
pub fn backoff(last: Duration, ran: Duration) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(60);
    const SOUND: Duration = Duration::from_secs(10);
    if ran >= SOUND || last.is_zero() { FIRST } else { (last * 2).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        for wrong in ["yes", "always:3", "on-failure:x", "on-failure:-1", "no:1"] {
            assert!(wrong.parse::<RestartPolicy>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stopped_container_stays_stopped() {
        let ending = |status, is_wanted, restarts| Ending { status, is_wanted, restarts };
        assert!(RestartPolicy::Always.restarts(ending(0, false, 99)));
        assert!(!RestartPolicy::Always.restarts(ending(137, true, 0)));
        assert!(!RestartPolicy::No.restarts(ending(1, false, 0)));
        let twice = RestartPolicy::OnFailure(Some(2));
        assert!(twice.restarts(ending(1, false, 1)) && !twice.restarts(ending(1, false, 2)));
        assert!(!twice.restarts(ending(0, false, 0)));
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_sound_run() {
        let mut wait = Duration::ZERO;
        let mut all = Vec::new();
        for _ in 0..12 {
            wait = backoff(wait, Duration::from_secs(1));
            all.push(wait.as_millis());
        }
        assert_eq!(all[..4], [100, 200, 400, 800]);
        assert_eq!(all[11], 60_000);
        assert_eq!(backoff(wait, Duration::from_secs(11)).as_millis(), 100);
    }
}
