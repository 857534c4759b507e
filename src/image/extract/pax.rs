//! PAX extended headers (POSIX.1-2001, pax, "pax Extended Header"): records `LENGTH KEY=VALUE\n` before an entry.

use rustix::fs::Timespec;

use super::number;
use super::sparse::{self, Region};
use crate::error::{Error, Result};
use crate::layer::acl;

/// Most extended attributes of one entry: more than any real file has, and than most filesystems support.
const MOST_XATTRS: usize = 128;
const MOST_XATTR_BYTES: usize = 256 << 10;

/// ACLs in text form, as GNU tar and libarchive write them.
const ACCESS_TEXT: &[u8] = b"SCHILY.acl.access";
const DEFAULT_TEXT: &[u8] = b"SCHILY.acl.default";

/// The records that usnea uses.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timespec>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
    xattr_bytes: usize,
}

/// The records of GNU tar's sparse files.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// The real name: the entry's own name is for readers that do not support holes.
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The map of the formats 0.0 and 0.1.
    pub(super) map: Option<Vec<Region>>,
    // Format 0.0: an offset whose length has not been read yet.
    offset: Option<u64>,
}

impl Pax {
    /// Parses the records. Errors: a malformed one, or too many attributes.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) =
                record(records).ok_or_else(|| Error::new("its PAX header is malformed"))?;
            pax.apply(key, value)?;
            records = rest;
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || {
            let key = String::from_utf8_lossy(key);
            Error::new(format!("its PAX record '{}' is malformed", key.escape_debug()))
        };
        let number = || number::decimal(value).ok_or_else(malformed);
        let id = || match value {
            b"-1" => Ok(-1),
            _ => number().and_then(|id| i64::try_from(id).map_err(|_| malformed())),
        };
        let text = || if value.contains(&0) { Err(malformed()) } else { Ok(value.to_vec()) };
        // "A record with an empty value deletes": the header's own field then holds.
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.xattr(name, value);
        }
        for (text, name) in [(ACCESS_TEXT, acl::ACCESS_ACL), (DEFAULT_TEXT, acl::DEFAULT_ACL)] {
            if key == text
                && let Some(acl) = acl::from_text(value)
            {
                return self.xattr(name, &acl);
            }
        }
        if value.is_empty() && key != b"GNU.sparse.map" {
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(text()?),
            b"linkpath" => self.link = Some(text()?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => self.mtime = Some(number::time(value).ok_or_else(malformed)?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(text()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(number()?),
            b"GNU.sparse.numblocks" => {
                self.sparse.map.get_or_insert_default();
            }
            b"GNU.sparse.offset" => self.sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take().ok_or_else(malformed)?;
                let map = self.sparse.map.get_or_insert_default();
                sparse::push(map, Region { offset, length: number()? })?;
            }
            b"GNU.sparse.map" => {
                self.sparse.map = Some(sparse::with_commas(value)?.ok_or_else(malformed)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(Error::new("the name of an extended attribute is malformed"));
        }
        self.xattr_bytes = self.xattr_bytes.saturating_add(name.len() + value.len());
        if self.xattrs.len() >= MOST_XATTRS || self.xattr_bytes > MOST_XATTR_BYTES {
            return Err(Error::new(format!(
                "has more than {MOST_XATTRS} extended attributes or {MOST_XATTR_BYTES} bytes of them"
            )));
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Splits off the first record: key, value, and the rest.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // A length with more digits would exceed any header.
    let space = records.iter().take(8).position(|byte| *byte == b' ')?;
    let (digits, _) = records.split_at_checked(space)?;
    let length = usize::try_from(number::decimal(digits).filter(|_| space > 0)?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at_checked(equals)?;
    Some((key, value.get(1..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_anything() {
        let pax = Pax::parse(b"29 SCHILY.xattr.user.a=1\n=2\0\n11 path=x\n\n").unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1\n=2\0".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"x\n"[..]));
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_says_nothing() {
        let pax = Pax::parse(b"10 path=a\n10 path=b\n8 path=\n8 size=\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(pax.size, None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for records in [
            &b"x"[..],
            b" path=a\n",
            b"10 path=a",
            b"11 path=a\n",
            b"0 \n",
            b"99999999999999999999 path=a\n",
            b"-1 path=a\n",
            b"8 patha\n",
            b"11 path=a\0\n",
            b"9 uid=-2\n",
            b"11 size=1x\n",
            b"12 size=1e5\n",
            b"26 GNU.sparse.numbytes=5\n\n",
            b"25 GNU.sparse.numbytes=5\n",
            b"21 GNU.sparse.map=5\n",
            b"9 mtime=\n\0",
        ] {
            assert!(Pax::parse(records).is_err(), "{}", records.escape_ascii());
        }
    }
}
