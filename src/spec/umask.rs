//! `--umask`: the mask of the modes of new files.

/// Parses a mask of octal digits, at most 777.
pub fn parse_umask(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(mask) if is_octal && mask <= 0o777 => Ok(mask),
        _ => Err(format!("'{text}' is not a mask in octal, such as 0077")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_octal() {
        assert_eq!(
            ["0077", "22", "0", "777"].map(parse_umask),
            [Ok(0o77), Ok(0o22), Ok(0), Ok(0o777)]
        );
        for wrong in ["", "8", "1777", "-1", "+7", "u=rwx"] {
            assert!(parse_umask(wrong).is_err(), "{wrong}");
        }
    }
}
