//! The cache: bounds, order, and a single load for each block.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

use rustix::io::Errno;

use super::super::cache::{BlockCache, Weighed};

#[derive(Clone, Debug, PartialEq)]
struct Heavy(u64);

impl Weighed for Heavy {
    fn weight(&self) -> u64 {
        self.0
    }
}

#[test]
fn the_least_recently_used_value_goes_first_and_the_limit_holds() {
    let cache = BlockCache::new(100, 1);
    for key in 0..4 {
        cache.get_or_load(key, || Ok(Heavy(25))).unwrap();
    }
    assert_eq!(cache.get(&0), Some(Heavy(25)));
    cache.insert(4, Heavy(25));
    assert_eq!([0, 1, 2, 3, 4].map(|key| cache.contains(&key)), [true, false, true, true, true]);
    cache.insert(5, Heavy(60));
    assert_eq!([0, 2, 3, 4, 5].map(|key| cache.contains(&key)), [false, false, false, true, true]);
    // A value beyond the limit reaches its reader, and is not kept.
    assert_eq!(cache.get_or_load(6, || Ok(Heavy(1000))), Ok(Heavy(1000)));
    assert!(!cache.contains(&6));
    cache.insert(7, Heavy(100));
    assert!(cache.contains(&7));
}

#[test]
fn all_that_want_a_value_at_once_get_that_of_a_single_load() {
    const READERS: usize = 8;
    let cache = BlockCache::new(1000, 4);
    let (loads, start) = (AtomicUsize::new(0), Barrier::new(READERS));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                start.wait();
                for key in 0..100 {
                    let value = cache.get_or_load(key % 50, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        Ok(Heavy(1))
                    });
                    assert_eq!(value, Ok(Heavy(1)));
                }
            });
        }
    });
    assert_eq!(loads.into_inner(), 50, "keys");
}

/// The load ends after the waiting reader has begun to wait, or at the latest after it was about to.
#[test]
fn a_reader_that_comes_during_a_load_does_not_load() {
    let cache = BlockCache::new(100, 1);
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let may_end = may_end;
            cache.get_or_load(1, || {
                begun.send(()).unwrap();
                may_end.recv().unwrap();
                Ok(Heavy(7))
            })
        });
        has_begun.recv().unwrap();
        assert!(cache.contains(&1));
        assert!(!cache.load_missing(1, || panic!("loaded twice")), "read-ahead does not wait");
        let reader = scope.spawn(|| cache.get_or_load(1, || panic!("loaded twice")));
        // Other values are loaded meanwhile: no lock is held.
        assert_eq!(cache.get_or_load(2, || Ok(Heavy(2))), Ok(Heavy(2)));
        end.send(()).unwrap();
        assert_eq!(reader.join().unwrap(), Ok(Heavy(7)));
    });
}

#[test]
fn an_error_reaches_its_readers_and_is_not_kept() {
    let cache = BlockCache::new(100, 1);
    assert_eq!(cache.get_or_load(1, || Err(Errno::IO)), Err::<Heavy, _>(Errno::IO));
    assert!(!cache.contains(&1));
    assert_eq!(cache.get_or_load(1, || Ok(Heavy(1))), Ok(Heavy(1)));
}

#[test]
fn a_loader_that_panics_leaves_no_reader_behind() {
    let cache = BlockCache::<u64, Heavy>::new(100, 1);
    let load = || cache.get_or_load(1, || panic!("on purpose"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).is_err());
    assert_eq!(cache.get_or_load(1, || Ok(Heavy(1))), Ok(Heavy(1)));
}
