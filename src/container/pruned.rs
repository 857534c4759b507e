//! Result type of all prune verbs.

use crate::error::Error;

/// Result of a prune. A prune continues when a removal fails.
#[derive(Debug)]
pub struct Pruned<T> {
    /// Removed objects.
    pub removed: Vec<T>,
    /// Freed disk space, in bytes.
    pub bytes: u64,
    /// Failed removals, without objects that another command has begun to use meanwhile.
    pub failures: Vec<Error>,
}

impl<T> Default for Pruned<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), bytes: 0, failures: Vec::new() }
    }
}
