//! Words of a setting, and the quoting of command lines (systemd.service(5), "Command lines").

/// Splits text into words at blanks. Quotes and C escapes are those of systemd. Errors: an escape that systemd does not
/// know, as a text.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match (quote, character) {
            (_, '\\') => {
                let escaped = unescape(&mut rest)?;
                word.get_or_insert_default().push(escaped);
            }
            (None, ' ' | '\t' | '\n' | '\r') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(end), _) if end == character => quote = None,
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads the escape after a backslash.
fn unescape(rest: &mut std::str::Chars<'_>) -> Result<char, String> {
    let unknown = |what: &str| Err(format!("systemd does not know the escape '\\{what}'"));
    let Some(kind) = rest.next() else { return unknown("") };
    let number = match kind {
        'a' => return Ok('\x07'),
        'b' => return Ok('\x08'),
        'f' => return Ok('\x0c'),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        'v' => return Ok('\x0b'),
        's' => return Ok(' '),
        '\\' | '"' | '\'' => return Ok(kind),
        'x' => digits(rest, 2, 16),
        'u' => digits(rest, 4, 16),
        'U' => digits(rest, 8, 16),
        '0'..='3' => {
            let first = kind.to_digit(8).unwrap_or_default();
            digits(rest, 2, 8).map(|number| first * 64 + number)
        }
        _ => None,
    };
    match number.filter(|number| *number != 0).and_then(char::from_u32) {
        Some(character) => Ok(character),
        None => unknown(&kind.to_string()),
    }
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut number: u32 = 0;
    for _ in 0..count {
        number = number.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(number)
}

/// Joins words to a command line that [`split`] splits into the same words.
pub fn join(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let is_plain = |character: char| {
        !character.is_ascii_control() && !matches!(character, ' ' | '"' | '\'' | '\\')
    };
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    let needs_quotes = word.is_empty() || word.contains([' ', '\t', '"', '\'']);
    for character in word.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    match needs_quotes {
        true => format!("\"{quoted}\""),
        false => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        for (text, words) in [
            ("a b  c", vec!["a", "b", "c"]),
            (r#""a b" c='d e'"#, vec!["a b", "c=d e"]),
            (r#"a\x20b \101\n x\u00e4"#, vec!["a b", "A\n", "xä"]),
            (r#"'' """#, vec!["", ""]),
            (r#"x "open "#, vec!["x", "open "]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for wrong in [r"a\ b", r"\q", r"\x1", r"a\", r"\x00", r"\udddd"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn joined_words_are_split_into_the_same() {
        let words = ["a", "", "b c", "q\"u'o", "back\\slash", "line\nend", "\x01", "$HOME", "%n"];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(split(&join(&words)).unwrap(), words);
        assert_eq!(join(&words[..3]), r#"a "" "b c""#);
    }
}
