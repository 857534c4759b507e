//! Notices to the kernel: pages to write back, names to look up again.
//!
//! The kernel takes a notice only after the answers to its own requests, such as pages to write back, or an operation
//! on a name's folder. A serving thread must therefore never send such a notice. Each kind of notice has a thread of
//! its own, which starts with the first. The kinds share no thread: a name may wait for the folder's lock, and the
//! lock's owner for a file whose pages are written back.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

/// Sender of notices to the kernel.
#[derive(Default)]
pub struct Notices {
    notifier: OnceLock<Notifier>,
    write_backs: Worker,
    renewals: Worker,
}

impl Notices {
    /// Sets the session that notices go to.
    pub fn connect(&self, notifier: Notifier) {
        let _ = self.notifier.set(notifier);
    }

    /// Makes the kernel write back all pages of a file that are newer than the disk, then calls `next`.
    pub fn write_back(&self, id: u64, next: impl FnOnce() + Send + 'static) {
        let notifier = self.notifier.get().cloned();
        self.write_backs.start(move || {
            // Dropping a dirty page writes it back first (`launder_folio`).
            let _ = notifier.map(|notifier| notifier.inval_inode(INodeNo(id), 0, 0));
            next();
        });
    }

    /// Makes the kernel fetch again the attributes of a file that a process is about to open. This notice waits for
    /// nothing.
    pub fn forget_attributes(&self, id: u64) {
        // A negative offset leaves the pages alone (`fuse_reverse_inval_inode`).
        let _ = self.notifier.get().map(|notifier| notifier.inval_inode(INodeNo(id), -1, 0));
    }

    /// Makes the kernel look up a file's names again, each in its folder. The kernel forgets the file's size when the
    /// last process has closed the file.
    pub fn forget_names(&self, names: Vec<(u64, OsString)>) {
        let Some(notifier) = self.notifier.get().cloned() else { return };
        self.renewals.start(move || {
            for (folder, name) in names {
                let _ = notifier.inval_entry(INodeNo(folder), &name);
            }
        });
    }
}

type Notice = Box<dyn FnOnce() + Send>;

/// Thread that does one job after the other.
#[derive(Default)]
struct Worker(Mutex<Option<Sender<Notice>>>);

impl Worker {
    /// Queues a job for the thread. Without a thread the job is dropped, which answers a request in it with EIO.
    fn start(&self, job: impl FnOnce() + Send + 'static) {
        let mut sender = self.0.lock();
        let sender = sender.get_or_insert_with(|| {
            let (sender, jobs) = channel::<Notice>();
            let thread = std::thread::Builder::new().name("notices".into());
            let _ = thread.spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        });
        let _ = sender.send(Box::new(job));
    }
}
