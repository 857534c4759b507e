//! Patterns of names for docker's `--filter reference=`: Go's path.Match.

/// True if `text` matches `pattern`. `*` matches any characters but a slash, `?` one character, `[a-z]` and `[^a-z]`
/// one of a set. A backslash escapes a character. A malformed pattern matches only itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    pattern == text || matches_chars(&pattern, &text)
}

/// Compares from left to right, and backtracks to the last star at a mismatch. Memory is linear; time is at most the
/// product of both lengths.
fn matches_chars(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() || at < pattern.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, seen));
            at += 1;
            continue;
        }
        let step = text.get(seen).and_then(|c| one(pattern.get(at..).unwrap_or_default(), *c));
        match (step, star) {
            (Some(length), _) => (at, seen) = (at + length, seen + 1),
            (None, Some((star_at, taken))) if text.get(taken).is_some_and(|c| *c != '/') => {
                star = Some((star_at, taken + 1));
                (at, seen) = (star_at + 1, taken + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Returns the number of characters of `pattern` that match `c`; `None`: no match.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (c != '/').then_some(1),
        ['\\', literal, ..] => (*literal == c).then_some(2),
        ['[', set @ ..] => set_has(set, c),
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

fn set_has(set: &[char], c: char) -> Option<usize> {
    let (is_negated, mut at) = match set.first() {
        Some('^' | '!') => (true, 1),
        _ => (false, 0),
    };
    let start = at;
    let mut has = false;
    loop {
        match (set.get(at)?, set.get(at + 1), set.get(at + 2)) {
            (']', ..) if at > start => break,
            (low, Some('-'), Some(high)) if *high != ']' => {
                has |= (*low..=*high).contains(&c);
                at += 3;
            }
            (literal, ..) => {
                has |= *literal == c;
                at += 1;
            }
        }
    }
    (has != is_negated && c != '/').then_some(at + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_gos() {
        for (pattern, text) in [
            ("debian", "debian"),
            ("deb*", "debian"),
            ("*:12", "debian:12"),
            ("d?bian:*", "debian:12"),
            ("q.io/*/x*", "q.io/a/x:1"),
            ("[a-d]ebian", "debian"),
            ("[^x]ebian", "debian"),
            ("a\\*", "a*"),
            ("*", ""),
            ("**b*", "aabb"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("deb", "debian"),
            ("*", "a/b"),
            ("q.io/*", "q.io/a/x"),
            ("?", "/"),
            ("[^x]", "/"),
            ("[", "x"),
            ("[a", "a"),
            ("x", ""),
            ("", "x"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics_or_hangs(pattern in "[*?\\[\\]a^\\\\-]{0,30}", text in "[a/*]{0,60}") {
            let _ = matches(&pattern, &text);
        }

        #[test]
        fn a_text_without_signs_matches_itself_alone(text in "[a-z/:.]{1,20}", other in "[a-z/:.]{1,20}") {
            prop_assert!(matches(&text, &text));
            prop_assert_eq!(matches(&text, &other), text == other);
        }
    }
}
