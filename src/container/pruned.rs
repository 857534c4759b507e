//! Result of a prune, the same for all kinds of objects.

use crate::error::Error;

/// Result of a prune, which goes on to its end when a removal fails.
#[derive(Debug)]
pub struct Pruned<T> {
    /// Removed objects.
    pub removed: Vec<T>,
    /// Freed disk space, in bytes.
    pub bytes: u64,
    /// Failures; an object that a command has begun to use meanwhile is none.
    pub failures: Vec<Error>,
}

impl<T> Default for Pruned<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), bytes: 0, failures: Vec::new() }
    }
}
