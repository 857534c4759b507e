//! Lists of folders' entries that are being read.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::node::LayerIndex;
use crate::layer::squashfs::InodeRef;

/// Entry of a list.
pub struct ListedName {
    /// Name of the entry.
    pub name: Box<OsStr>,
    /// Inode number.
    pub number: u64,
    /// Place in the list.
    pub place: u32,
    /// Bits of S_IFMT.
    pub kind: u16,
    /// Layer of the entry.
    pub layer: LayerIndex,
    /// Location of its inode, in an image.
    pub location: Option<InodeRef>,
}

/// Lists of folders that are being read, the newest last: each is made once. A dropped list is made again, in the same
/// order.
#[derive(Default)]
pub struct FolderLists(Mutex<VecDeque<(u64, Arc<Vec<ListedName>>)>>);

/// Largest number of lists at once.
const MOST_LISTS: usize = 32;

impl FolderLists {
    /// Returns the list of a folder.
    pub fn find(&self, id: u64) -> Option<Arc<Vec<ListedName>>> {
        self.0.lock().iter().find(|known| known.0 == id).map(|known| known.1.clone())
    }

    /// Drops the list of a folder.
    pub fn drop(&self, id: u64) {
        self.0.lock().retain(|known| known.0 != id);
    }

    /// Keeps the list of a folder, in place of an older one.
    pub fn keep(&self, id: u64, list: Arc<Vec<ListedName>>) {
        let mut lists = self.0.lock();
        lists.retain(|known| known.0 != id);
        if lists.len() == MOST_LISTS {
            lists.pop_front();
        }
        lists.push_back((id, list));
    }
}
