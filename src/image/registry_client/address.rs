//! Addresses: which of them name the same server, and how a `Location` resolves.

use ureq::http::Uri;

use crate::error::{Error, Result};

/// A server as credentials see it: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOrigin {
    scheme: String,
    host: String,
    port: u16,
}

impl ServerOrigin {
    /// Origin of an absolute address. `None`: the scheme is not http or https, or the address holds a name and
    /// password.
    pub fn of(address: &Uri) -> Option<Self> {
        let scheme = address.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = address.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        Some(Self { scheme, host, port: authority.port_u16().unwrap_or(default) })
    }

    /// True if the traffic to this server is encrypted (https).
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }
}

/// Resolves `location` against `base` (RFC 3986, 5.2). Bytes that no address may hold are escaped. Errors: not an
/// address of http or https.
pub fn resolve(base: &Uri, location: &str) -> Result<Uri> {
    let bad = || Error::new(format!("'{}' is not an address", shown(location)));
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let path = base.path();
    let location = escape_forbidden(location.as_bytes());
    let text = location.split('#').next().unwrap_or_default();
    let absolute = if text.contains("://") && !text.starts_with(['/', '?']) {
        text.to_owned()
    } else if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{authority}{text}")
    } else if text.starts_with('?') {
        format!("{scheme}://{authority}{path}{text}")
    } else if text.is_empty() {
        return Err(bad());
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{text}")
    };
    let address: Uri = without_dots(&absolute).parse().map_err(|_| bad())?;
    ServerOrigin::of(&address).ok_or_else(bad)?;
    Ok(address)
}

/// Removes the dot segments from the path of an address (RFC 3986, 5.2.4).
fn without_dots(address: &str) -> String {
    let (whole, query) = match address.split_once('?') {
        Some((whole, query)) => (whole, Some(query)),
        None => (address, None),
    };
    let start = whole.find("://").map_or(0, |at| at + 3);
    let Some(path) = whole.get(start..).and_then(|rest| rest.find('/')).map(|at| start + at) else {
        return address.to_owned();
    };
    let (authority, path) = whole.split_at(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut all = path.split('/').skip(1).peekable();
    while let Some(segment) = all.next() {
        let is_last = all.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{authority}/{}{query}", segments.join("/"))
}

/// Escapes the bytes of a header field that no address may hold (RFC 3986, 2): real servers send quotes, blanks and
/// letters of other alphabets. Control characters stay, for the parser to refuse.
pub fn escape_forbidden(text: &[u8]) -> String {
    let is_forbidden = |byte: &u8| !byte.is_ascii() || b" \"<>\\^`{|}".contains(byte);
    let one = |byte: u8| match is_forbidden(&byte) {
        true => format!("%{byte:02X}"),
        false => char::from(byte).to_string(),
    };
    text.iter().copied().map(one).collect()
}

/// Returns `address` with one more field in its query. Escapes `value`.
pub fn with_query(address: &Uri, name: &str, value: &str) -> Result<Uri> {
    let text = address.to_string();
    let separator = if address.query().is_some() { '&' } else { '?' };
    let text = format!("{text}{separator}{name}={}", escape(value));
    text.parse().map_err(|_| Error::new("an address that is too long"))
}

/// Percent-encodes every byte that is not unreserved (RFC 3986, 2.3).
pub fn escape(value: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

/// Longest untrusted text that is shown, in characters.
const LONGEST: usize = 200;

/// Shortens `text` and escapes everything that a terminal would obey.
pub fn shown(text: &str) -> String {
    let mut all: String = text.chars().take(LONGEST).flat_map(escape_character).collect();
    if text.chars().nth(LONGEST).is_some() {
        all += "...";
    }
    all
}

fn escape_character(c: char) -> Vec<char> {
    if matches!(c, '"' | '\'') { vec![c] } else { c.escape_debug().collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_location_means_what_a_browser_makes_of_it() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/uploads/".parse().unwrap();
        for (location, meant) in [
            ("https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/v2/y?_state=a:b", "https://r.example:5000/v2/y?_state=a:b"),
            ("123", "https://r.example:5000/v2/a/blobs/uploads/123"),
            ("?x=y", "https://r.example:5000/v2/a/blobs/uploads/?x=y"),
            ("/x?next=https://o/", "https://r.example:5000/x?next=https://o/"),
            ("../../b/./c", "https://r.example:5000/v2/a/b/c"),
            ("../../../../../x", "https://r.example:5000/x"),
            ("https://cdn.example/a/../b/..?q=../x", "https://cdn.example/?q=../x"),
            ("/x?d=a;f=\"b c\"", "https://r.example:5000/x?d=a;f=%22b%20c%22"),
            ("/\u{e9}", "https://r.example:5000/%C3%A9"),
            ("a b", "https://r.example:5000/v2/a/blobs/uploads/a%20b"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), meant);
        }
        for bad in [
            "",
            "#x",
            "ftp://x/",
            "file:///etc/passwd",
            "https://",
            "https://u:p@h/",
            "https://a b/",
            "a\nb",
        ] {
            assert!(resolve(&base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_server() {
        let origin = |text: &str| ServerOrigin::of(&text.parse().unwrap());
        assert_eq!(origin("https://A.b/x"), origin("https://a.B:443/y"));
        assert_ne!(origin("https://a.b/"), origin("http://a.b/"));
        assert_ne!(origin("https://a.b/"), origin("https://a.b:444/"));
        assert_ne!(origin("https://a.b/"), origin("https://a.b.c/"));
    }

    #[test]
    fn a_query_grows() {
        let address: Uri = "http://h/x".parse().unwrap();
        let address = with_query(&address, "digest", "sha256:a").unwrap();
        assert_eq!(address.to_string(), "http://h/x?digest=sha256%3Aa");
        assert_eq!(
            with_query(&address, "b", "&").unwrap().query(),
            Some("digest=sha256%3Aa&b=%26")
        );
    }

    proptest! {
        #[test]
        fn no_location_breaks_us(location in ".{0,80}") {
            let base: Uri = "https://r.example/v2/".parse().unwrap();
            if let Ok(address) = resolve(&base, &location) {
                prop_assert!(ServerOrigin::of(&address).is_some());
            }
        }
    }

    #[test]
    fn a_strangers_words_are_cut_and_tamed() {
        assert_eq!(shown("it's \"x\"\n\u{1b}[2J\u{202e}"), "it's \"x\"\\n\\u{1b}[2J\\u{202e}");
        assert_eq!(shown(&"a".repeat(500)).len(), LONGEST + 3);
    }

    proptest! {
        #[test]
        fn no_control_character_is_shown(text in "\\PC*|[\\x00-\\x1f]{0,9}") {
            prop_assert!(!shown(&text).chars().any(char::is_control));
        }
    }
}
