//! Quoting for a shell.

/// Quotes text as one word for a POSIX shell. Control characters, which a terminal would obey, take the form of POSIX
/// 2024: `$'...'`. A shell without it (dash) takes that literally.
pub(super) fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=,:+@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let is_obeyed = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(is_obeyed) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut quoted = "$'".to_owned();
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => quoted.extend(['\\', letter]),
            _ if is_obeyed(letter) => {
                let mut room = [0; 4];
                let bytes = letter.encode_utf8(&mut room).bytes();
                quoted.extend(bytes.map(|byte| format!("\\{byte:03o}")));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_split_or_expand_them() {
        assert_eq!(quote("/usr/bin:x=1"), "/usr/bin:x=1");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quote("a\n\tb"), "'a\n\tb'");
    }

    #[test]
    fn control_characters_are_quoted_by_number() {
        let text = "it's \\ \x1b]0;x\x07 \u{9b}1m\n\u{fc}";
        let quoted = quote(text);
        assert_eq!(quoted, "$'it\\'s \\\\ \\033]0;x\\007 \\302\\2331m\n\u{fc}'");
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", &format!("printf %s {quoted}")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), text);
    }
}
