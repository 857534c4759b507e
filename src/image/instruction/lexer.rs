//! Words of a Dockerfile's line: quotes, backslashes, and variables of the image's environment.

use crate::error::{Error, Result};
use crate::fail;

/// Names and values.
type NamedValues = Vec<(String, String)>;

/// Expands `text` as a single word: removes quotes, replaces variables.
pub fn expand(text: &str, env: &[(String, String)]) -> Result<String> {
    let words = Lexer { rest: text.chars().collect(), at: 0, env }.words(Spaces::Belong)?;
    Ok(words.concat())
}

/// Splits `text` into words at white space, with quotes and variables expanded.
pub fn split(text: &str, env: &[(String, String)]) -> Result<Vec<String>> {
    Lexer { rest: text.chars().collect(), at: 0, env }.words(Spaces::Separate)
}

/// Parses `NAME=VALUE NAME=VALUE...`, or the old `NAME VALUE`, where all the rest is the value.
pub fn pairs(text: &str, env: &[(String, String)]) -> Result<NamedValues> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let value = text.strip_prefix(first).unwrap_or_default().trim_start();
        if value.is_empty() {
            fail!(Invalid: "'{}' has no value", first.escape_debug());
        }
        return Ok(vec![(expand(first, env)?, expand(value, env)?)]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) | None => {
            Err(Error::invalid(format!("'{}' is not NAME=VALUE", word.escape_debug())))
        }
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    };
    split(text, env)?.into_iter().map(pair).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    Separate,
    Belong,
}

struct Lexer<'a> {
    rest: Vec<char>,
    at: usize,
    env: &'a [(String, String)],
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn words(&mut self, spaces: Spaces) -> Result<Vec<String>> {
        let mut words = Vec::new();
        // None between words: an empty pair of quotes is a word too.
        let mut word: Option<String> = None;
        while let Some(c) = self.next() {
            if c.is_whitespace() && spaces == Spaces::Separate {
                words.extend(word.take());
                continue;
            }
            let word = word.get_or_insert_default();
            match c {
                '\'' => self.single_quoted(word)?,
                '"' => self.double_quoted(word)?,
                '\\' => word.extend(self.next()),
                '$' => self.variable(word)?,
                c => word.push(c),
            }
        }
        words.extend(word);
        Ok(words)
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => word.push(c),
                None => fail!(Invalid: "a ' is not closed"),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(word)?,
                Some('\\') => match self.next() {
                    Some(c @ ('"' | '$' | '\\')) => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => fail!(Invalid: "a \" is not closed"),
                },
                Some(c) => word.push(c),
                None => fail!(Invalid: "a \" is not closed"),
            }
        }
    }

    /// Expands a variable after its `$`: `NAME`, or a form in braces.
    fn variable(&mut self, word: &mut String) -> Result<()> {
        if self.peek() == Some('{') {
            self.at += 1;
            return self.braced_variable(word);
        }
        let name = self.name();
        match name.as_str() {
            "" => word.push('$'),
            name => word.push_str(self.value(name).unwrap_or_default()),
        }
        Ok(())
    }

    /// Expands `${NAME}`, `${NAME:-WORD}`, `${NAME:+WORD}`, and the two without the colon, after the brace.
    fn braced_variable(&mut self, word: &mut String) -> Result<()> {
        let name = self.name();
        if name.is_empty() {
            fail!(Invalid: "${{ is not followed by the name of a variable");
        }
        let colon = self.peek() == Some(':');
        self.at += usize::from(colon);
        let value = self.value(&name).filter(|value| !(colon && value.is_empty()));
        let value = value.map(str::to_owned);
        match self.next() {
            Some('}') if !colon => word.push_str(&value.unwrap_or_default()),
            Some('-') => {
                let other = self.up_to_brace()?;
                word.push_str(&value.unwrap_or(other));
            }
            Some('+') => {
                let other = self.up_to_brace()?;
                word.push_str(value.map(|_| other).as_deref().unwrap_or_default());
            }
            _ => fail!(Invalid: "${{{name}...}}: only ${{{name}}}, :- and :+ are known"),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| {
            c == '_' || c.is_ascii_alphabetic() || self.at > start && c.is_ascii_digit()
        }) {
            self.at += 1;
        }
        self.rest.get(start..self.at).unwrap_or_default().iter().collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    // The word after :- or :+, up to the first brace: neither quoted braces nor nested variables are supported.
    fn up_to_brace(&mut self) -> Result<String> {
        let start = self.at;
        while let Some(c) = self.next() {
            if c == '}' {
                let inner = self.rest.get(start..self.at - 1).unwrap_or_default().to_vec();
                let mut inner = Lexer { rest: inner, at: 0, env: self.env };
                return Ok(inner.words(Spaces::Belong)?.concat());
            }
        }
        fail!(Invalid: "a ${{ is not closed")
    }
}
