//! Extended attributes: names with values beside those, or elsewhere.

use rustix::io::Errno;

use super::format::{
    LONGEST_NAME, LONGEST_VALUE, LONGEST_XATTR_LIST, XATTR_OUT_OF_LINE, XATTR_PREFIXES, XattrName,
};
use super::image::SquashfsImage;
use super::inode::Inode;
use super::metadata::MetadataCursor;

/// Shortest entry of a name list: a prefix, one byte, a zero.
const SHORTEST_NAME: u32 = 7;

/// Limit of attributes of one file: more names would not fit into a list.
const MOST_XATTRS: u32 = LONGEST_XATTR_LIST as u32 / SHORTEST_NAME;

/// Attribute at a cursor, which stands before the value.
struct XattrHead {
    prefix: &'static str,
    name: Vec<u8>,
    is_out_of_line: bool,
}

impl SquashfsImage {
    /// Reads the value of an attribute, of a whole name such as `user.x`. Errors: ENODATA for a missing one.
    pub fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let value = self.find_xattr(inode, |head, cursor| {
            let is_wanted = name.strip_prefix(head.prefix.as_bytes()) == Some(head.name.as_slice());
            match (is_wanted, head.is_out_of_line) {
                (false, _) => Ok(None),
                (true, false) => read_value(cursor).map(Some),
                (true, true) => {
                    let place = read_value(cursor)?;
                    let place = place.as_slice().try_into().map_err(|_| Errno::IO)?;
                    read_value(&mut self.xattr_cursor(u64::from_le_bytes(place))?).map(Some)
                }
            }
        })?;
        value.ok_or(Errno::NODATA)
    }

    /// Reads the names of all attributes, a zero after each.
    pub fn xattr_names(&self, inode: &Inode) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        self.find_xattr(inode, |head, _| {
            names.extend_from_slice(head.prefix.as_bytes());
            names.extend_from_slice(&head.name);
            names.push(0);
            match names.len() <= LONGEST_XATTR_LIST {
                true => Ok(None::<()>),
                false => Err(Errno::IO),
            }
        })?;
        Ok(names)
    }

    /// Calls `look` at each attribute of a file, with a cursor before the value, until it finds what it wants. It moves
    /// the cursor for a result alone. Attributes with an unknown prefix are passed over.
    fn find_xattr<T>(
        &self,
        inode: &Inode,
        mut look: impl FnMut(&XattrHead, &mut MetadataCursor<'_>) -> Result<Option<T>, Errno>,
    ) -> Result<Option<T>, Errno> {
        if !inode.has_xattrs() || !self.has_xattrs() {
            return Ok(None);
        }
        let list = self.xattr_list(inode.xattrs)?;
        if list.count > MOST_XATTRS {
            return Err(Errno::IO);
        }
        let mut cursor = self.xattr_cursor(list.position)?;
        for _ in 0..list.count {
            if let Some(head) = read_head(&mut cursor)?
                && let Some(found) = look(&head, &mut cursor)?
            {
                return Ok(Some(found));
            }
            let size = u32::from_le_bytes(cursor.take()?);
            cursor.skip(size.into())?;
        }
        Ok(None)
    }
}

/// Reads the name of an attribute; `None` for an unknown prefix.
fn read_head(cursor: &mut MetadataCursor<'_>) -> Result<Option<XattrHead>, Errno> {
    let XattrName { prefix, size } = XattrName::parse(&cursor.take()?);
    let mut name = vec![0; size.into()];
    cursor.read(&mut name)?;
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(&0) {
        return Err(Errno::IO);
    }
    let is_out_of_line = prefix & XATTR_OUT_OF_LINE != 0;
    let prefix = XATTR_PREFIXES.get(usize::from(prefix & !XATTR_OUT_OF_LINE));
    Ok(prefix.map(|prefix| XattrHead { prefix, name, is_out_of_line }))
}

/// Reads a value with its size.
fn read_value(cursor: &mut MetadataCursor<'_>) -> Result<Vec<u8>, Errno> {
    let size = u32::from_le_bytes(cursor.take()?) as usize;
    if size > LONGEST_VALUE {
        return Err(Errno::IO);
    }
    let mut value = vec![0; size];
    cursor.read(&mut value)?;
    Ok(value)
}
