//! Numbers in tar headers and PAX records, parsed strictly: an out-of-range number is an error, never another number.

use rustix::fs::Timespec;

use crate::error::{Error, Result};

/// Parses a numeric field of a header: octal digits between blanks and NULs, or GNU's signed base-256.
pub(super) fn field(bytes: &[u8]) -> Result<i64> {
    let value = match bytes.first() {
        Some(first) if first & 0x80 != 0 => binary(*first, bytes),
        _ => octal(bytes),
    };
    value.ok_or_else(|| Error::new(format!("number '{}' is malformed", bytes.escape_ascii())))
}

fn binary(first: u8, bytes: &[u8]) -> Option<i64> {
    let is_negative = first & 0x40 != 0;
    let first = if is_negative { first } else { first & 0x7f };
    let rest = bytes.iter().skip(1);
    let start = if is_negative { -1i128 } else { 0 };
    // The longest field has 12 bytes: 96 bits.
    let value = std::iter::once(&first)
        .chain(rest)
        .fold(start, |value, byte| (value << 8) | i128::from(*byte));
    i64::try_from(value).ok()
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
    let digits = bytes.iter().skip_while(|byte| is_blank(byte));
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let blanks = bytes.iter().take_while(|byte| is_blank(byte)).count();
    digits.take(end.saturating_sub(blanks)).try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => Some((value << 3) | i64::from(byte - b'0')),
        _ => None,
    })
}

/// Parses a field that cannot be negative.
pub(super) fn unsigned(bytes: &[u8]) -> Result<u64> {
    let value = field(bytes)?;
    u64::try_from(value).map_err(|_| Error::new(format!("number {value} is negative")))
}

/// Converts a user or group ID: -1, which means "no change" to system calls, becomes root's (podman).
pub(super) fn id(value: i64) -> Result<u32> {
    match u32::try_from(value) {
        Ok(u32::MAX) => Ok(0),
        Ok(id) => Ok(id),
        Err(_) if value == -1 => Ok(0),
        _ => Err(Error::new(format!("ID {value}: IDs go from 0 to 4294967294"))),
    }
}

/// Parses decimal digits only, as in PAX records.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let is_digits = text.iter().all(u8::is_ascii_digit);
    is_digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Parses a time of a PAX record: seconds since 1970, possibly negative, possibly with a fraction.
pub(super) fn time(text: &[u8]) -> Option<Timespec> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let nanoseconds = parts.next().map_or(Some(0), nanoseconds)?;
    let (tv_sec, tv_nsec) = match (is_negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    };
    Some(Timespec { tv_sec, tv_nsec })
}

fn nanoseconds(fraction: &[u8]) -> Option<i64> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_octal_or_binary() {
        for (bytes, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"    644 ", 0o644),
            (b"\0\0\0\0", 0),
            (b"        ", 0),
            (b"", 0),
            (b"77777777777\0", 0o77777777777),
            (b"\x80\0\0\0\0\0\0\x01", 1),
            (b"\x80\0\0\0\0\0\0\0\0\x20\0\0", 1 << 21),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(field(bytes).unwrap(), value, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_no_numbers() {
        for bytes in [
            &b"8"[..],
            b"-1\0\0",
            b"+7",
            b"1 1",
            b"1\x001",
            b"0x1",
            b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\xc0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(field(bytes).is_err(), "{bytes:?}");
        }
        assert!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(id(-2).is_err() && id(1 << 32).is_err() && id(1 << 40).is_err());
        assert_eq!((id(-1).unwrap(), id(4_294_967_295).unwrap()), (0, 0));
        assert_eq!(id(4_294_967_294).unwrap(), 4_294_967_294);
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let read = |text: &str| time(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(read("5"), Some((5, 0)));
        assert_eq!(read("5.25"), Some((5, 250_000_000)));
        assert_eq!(read("5.1234567891"), Some((5, 123_456_789)));
        assert_eq!(read("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(read("-3"), Some((-3, 0)));
        for wrong in ["", "-", "1.x", "--1", "+1", "1.2.3", "99999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
