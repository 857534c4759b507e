//! Beginning and end of a template's actions. Refuses errors that gotmpl accepts: blocks without an end, and ends
//! without a block (gotmpl drops the text after them).

use crate::error::Result;
use crate::fail;

/// Replaces `\t` and `\n` by a tab and a line's end, outside of actions (inside, strings have Go's own escapes).
pub fn with_escapes(text: &str) -> String {
    let piece =
        |(plain, action): (&str, &str)| plain.replace("\\t", "\t").replace("\\n", "\n") + action;
    pieces(text).into_iter().map(piece).collect()
}

/// Checks the blocks. Errors: an `end` or `else` without a block, a block without its `end`.
pub fn check_blocks(text: &str) -> Result<()> {
    let mut open: Vec<&str> = Vec::new();
    for (_, action) in pieces(text) {
        let inner = action.strip_prefix("{{").unwrap_or(action);
        let inner = inner.strip_prefix('-').unwrap_or(inner).trim_start();
        let word = inner.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        match (word, open.last().copied()) {
            ("if" | "range" | "with" | "define" | "block", _) => open.push(word),
            ("end", Some(_)) => drop(open.pop()),
            // `else if` and `else with` may be followed by another one.
            ("else", Some("if" | "range" | "with")) if !is_last(inner) => {}
            ("else", Some("if" | "range" | "with")) => {
                open.pop();
                open.push("else");
            }
            ("end" | "else", _) => fail!(Invalid: "unexpected {}", action.escape_debug()),
            _ => {}
        }
    }
    match open.last() {
        Some(word) => fail!(Invalid: "no {{{{end}}}} for '{word}'"),
        None => Ok(()),
    }
}

/// True for an `else` without an `if` or `with` behind it.
fn is_last(action: &str) -> bool {
    action.trim_end_matches("}}").trim_end_matches('-').trim_end() == "else"
}

/// Splits a template into pairs of plain text and the action after it; the last action may be empty.
pub(super) fn pieces(text: &str) -> Vec<(&str, &str)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, action) = rest.split_at(rest.find("{{").unwrap_or(rest.len()));
        let (action, after) = action.split_at(action_length(action));
        pieces.push((plain, action));
        rest = after;
    }
    pieces
}

/// Returns the length in bytes of the action at the beginning of `text`, or 0 if `text` is empty. `}}` in a string or a
/// comment does not end the action.
fn action_length(text: &str) -> usize {
    let mut chars = text.char_indices();
    let mut within = None;
    while let Some((at, c)) = chars.next() {
        let rest = text.get(at..).unwrap_or_default();
        match within {
            None if rest.starts_with("}}") => return at + 2,
            None if rest.starts_with("/*") => within = Some('/'),
            None if matches!(c, '"' | '`' | '\'') => within = Some(c),
            // An escaped character does not end the string.
            Some('"' | '\'') if c == '\\' => drop(chars.next()),
            Some('/') if rest.starts_with("*/") => within = None,
            Some(quote) if quote == c && quote != '/' => within = None,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_themselves_in_actions_alone() {
        assert_eq!(with_escapes(r"{{.A}}\t{{.B}}\n"), "{{.A}}\t{{.B}}\n");
        assert_eq!(
            with_escapes(r#"\n{{join .A "\n}}\t"}}\t{{/* }}\t */}}"#),
            "\n{{join .A \"\\n}}\\t\"}}\t{{/* }}\\t */}}"
        );
        assert_eq!(with_escapes(r#"{{print `\`}}\t{{"\"}}\t"#), "{{print `\\`}}\t{{\"\\\"}}\\t");
        assert_eq!(with_escapes("é{{é"), "é{{é");
    }

    #[test]
    fn every_block_has_its_end() {
        for good in [
            "{{if .A}}{{else if .B}}{{else}}{{end}}",
            "{{- range .A -}}{{with .B}}{{- else -}}{{end}}{{- end -}}",
            r#"{{define "end"}}{{end}}{{block "x" .}}{{end}}{{/* end */}}{{"end"}}{{ends}}end"#,
        ] {
            assert!(check_blocks(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("{{if .A}}", "no {{end}} for 'if'"),
            ("{{range .A}}{{if .}}{{end}}x", "no {{end}} for 'range'"),
            ("{{.A}}{{end}}{{.B}}", "unexpected {{end}}"),
            ("{{else}}", "unexpected {{else}}"),
            ("{{if .A}}{{else}}{{else}}{{end}}", "unexpected {{else}}"),
            (r#"{{define "x"}}{{- else if 1}}{{end}}"#, "unexpected {{- else if 1}}"),
        ] {
            assert_eq!(check_blocks(bad).unwrap_err().to_string(), why, "{bad}");
        }
    }
}
