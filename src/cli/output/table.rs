//! Tables: plain columns with docker's widths, for people and for `cut`. No colours, no lines, no wrapping.

use std::borrow::Cow;

/// Least width of a column, with its gap (docker's).
const LEAST: usize = 10;
/// Number of spaces between a column's longest cell and the next column (docker's).
const GAP: usize = 3;

/// Aligns `text`, in which tabs separate cells. Counts widths in characters.
pub fn align(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        // The last cell of a row needs no width.
        for (at, cell) in row.iter().take(row.len().saturating_sub(1)).enumerate() {
            let width = LEAST.max(cell.chars().count() + GAP);
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let line = |row: &Vec<&str>| {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(at, cell)| {
            let width = widths.get(at).copied().unwrap_or_default();
            format!("{cell:<width$}")
        });
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

/// Escapes the control characters (C0, DEL, C1) of `text`, so that a name can neither break a row nor steer a terminal.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_if(text, char::is_control)
}

/// Escapes an error or a warning, which may have several lines.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_if(text, |c| c.is_control() && c != '\n')
}

fn escape_if(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return text.into();
    }
    let escaped = |c: char| match is_escaped(c) {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_dockers() {
        let text = "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\n\
                    debian\t12\te15dbfac2d2b\t3 weeks ago\t117MB\n\
                    registry.example.com/tool\tlatest\t0123456789ab\tAbout an hour ago\t0B\n";
        assert_eq!(
            align(text),
            "\
REPOSITORY                  TAG       IMAGE ID       CREATED             SIZE
debian                      12        e15dbfac2d2b   3 weeks ago         117MB
registry.example.com/tool   latest    0123456789ab   About an hour ago   0B
"
        );
    }

    #[test]
    fn widths_are_characters_and_lines_end_without_spaces() {
        assert_eq!(
            align("NAME\tX\nüberlange-namen\ty\nz\t\n"),
            "NAME             X\nüberlange-namen   y\nz\n".replacen("NAME  ", "NAME   ", 1)
        );
        assert_eq!(align(""), "");
        assert_eq!(align("a\n\nb\tc"), "a\n\nb         c\n");
    }

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(escape("a\tb\nc\u{1b}[31m\u{9b}d"), "a\\tb\\nc\\u{1b}[31m\\u{9b}d");
        assert_eq!(escape_lines("a\tb\nc\u{1b}[31m\u{9b}d\r"), "a\\tb\nc\\u{1b}[31m\\u{9b}d\\r");
        assert!(matches!(escape_lines("two\nlines"), Cow::Borrowed(_)));
        assert!(matches!(escape("größe 'x' \\ \"y\""), Cow::Borrowed(_)));
    }
}
