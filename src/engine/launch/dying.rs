//! Killed children that are reaped later: the kernel needs some time to release their open files and interfaces.

use std::sync::{Mutex, PoisonError};

use crate::sys::process::Child;

static DYING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Adds a killed child. [`reap`] reaps it later; if this process exits before, init does.
pub fn leave(child: Child) {
    let mut dying = DYING.lock().unwrap_or_else(PoisonError::into_inner);
    dying.push(child);
}

/// Reaps the children that have ended meanwhile.
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
