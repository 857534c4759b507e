//! End of the processes of a launch.

use crate::sys::process::{self, Child};

/// Ends and reaps every child of this process, and each process that becomes one when its parent ends.
pub fn end_children() {
    end_all(&[], &[]);
}

/// Ends and reaps all processes of a launch: first `known`, then the children of this process. Includes each process
/// that becomes a child when its parent ends. Spares `preexisting_children`: those from before the launch.
pub fn end_all(known: &[Option<&Child>], preexisting_children: &[i32]) {
    for child in known.iter().flatten() {
        let _ = child.signal(libc::SIGKILL);
        let _ = child.wait();
    }
    loop {
        // A kernel that does not list children (CONFIG_PROC_CHILDREN) leaves it at the known ones.
        let mut left = process::children().unwrap_or_default();
        left.retain(|child| !preexisting_children.contains(child));
        if left.is_empty() {
            return;
        }
        for child in left {
            let _ = process::signal_child(child, libc::SIGKILL);
            let _ = process::reap(child);
        }
    }
}
