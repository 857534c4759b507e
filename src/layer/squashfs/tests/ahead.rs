//! Reading ahead, and the count of inflations.

use std::time::{Duration, Instant};

use super::*;

const BLOCK: usize = 1 << 20;

/// Image with a file of ten blocks of 1 MiB.
fn made() -> (MadeImage, Vec<u8>) {
    let source = tempfile::tempdir().unwrap();
    let content = text(10 * BLOCK);
    fs::write(source.path().join("file"), &content).unwrap();
    let options = ["-comp", "lz4", "-b", "1M"];
    (MadeImage::new(source.path(), &options), content)
}

fn open_file(image: &Arc<SquashfsImage>) -> SquashfsFile {
    root(image).open_file("file".as_ref()).unwrap()
}

#[test]
fn no_block_is_inflated_twice_for_two_readers() {
    let (made, content) = made();
    let image = made.open();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut buffer = vec![0; 128 << 10];
                for at in (0..content.len()).step_by(buffer.len()) {
                    // A file for each request, as a server without state has it.
                    let count = open_file(&image).read_at(&mut buffer, at as u64).unwrap();
                    assert!(buffer[..count] == content[at..][..count]);
                }
            });
        }
    });
    assert_eq!(image.loads().data, 10);
}

#[test]
fn the_next_blocks_of_a_sequential_reader_come_without_it() {
    let (made, _) = made();
    let image = made.open();
    let mut buffer = vec![0; 4096];
    for block in 0..3 {
        open_file(&image).read_at(&mut buffer, (block * BLOCK) as u64).unwrap();
    }
    // Blocks 3 to 5 are requested by the reader of block 2.
    let limit = Instant::now() + Duration::from_secs(60);
    let are_there = |loads: LoadCounts| loads.data == 6 && loads.ahead >= 3;
    while !are_there(image.loads()) && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(are_there(image.loads()), "{:?}", image.loads());
    let before = image.loads().data;
    open_file(&image).read_at(&mut buffer, (3 * BLOCK) as u64).unwrap();
    assert!(image.loads().data <= before + 4, "those ahead of block 3 alone");
}

#[test]
fn a_reader_at_random_costs_the_blocks_that_it_reads() {
    let (made, content) = made();
    let image = made.open();
    for block in [8, 2, 5] {
        let mut buffer = vec![0; 4096];
        let at = block * BLOCK + 1000;
        open_file(&image).read_at(&mut buffer, at as u64).unwrap();
        assert!(buffer[..] == content[at..][..4096]);
    }
    drop(open_file(&image));
    assert_eq!((image.loads().data, image.loads().ahead), (3, 0));
}

#[test]
fn without_threads_and_with_a_small_cache_all_is_read_the_same() {
    let (made, expected) = made();
    let limits = CacheLimits { data_bytes: 3 << 20, metadata_bytes: 8192, workers: 0 };
    let image = made.open_with(limits);
    let file = open_file(&image);
    assert!(content(&file) == expected);
    assert!(content_by_chunks(&file) == expected);
    assert_eq!(image.loads().ahead, 0);
    assert!(image.loads().data >= 20, "{:?}: the cache holds two blocks", image.loads());
}

#[test]
fn the_threads_end_with_the_image() {
    let (made, _) = made();
    let image = made.open();
    let weak = Arc::downgrade(&image);
    let file = open_file(&image);
    let mut buffer = vec![0; 4096];
    for block in 0..4 {
        file.read_at(&mut buffer, (block * BLOCK) as u64).unwrap();
    }
    drop((file, image));
    assert!(weak.upgrade().is_none(), "no thread holds the image");
}

/// The index of a block list: a file of thousands of blocks, read from the end, forwards and at random.
#[test]
fn blocks_far_behind_are_located_from_the_nearest_checkpoint() {
    let source = tempfile::tempdir().unwrap();
    let content = text(12 << 20);
    fs::write(source.path().join("file"), &content).unwrap();
    let made = MadeImage::new(source.path(), &["-comp", "lz4", "-b", "4096"]);
    let image = made.open();
    let mut buffer = vec![0; 5000];
    for at in [content.len() - 5000, 0, 4096 * 1023, 4096 * 512 - 1, 6 << 20, 5, 11 << 20] {
        assert_eq!(open_file(&image).read_at(&mut buffer, at as u64), Ok(5000));
        assert!(buffer[..] == content[at..][..5000], "{at}");
    }
    assert_eq!(open_file(&image).read_at(&mut buffer, content.len() as u64 - 1), Ok(1));
    assert_eq!(open_file(&image).read_at(&mut buffer, content.len() as u64), Ok(0));
    assert_eq!(open_file(&image).read_at(&mut buffer, u64::MAX), Ok(0));
    assert_eq!(open_file(&image).read_at(&mut [], 0), Ok(0));
}
