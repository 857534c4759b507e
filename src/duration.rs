//! Durations in Go's syntax, as in docker and podman: `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

/// Parses a duration. `None`: invalid text; a number without a unit is invalid. (To Go, 0
/// is a duration; here callers take it for a time since 1970 too.)
pub fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Parses a duration for docker's health checks, in nanoseconds: 0, which is the default, or from a millisecond to a
/// century. `None`: invalid or out of range.
pub fn nanoseconds(text: &str) -> Option<u64> {
    // Go's rule: zero alone needs no unit.
    let time = if text == "0" { 0 } else { parse(text)?.as_nanos() };
    (time == 0 || (1_000_000..3_000_000_000_000_000_000).contains(&time)).then_some(time as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_gos() {
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!((parse("0"), nanoseconds("0")), (None, Some(0)));
        for wrong in ["", "soon", "-1", "10", "1h30", "1x", "1e300h"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!((nanoseconds("0s"), nanoseconds("1ms")), (Some(0), Some(1_000_000)));
        assert_eq!((nanoseconds("1us"), nanoseconds("99999999999h")), (None, None));
    }
}
