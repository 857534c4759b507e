//! `--detach-keys`: key sequence that detaches from a container, which keeps running.

use std::str::FromStr;

/// Key sequence, as the bytes that a terminal sends for it. Empty: detaching is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// Returns docker's keys: Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl DetachKeys {
    /// Returns the empty sequence: detaching is off.
    pub const fn none() -> Self {
        Self(Vec::new())
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Parses keys that are separated by commas: a character, or `ctrl-` and a letter or one of `@ [ \ ] ^ _`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let key = |key: &str| match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (Some(of), _) => match of.to_ascii_lowercase().as_bytes() {
                [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
                [b'@'] => Ok(0),
                [sign @ b'['..=b'_'] => Ok(sign - b'[' + 27),
                _ => Err(format!("'{key}' is no key: ctrl- and one of a-z @ [ \\ ] ^ _")),
            },
            (None, [byte]) => Ok(*byte),
            _ => Err(format!("'{key}' is no key: one character, or ctrl- and one")),
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

/// Scanner that finds the detach keys in typed bytes.
#[derive(Debug, Default)]
pub struct DetachWatch {
    keys: DetachKeys,
    /// Number of keys matched so far; those bytes are not forwarded yet.
    matched: usize,
}

impl DetachWatch {
    /// Makes a scanner for `keys`.
    pub fn new(keys: DetachKeys) -> Self {
        Self { keys, matched: 0 }
    }

    /// Returns the bytes of `typed` to forward, and true if the keys were complete. Drops the bytes after the keys.
    pub fn typed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut forwarded = Vec::with_capacity(typed.len());
        for byte in typed {
            if keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == keys.len() {
                    return (forwarded, true);
                }
                continue;
            }
            forwarded.extend(&keys[..self.matched]);
            self.matched = 0;
            match keys.first() == Some(byte) {
                true => self.matched = 1,
                false => forwarded.push(*byte),
            }
        }
        (forwarded, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("a,ctrl-@,ctrl-[,ctrl-_".parse(), Ok(DetachKeys(vec![b'a', 0, 27, 31])));
        assert_eq!("".parse(), Ok(DetachKeys(vec![])));
        for wrong in ["ctrl-", "ctrl-1", "ab", ",", "ctrl-p,"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_found_across_reads_and_what_is_none_of_them_goes_on() {
        let mut watch = DetachWatch::default();
        assert_eq!(watch.typed(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(watch.typed(b"b\x10"), (b"\x10b".to_vec(), false));
        assert_eq!(watch.typed(b"\x10\x11z"), (b"\x10".to_vec(), true));
        let mut none = DetachWatch::new(DetachKeys(vec![]));
        assert_eq!(none.typed(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
