//! Sizes and times for people, word for word as docker prints them (its go-units).

use std::time::Duration;

use jiff::Timestamp;

const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

/// Formats a size: `117MB`, `1.24kB`, `0B`: decimal units, at most three significant digits.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    // From 999.5 on, three digits belong to the next unit (docker prints 1e+03MB there).
    while value >= 999.5 {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let digits = format!("{value:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    format!("{digits}{}", UNITS.get(unit).copied().unwrap_or_default())
}

/// Formats a duration: `About an hour`, `3 weeks`: rounded as in docker.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Formats a past time: `3 weeks ago`. A time in the future counts as just now.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed = Duration::try_from(now.duration_since(then)).unwrap_or_default();
    format!("{} ago", duration(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (7, "7B"),
            (999, "999B"),
            (1000, "1kB"),
            (1240, "1.24kB"),
            (9_994, "9.99kB"),
            (9_996, "10kB"),
            (13_256, "13.3kB"),
            (99_960, "100kB"),
            (100_400, "100kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (116_573_214, "117MB"),
            (4_260_000, "4.26MB"),
            (1_470_000_000, "1.47GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    // Table of go-units' own test.
    #[test]
    fn durations_are_dockers() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (3 * 60 + 5, "3 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * 60 + 59, "About an hour"),
            (HOUR + 30 * 60, "2 hours"),
            (24 * HOUR, "24 hours"),
            (36 * HOUR, "36 hours"),
            (2 * DAY, "2 days"),
            (7 * DAY, "7 days"),
            (13 * DAY + 5 * HOUR, "13 days"),
            (14 * DAY, "2 weeks"),
            (30 * DAY, "4 weeks"),
            (60 * DAY, "2 months"),
            (365 * DAY, "12 months"),
            (2 * 365 * DAY, "2 years"),
            (3 * 365 * DAY + 11 * 30 * DAY, "3 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn times_in_the_future_count_as_now() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = time("2024-05-01T00:00:00Z");
        assert_eq!(ago(time("2024-04-10T00:00:00Z"), now), "3 weeks ago");
        assert_eq!(ago(time("2031-01-01T00:00:00Z"), now), "Less than a second ago");
        assert_eq!(ago(Timestamp::MIN, Timestamp::MAX), "20012 years ago");
    }
}
