//! Killed children whose end is not awaited: the kernel takes long to remove what they have open.

use std::sync::{Mutex, PoisonError};

use crate::sys::process::Child;

static DYING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Leaves a killed child to the kernel. [`reap`] removes its entry in the process table; else the end of this process
/// does.
pub fn leave(child: Child) {
    let mut dying = DYING.lock().unwrap_or_else(PoisonError::into_inner);
    dying.push(child);
}

/// Reaps the children that have ended since.
pub fn reap() {
    let mut dying = DYING.lock().unwrap_or_else(PoisonError::into_inner);
    dying.retain(|child| {
        let has_ended = child.has_ended();
        if has_ended {
            let _ = child.wait();
        }
        !has_ended
    });
}
