//! Times in docker's forms: a date, seconds since 1970, or a duration before now.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};

use crate::duration;
use crate::error::{Context, Error, Result, Setting};

/// Parses `2026-11-24T23:28:18Z`, `2026-11-24T23:28`, `2026-11-24` (local time), `1764000000.5`, `10m`. `None`: none of
/// these forms.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Some(ago) = duration::parse(text) {
        return Timestamp::now().checked_sub(ago).ok();
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Timestamp::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok();
    }
    text.parse::<Timestamp>().ok().or_else(|| {
        let local = text
            .parse::<DateTime>()
            .or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)))
            .ok()?;
        Some(local.to_zoned_datetime(TimeZone::system()).ok()?.timestamp())
    })
}

/// Parses the time of a setting. Errors: `text` is not a time.
pub fn of_setting(setting: Setting, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    moment(text)
        .map(Some)
        .ok_or_else(|| Error::invalid("a time, or how long ago"))
        .context(|| setting.with(text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dockers() {
        for text in [
            "2026-11-24T23:28:18Z",
            "2026-11-24T23:28:18.5+01:00",
            "2026-11-24T23:28",
            "2026-11-24",
            "0",
            "1764000000.25",
            "10m",
            "1h30m",
        ] {
            assert!(moment(text).is_some(), "{text}");
        }
        assert!(moment("soon").is_none() && moment("1e300").is_none());
    }
}
