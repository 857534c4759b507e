//! Notices to the kernel: pages that it is to write back, names that it is to look up anew.
//!
//! The kernel takes a notice only after requests of its own were answered (the pages that are written back, an operation
//! on the folder of a name). A thread that serves must therefore never send one of these; each kind has a thread of its
//! own, which starts with the first. They do not share one: a name may wait for the folder's lock, and its owner for a
//! file whose pages are written back.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

/// Sends notices to the kernel.
#[derive(Default)]
pub struct Notices {
    notifier: OnceLock<Notifier>,
    write_backs: Worker,
    renewals: Worker,
}

impl Notices {
    /// Notices go to the session of this notifier from here on.
    pub fn connect(&self, notifier: Notifier) {
        let _ = self.notifier.set(notifier);
    }

    /// Lets the kernel write back all pages of a file that are newer than what is on disk, then calls `next`.
    pub fn write_back(&self, id: u64, next: impl FnOnce() + Send + 'static) {
        let notifier = self.notifier.get().cloned();
        self.write_backs.start(move || {
            // To drop a page that is dirty is to write it back first (`launder_folio`).
            let _ = notifier.map(|notifier| notifier.inval_inode(INodeNo(id), 0, 0));
            next();
        });
    }

    /// Lets the kernel ask again for the attributes of a file that some process is about to open: it waits for nothing.
    pub fn forget_attributes(&self, id: u64) {
        // A negative offset leaves the pages alone (`fuse_reverse_inval_inode`).
        let _ = self.notifier.get().map(|notifier| notifier.inval_inode(INodeNo(id), -1, 0));
    }

    /// Lets the kernel look up anew the names of a file, each in a folder. What it knows of the file's size it forgets
    /// when the last process has closed the file.
    pub fn forget_names(&self, names: Vec<(u64, OsString)>) {
        let Some(notifier) = self.notifier.get().cloned() else { return };
        self.renewals.start(move || {
            for (folder, name) in names {
                let _ = notifier.inval_entry(INodeNo(folder), &name);
            }
        });
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other.
#[derive(Default)]
struct Worker(Mutex<Option<Sender<Job>>>);

impl Worker {
    /// Leaves a job to the thread. One that cannot be left is dropped, and a request in it answered with EIO by that.
    fn start(&self, job: impl FnOnce() + Send + 'static) {
        let mut sender = self.0.lock();
        let sender = sender.get_or_insert_with(|| {
            let (sender, jobs) = channel::<Job>();
            let thread = std::thread::Builder::new().name("notices".into());
            let _ = thread.spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        });
        let _ = sender.send(Box::new(job));
    }
}
