//! Kills and reaps the processes of a launch.

use crate::sys::process::{self, Child};

/// Kills and reaps every child of this process, and each process that becomes one when its parent ends.
pub fn end_children() {
    end_all(&[], &[]);
}

/// Kills and reaps the children of this process but `older`, as [`end_children`].
pub fn end_children_but(older: &[i32]) {
    end_all(&[], older);
}

/// Kills and reaps all processes of a launch: first `known`, then the children of this process. Includes each process
/// that becomes a child when its parent ends. Leaves out `preexisting_children`, which are older than the launch.
pub fn end_all(known: &[Option<&Child>], preexisting_children: &[i32]) {
    for child in known.iter().flatten() {
        let _ = child.signal(libc::SIGKILL);
        let _ = child.wait();
    }
    loop {
        // A kernel without CONFIG_PROC_CHILDREN lists no children: there only the known processes are killed.
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
