//! Read-ahead: threads that inflate the blocks which a sequential reader needs next, and the detection of such readers.
//!
//! The threads begin with the first request and end with the image. A reader never waits for a request that no thread
//! has taken: it loads the block itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::blocks::{BlockKey, DataBlocks};

/// Limit of requests that wait: more would be stale when their turn comes.
const MOST_WAITING: usize = 16;

/// Limit of blocks that are requested before their reader comes.
const MOST_AHEAD: u64 = 4;

/// Distance up to which a step forward is sequential: the kernel's requests may overtake each other.
const STEP: u64 = 2;

/// Name of the threads. A panic there costs a block and the thread: readers load the block themselves.
pub const AHEAD_THREAD: &str = "usnea-ahead";

/// Stack of a thread, in bytes.
const STACK: usize = 512 << 10;

/// Threads that load blocks. Dropping it ends all of them.
pub struct ReadAhead {
    shared: Arc<AheadShared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    most_threads: usize,
}

struct AheadShared {
    blocks: Arc<DataBlocks>,
    queue: Mutex<AheadQueue>,
    wake: Condvar,
}

#[derive(Default)]
struct AheadQueue {
    waiting: VecDeque<BlockKey>,
    idle_threads: usize,
    is_closed: bool,
}

impl ReadAhead {
    /// Prepares up to `most_threads` threads; none is started yet.
    pub fn new(blocks: Arc<DataBlocks>, most_threads: usize) -> Self {
        let shared = AheadShared { blocks, queue: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared), threads: Mutex::default(), most_threads }
    }

    /// Requests a block, unless it is known or too many wait. Does not block.
    pub fn request(&self, key: BlockKey) {
        if self.most_threads == 0 || key.word.is_hole() || self.shared.blocks.contains(&key) {
            return;
        }
        let mut queue = self.shared.queue.lock();
        if queue.waiting.len() >= MOST_WAITING || queue.waiting.contains(&key) {
            return;
        }
        queue.waiting.push_back(key);
        let needs_thread = queue.waiting.len() > queue.idle_threads;
        drop(queue);
        self.shared.wake.notify_one();
        if needs_thread {
            self.start_thread();
        }
    }

    /// Starts a thread, unless all run. Without threads, readers load all blocks themselves.
    fn start_thread(&self) {
        let mut threads = self.threads.lock();
        if threads.len() >= self.most_threads {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name(AHEAD_THREAD.to_owned()).stack_size(STACK);
        match builder.spawn(move || shared.serve()) {
            Ok(thread) => threads.push(thread),
            Err(error) => log::debug!("no thread for reading ahead: {error}"),
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.wake.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // A panic of the thread has been reported by it.
            let _ = thread.join();
        }
    }
}

impl AheadShared {
    fn serve(&self) {
        while let Some(key) = self.next() {
            self.blocks.fetch(key);
        }
    }

    /// Waits for a request; `None` at the end.
    fn next(&self) -> Option<BlockKey> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(key) = queue.waiting.pop_front() {
                return Some(key);
            }
            queue.idle_threads += 1;
            self.wake.wait(&mut queue);
            queue.idle_threads -= 1;
        }
    }
}

/// Positions of the latest readers of one sequence of blocks.
#[derive(Default)]
pub struct Readers(Mutex<RecentReaders>);

#[derive(Default)]
struct RecentReaders {
    readers: [RecentReader; 4],
    oldest: usize,
}

#[derive(Clone, Copy, Default)]
struct RecentReader {
    /// Block that was read last, and one: 0 for no reader. A new reader that begins with block 0 is sequential.
    passed: u64,
    /// Blocks to request ahead.
    ahead: u64,
}

impl Readers {
    /// Notes that a block is read. Returns the count of blocks behind it to request: 0 for readers at random.
    pub fn note(&self, block: u64) -> u64 {
        let mut recent = self.0.lock();
        for reader in &mut recent.readers {
            let (last, next) = (block + 1, reader.passed);
            if next == 0 || next > last + STEP || next + STEP < last {
                continue;
            }
            // The same block again, or one that was overtaken.
            if next >= last {
                return 0;
            }
            *reader = RecentReader { passed: block + 1, ahead: (reader.ahead + 1).min(MOST_AHEAD) };
            return reader.ahead;
        }
        let oldest = recent.oldest;
        recent.oldest = (oldest + 1) % recent.readers.len();
        let reader = RecentReader { passed: block + 1, ahead: u64::from(block == 0) };
        if let Some(slot) = recent.readers.get_mut(oldest) {
            *slot = reader;
        }
        reader.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_reader_is_told_from_one_at_random() {
        let readers = Readers::default();
        let ahead = [0, 1, 2, 3, 4, 4, 5, 7].map(|block| readers.note(block));
        assert_eq!(ahead, [1, 2, 3, 4, 4, 0, 4, 4], "the step of two is the kernel's");
        let readers = Readers::default();
        assert_eq!([90, 17, 55, 3, 71].map(|block| readers.note(block)), [0; 5]);
    }

    #[test]
    fn two_readers_of_one_file_do_not_disturb_each_other() {
        let readers = Readers::default();
        let ahead = [0, 50, 1, 51, 2, 52].map(|block| readers.note(block));
        assert_eq!(ahead, [1, 0, 2, 1, 3, 2]);
    }
}
