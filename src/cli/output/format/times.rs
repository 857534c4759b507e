//! Times in templates, by Go's layouts: `2006-01-02T15:04:05Z07:00` shows each part of Go's reference time.

use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ZonedDateTime as Zoned};

/// Parses a time of a document, in the zone of its text. `None`: no time.
pub fn parse(text: &str) -> Option<Zoned> {
    let time = text.parse::<Timestamp>().ok()?;
    let pieces = DateTimeParser::new().parse_pieces(text).ok()?;
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    Some(time.to_zoned_datetime(TimeZone::fixed(offset)))
}

/// Formats a time as in documents: RFC 3339, with a fraction unless zero.
pub fn text(time: &Zoned) -> String {
    format(time, "2006-01-02T15:04:05.999999999Z07:00")
}

/// Elements of a layout, the longer of two with the same beginning first, and their strftime(3) format.
const PARTS: [(&str, &str); 28] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("2006", "%Y"),
    ("__2", "%_j"),
    ("_2", "%e"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("Z07:00", "Z%:z"),
    ("Z0700", "Z%z"),
    ("-07", "-07"),
];

/// Formats `time` by `layout`. Keeps all other text of the layout.
pub fn format(time: &Zoned, layout: &str) -> String {
    let mut text = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        if let Some((fraction, length)) = fraction(time, rest) {
            text += &fraction;
            rest = &rest[length..];
            continue;
        }
        match PARTS.iter().find(|(part, _)| rest.starts_with(part) && !is_word(part, rest)) {
            Some((part, format)) => {
                text += &one(time, format);
                rest = &rest[part.len()..];
            }
            None => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    text
}

/// True if the part is the beginning of another word: Go leaves "Jan" and "Mon" alone there.
fn is_word(part: &str, rest: &str) -> bool {
    matches!(part, "Jan" | "Mon")
        && rest[part.len()..].starts_with(|c: char| c.is_ascii_lowercase())
}

fn one(time: &Zoned, format: &str) -> String {
    let zone = || time.strftime("%z").to_string();
    match format {
        // Z stands for universal time.
        "Z%:z" | "Z%z" if time.offset() == Offset::UTC => "Z".to_owned(),
        "Z%:z" => time.strftime("%:z").to_string(),
        "Z%z" => zone(),
        "-07" => zone().chars().take(3).collect(),
        "%Z" if time.offset() == Offset::UTC => "UTC".to_owned(),
        "%_j" => format!("{:>3}", time.day_of_year()),
        _ => time.strftime(format).to_string(),
    }
}

/// Formats a fraction: `.000` with all digits, `.999` without zeros at the end. Returns the length of that part of the
/// layout too.
fn fraction(time: &Zoned, rest: &str) -> Option<(String, usize)> {
    let point = rest.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let digit = rest[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = rest[1..].chars().take_while(|c| *c == digit).count();
    // A longer number is no fraction.
    if count > 9 || rest[1 + count..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{:09}", time.subsec_nanosecond());
    let digits = digits.get(..count)?;
    let digits = if digit == '9' { digits.trim_end_matches('0') } else { digits };
    let text = if digits.is_empty() { String::new() } else { format!("{point}{digits}") };
    Some((text, 1 + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gos() {
        // Go 1.24 prints these.
        let time = parse("2026-03-09T05:06:07.0125+02:00").unwrap();
        for (layout, wanted) in [
            ("2006-01-02T15:04:05Z07:00", "2026-03-09T05:06:07+02:00"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-03-09T05:06:07.0125+02:00"),
            ("Mon Jan _2 15:04:05 2006", "Mon Mar  9 05:06:07 2026"),
            ("Monday, January 2, 2006 at 3:04 PM", "Monday, March 9, 2026 at 5:06 AM"),
            ("02 Jan 06 15:04 -0700", "09 Mar 26 05:06 +0200"),
            ("3:4:5pm 1/2 -07 Z0700", "5:6:7am 3/9 +02 +0200"),
            ("05.000 05.00 05,999999", "07.012 07.01 07,0125"),
            ("002 __2", "068  68"),
            ("20060102150405", "20260309050607"),
            ("Month", "Month"),
            ("", ""),
        ] {
            assert_eq!(format(&time, layout), wanted, "{layout}");
        }
        let universal = parse("2026-03-09T05:06:07Z").unwrap();
        assert_eq!(format(&universal, "Z07:00 MST .999"), "Z UTC ");
        assert_eq!(text(&universal), "2026-03-09T05:06:07Z");
        assert_eq!(text(&time), "2026-03-09T05:06:07.0125+02:00");
        assert_eq!(text(&parse("0001-01-01T00:00:00Z").unwrap()), "0001-01-01T00:00:00Z");
        assert!(parse("3 weeks ago").is_none());
    }
}
