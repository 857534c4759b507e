//! Writer of squashfs 4.0: the merged tree of an image's layers as one file that is mounted without unpacking.
//!
//! ```text
//!  tree: walk, records of inodes and names ----------------------------------+
//!    \                                                                       |
//!     sender: pieces of files --workers: hash, compress--> content: places --+--> tables: inode, listing, metadata,
//!                                                                                  attributes
//!  trailer: the image's configuration, behind the file system
//!  archived: such a file as an image again, of one layer; layers of a SIF file as those of an image
//! ```
//!
//! One thread walks and reads, workers compress, one thread writes, all through bounded queues. Memory: some hundred
//! bytes for a file, and some blocks for a worker. The same layers give the same bytes, whatever the number of workers.
//!
//! Format: Documentation/filesystems/squashfs.rst, and the records of [`crate::layer::squashfs::format`]. Reads layers in
//! the base namespace, as [`super::diff`].

mod archived;
mod area;
mod attributes;
mod content;
mod inode;
mod listing;
mod metadata;
mod sender;
mod tables;
mod trailer;
mod tree;
mod workers;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Builder};

pub use archived::{ArchivedSquashfs, LayersInFile, TRANSPORT, is_squashfs, open};
pub use area::OutputFile;
pub use trailer::ImageTrailer;

use self::area::FileArea;
use self::content::{ContentWriter, Contents};
use self::sender::ContentSender;
use self::tree::{TreeRecords, TreeWalk};
use self::workers::{Buffers, LEVEL};
use crate::error::{Context, Result};
use crate::image::diff::{LayerSource, LayerTree};
use crate::image::owners::Owners;
use crate::layer::squashfs::format::{END_ALIGNMENT, MetadataHeader, Superblock};

/// Most workers: each needs about 3 MiB with the blocks that wait for it.
const MOST_JOBS: usize = 32;

/// Squashfs file to write.
pub struct NewSquashfs<'a> {
    /// Layers, the topmost first.
    pub layers: &'a [LayerSource],
    /// Form of the layers' owners.
    pub owners: &'a Owners,
    /// Time of the file system and of its root, in seconds since 1970.
    pub time: i64,
    /// The image's configuration.
    pub trailer: &'a ImageTrailer,
    /// Number of threads that compress.
    pub jobs: NonZeroUsize,
    /// Receiver of the number of bytes of files that were read so far.
    pub progress: &'a dyn Fn(u64),
}

impl NewSquashfs<'_> {
    /// Writes the file; returns its length. Errors: a file of the layers that is unreadable or changes meanwhile; the
    /// output; a number beyond those of squashfs.
    pub fn write(&self, output: OutputFile<'_>) -> Result<u64> {
        let trailer = self.trailer.to_bytes()?;
        let options = compressor_options();
        let mut area = FileArea::new(output, Superblock::SIZE as u64);
        area.write(&options)?;
        let (tree, contents, mut area) = self.write_contents(area)?;
        let superblock = tables::write(&mut area, tree, &contents, tree::seconds(self.time))?;
        area.align(END_ALIGNMENT)?;
        area.write(&trailer)?;
        area.align(END_ALIGNMENT)?;
        area.write_at(&superblock.to_bytes(), 0)?;
        area.end()
    }

    /// Writes the contents of all files. Returns the records of the tree, and the area behind the contents.
    fn write_contents<'o>(
        &self,
        area: FileArea<'o>,
    ) -> Result<(TreeRecords, Contents, FileArea<'o>)> {
        let layers = LayerTree::open(self.layers, self.owners)?;
        let jobs = self.jobs.get().min(MOST_JOBS);
        let buffers = Buffers::default();
        let (tasks, list) = workers::queue(jobs * 2);
        let (pieces, received) = sync_channel(16 + jobs * 4);
        let writer = ContentWriter::new(area, tasks.clone(), &buffers);
        let (buffers, progress) = (&buffers, self.progress);
        let walk =
            TreeWalk::new(layers, ContentSender { tasks, pieces, buffers, progress, done: 0 })?;
        let time = tree::seconds(self.time);
        // An error ends the owners of both queues, and so the other threads.
        thread::scope(|scope| {
            let cannot_start = || "cannot start a thread";
            for _ in 0..jobs {
                let worker = Builder::new().name("compress".into());
                worker.spawn_scoped(scope, || list.work(buffers)).context(cannot_start)?;
            }
            let thread = Builder::new().name("write".into());
            let thread = thread.spawn_scoped(scope, move || writer.run(&received));
            let thread = thread.context(cannot_start)?;
            let tree = walk.run(time);
            // The walk ends by itself if the writer does: the writer's error is the cause.
            let (contents, area) = thread.join().unwrap_or_else(|_| Err(workers::stopped()))?;
            Ok((tree?, contents, area))
        })
    }
}

/// Metadata block with the level of compression, which unsquashfs shows.
fn compressor_options() -> Vec<u8> {
    let level = LEVEL.to_le_bytes();
    let header = MetadataHeader::uncompressed(u16::try_from(level.len()).unwrap_or(0));
    [&header.0.to_le_bytes()[..], &level].concat()
}
