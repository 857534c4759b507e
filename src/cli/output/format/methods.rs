//! Methods in templates: Go calls them on a value, `.Created.Format "15:04"`, `.Label "a"`; our values have none.
//! Before the parsing of a template, each becomes the function of the same name: `(format .Created "15:04")`, `(label .
//! "a")`.

use super::actions::pieces;

/// Method: its name, the function that replaces it, and the number of its arguments.
struct Method {
    name: &'static str,
    function: &'static str,
    arguments: usize,
}

const METHODS: [Method; 6] = [
    Method { name: "Label", function: "label", arguments: 1 },
    Method { name: "Format", function: "format", arguments: 1 },
    Method { name: "Unix", function: "unix", arguments: 0 },
    Method { name: "UnixNano", function: "unixNano", arguments: 0 },
    Method { name: "UTC", function: "utc", arguments: 0 },
    Method { name: "Local", function: "local", arguments: 0 },
];

/// Replaces methods in `text` by functions.
pub fn as_functions(text: &str) -> String {
    let action = |(plain, action): (&str, &str)| format!("{plain}{}", Rewriter::action(action));
    pieces(text).into_iter().map(action).collect()
}

/// Reader of an action, from left to right.
struct Rewriter<'a> {
    rest: &'a str,
    done: String,
    /// Position in `done` of each open parenthesis.
    open: Vec<usize>,
}

impl<'a> Rewriter<'a> {
    fn action(text: &'a str) -> String {
        let mut rewriter = Self { rest: text, done: String::new(), open: Vec::new() };
        while !rewriter.rest.is_empty() {
            rewriter.word();
        }
        rewriter.done
    }

    /// Copies an operand and the chain behind it, or a single other character.
    fn word(&mut self) {
        let start = self.done.len();
        match self.rest.chars().next() {
            Some('"' | '`' | '\'') => self.take(quoted(self.rest)),
            Some('/') if self.rest.starts_with("/*") => {
                self.take(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2));
            }
            Some('(') => {
                self.open.push(start);
                self.take(1);
            }
            Some(')') => {
                self.take(1);
                let start = self.open.pop().unwrap_or(start);
                self.chain(start);
            }
            Some('.') => self.chain(start),
            Some(c) if c == '$' || is_part(c) => {
                let name = self.rest.find(|c: char| c != '$' && !is_part(c));
                self.take(name.unwrap_or(self.rest.len()));
                self.chain(start);
            }
            Some(c) => self.take(c.len_utf8()),
            None => {}
        }
    }

    /// Copies a chain `.A.B` behind the operand that begins at `start`.
    fn chain(&mut self, start: usize) {
        while let Some(after) = self.rest.strip_prefix('.') {
            let length = after.find(|c| !is_part(c)).unwrap_or(after.len());
            let name = after.get(..length).unwrap_or_default();
            match METHODS.iter().find(|method| method.name == name) {
                Some(method) if self.calls(method, length + 1) => self.call(method, start),
                _ => self.take(length + 1),
            }
        }
    }

    /// True if the method's arguments follow: else the name is a field.
    fn calls(&self, method: &Method, length: usize) -> bool {
        let after = self.rest.get(length..).unwrap_or_default();
        let begins = |c: char| matches!(c, '"' | '`' | '.' | '$' | '(');
        method.arguments == 0 || after.starts_with(' ') && after.trim_start().starts_with(begins)
    }

    fn call(&mut self, method: &Method, start: usize) {
        let receiver = self.done.split_off(start);
        let receiver = if receiver.is_empty() { "." } else { &receiver };
        self.done += &format!("({} {receiver}", method.function);
        self.rest = self.rest.get(method.name.len() + 1..).unwrap_or_default();
        for _ in 0..method.arguments {
            self.take(self.rest.len() - self.rest.trim_start().len());
            self.argument();
        }
        self.done.push(')');
    }

    fn argument(&mut self) {
        let depth = self.open.len();
        self.word();
        while self.open.len() > depth && !self.rest.is_empty() {
            self.word();
        }
    }

    fn take(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.done += taken;
        self.rest = rest;
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length in bytes of the string at the beginning of `text`, with its quotes.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else { return 0 };
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => drop(chars.next()),
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn methods_are_functions_and_all_else_stays() {
        for (text, wanted) in [
            (r#"{{.Label "a.b"}}"#, r#"{{(label . "a.b")}}"#),
            (r#"x {{.Label "a"}} .Label "b""#, r#"x {{(label . "a")}} .Label "b""#),
            (r#"{{$.Label "a"}}"#, r#"{{(label $ "a")}}"#),
            (r#"{{.State.StartedAt.Format "2006"}}"#, r#"{{(format .State.StartedAt "2006")}}"#),
            (
                r#"{{(index .A 0).Format "2006" | upper}}"#,
                r#"{{(format (index .A 0) "2006") | upper}}"#,
            ),
            (r#"{{eq (.Label "a") (.Label "b")}}"#, r#"{{eq ((label . "a")) ((label . "b"))}}"#),
            (r#"{{.Created.UTC.Format "15"}}"#, r#"{{(format (utc .Created) "15")}}"#),
            (r#"{{.Label (printf "%s" .A)}}"#, r#"{{(label . (printf "%s" .A))}}"#),
            ("{{.Created.Unix}}", "{{(unix .Created)}}"),
            ("{{$t.Local}}", "{{(local $t)}}"),
            ("{{.Labels}} {{.Format}} {{.Label}}", "{{.Labels}} {{.Format}} {{.Label}}"),
            (
                r#"{{"(.Label \"a\")"}}{{/* .Label "a" */}}"#,
                r#"{{"(.Label \"a\")"}}{{/* .Label "a" */}}"#,
            ),
            ("{{range .A}}{{.B}}{{end}}", "{{range .A}}{{.B}}{{end}}"),
            ("{{- printf \"%.2f\" 1.5 -}}", "{{- printf \"%.2f\" 1.5 -}}"),
        ] {
            assert_eq!(as_functions(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_text_without_methods_stays(text in "[{}().$ \"a-cLé|]{0,40}") {
            prop_assert_eq!(as_functions(&text), text);
        }

        #[test]
        fn nothing_panics_with_methods(text in "[{}().$ \"`]{0,9}(\\.Label|\\.Format|\\.Unix)?[{}().$ \"a]{0,9}") {
            let _ = as_functions(&format!("{{{{{text}}}}}"));
        }
    }
}
