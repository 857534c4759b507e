//! Open files, by the numbers that the kernel returns with each request.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::tree::FsResult;

/// Table of open files.
pub struct Handles<T> {
    table: Mutex<Table<T>>,
}

struct Table<T> {
    open: Vec<Option<Arc<T>>>,
    free: Vec<usize>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { table: Mutex::new(Table { open: Vec::new(), free: Vec::new() }) }
    }
}

impl<T> Handles<T> {
    /// Stores an open file; returns its number.
    pub fn keep(&self, opened: T) -> u64 {
        let opened = Some(Arc::new(opened));
        let mut table = self.table.lock();
        match table.free.pop() {
            Some(place) => {
                table.open[place] = opened;
                place as u64
            }
            None => {
                table.open.push(opened);
                table.open.len() as u64 - 1
            }
        }
    }

    /// Returns the open file of this number. Errors: EBADF.
    pub fn find(&self, number: u64) -> FsResult<Arc<T>> {
        self.table.lock().open.get(number as usize).cloned().flatten().ok_or(Errno::BADF)
    }

    /// Removes an open file from the table, and returns it. Errors: EBADF.
    pub fn close(&self, number: u64) -> FsResult<Arc<T>> {
        let mut table = self.table.lock();
        let opened = table.open.get_mut(number as usize).and_then(Option::take);
        if opened.is_some() {
            table.free.push(number as usize);
        }
        opened.ok_or(Errno::BADF)
    }
}
