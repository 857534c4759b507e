//! Sizes in docker's syntax: `64m`, `1g`, `2.5gb`. All units are binary: 1k is 1024 bytes.

use std::fmt;
use std::str::FromStr;

/// Size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed =
            || format!("'{text}' is not a size: expected a number and b, k, m, g, t or p");
        let end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let unit = unit(suffix.strip_prefix(' ').unwrap_or(suffix)).ok_or_else(malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(malformed());
        }
        // Past nine digits a fraction is less than a byte of any size that fits.
        let fraction = &fraction[..fraction.len().min(9)];
        let parts = fraction.parse::<u128>().map_err(|_| malformed())? * u128::from(unit);
        let bytes =
            whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(unit)).and_then(|bytes| {
                bytes.checked_add((parts / 10_u128.pow(fraction.len() as u32)) as u64)
            });
        // The kernel's sizes are signed (loff_t).
        match bytes {
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(format!("'{text}' is larger than any file can be")),
        }
    }
}

/// Number of bytes in a unit: `k`, `kb` and `kib` are the same.
fn unit(suffix: &str) -> Option<u64> {
    let suffix = suffix.to_ascii_lowercase();
    let power = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    Some(1024_u64.pow(power))
}

/// Parses a size above 0: tmpfs takes 0 for "no limit at all", which nobody means by it.
pub(super) fn parse_some(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size(0) => Err("the size must be greater than 0".into()),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_binary_whatever_the_unit_is_called() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("17b", 17),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("1kb", 1024),
            ("1KiB", 1024),
            ("1g", 1 << 30),
            ("2.5gb", 5 << 29),
            ("1 g", 1 << 30),
            (".5k", u64::MAX),
            ("0.0001k", 0),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
        ] {
            match bytes {
                u64::MAX => assert!(text.parse::<Size>().is_err(), "{text}"),
                bytes => assert_eq!(text.parse(), Ok(Size(bytes)), "{text}"),
            }
        }
    }

    #[test]
    fn an_invalid_or_too_large_size_is_refused() {
        for wrong in [
            "",
            "m",
            "-1",
            "+1",
            "-64m",
            "1x",
            "1mm",
            "1..2",
            "1.2.3k",
            "1.k",
            "1  g",
            "0x10",
            "1e3",
            "9223372036854775808",
            "18446744073709551616",
            "8192p",
            "1²",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert!(parse_some("0").is_err());
        assert!(parse_some("0.0k").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*") {
            let _ = text.parse::<Size>();
        }

        #[test]
        fn near_sizes_are_no_panic(text in "[0-9.]{0,40} ?[bkmgtpi]{0,3}") {
            let _ = text.parse::<Size>();
        }

        #[test]
        fn what_is_printed_is_read_again(bytes in 0..=i64::MAX as u64) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
