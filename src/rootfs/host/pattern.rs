//! Names with `*`: the part of a shell's patterns that the table of `extras` needs.

use std::ffi::OsStr;

/// Returns the text that the first `*` stands for, if the name matches. Each of several `*` may stand for any text.
pub fn matches(pattern: &str, name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    let Some((head, tail)) = pattern.split_once('*') else {
        return (pattern == name).then(String::new);
    };
    let rest = name.strip_prefix(head)?;
    let mut ends = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
    ends.find(|at| matches(tail, OsStr::new(&rest[*at..])).is_some())
        .map(|at| rest[..at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let star = |pattern: &str, name: &str| matches(pattern, OsStr::new(name));
        assert_eq!(star("python3.*", "python3.11"), Some("11".into()));
        assert_eq!(star("libtinfo*.so.*", "libtinfow.so.6"), Some("w".into()));
        assert_eq!(star("perl*", "perl"), Some(String::new()));
        assert_eq!(star("git", "git"), Some(String::new()));
        assert_eq!(star("git", "gitk"), None);
        assert_eq!(star("python3.*", "python3"), None);
    }
}
