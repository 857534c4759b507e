//! Bounded cache of values that are expensive to load: least recently used first out, in shards. A missing value is
//! loaded by a single thread, without any lock; the others that want it wait for that thread.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::io::Errno;

/// Value of a cache, with its weight.
pub trait Weighed: Clone {
    /// Share of the cache's limit.
    fn weight(&self) -> u64;
}

/// Cache of values by key.
pub struct BlockCache<K, V> {
    shards: Box<[CacheShard<K, V>]>,
    hasher: RandomState,
}

type CacheShard<K, V> = Mutex<ShardState<K, V>>;

struct ShardState<K, V> {
    slots: HashMap<K, CacheSlot<V>>,
    /// Keys of ready values by the time of their last use.
    order: BTreeMap<u64, K>,
    /// Time, counted in uses.
    clock: u64,
    weight: u64,
    limit: u64,
}

enum CacheSlot<V> {
    Ready { value: V, used: u64 },
    Loading(Arc<Flight<V>>),
}

/// Load in progress.
struct Flight<V> {
    outcome: Mutex<Option<Result<V, Errno>>>,
    landed: Condvar,
}

impl<K: Copy + Eq + Hash, V: Weighed> BlockCache<K, V> {
    /// Makes a cache that holds values up to the weight of `limit`, in at least one shard.
    pub fn new(limit: u64, shards: usize) -> Self {
        let shards = shards.max(1);
        let shard = |_| {
            Mutex::new(ShardState {
                slots: HashMap::new(),
                order: BTreeMap::new(),
                clock: 0,
                weight: 0,
                limit: limit / shards as u64,
            })
        };
        Self { shards: (0..shards).map(shard).collect(), hasher: RandomState::new() }
    }

    /// Returns the value of `key`. A missing one is loaded, or awaited where another thread loads it. An error goes to
    /// all that waited, and is not kept.
    pub fn get_or_load(&self, key: K, load: impl FnOnce() -> Result<V, Errno>) -> Result<V, Errno> {
        let shard = self.shard(&key)?;
        let mut state = shard.lock();
        if let Some(value) = state.touch(&key) {
            return Ok(value);
        }
        if let Some(CacheSlot::Loading(flight)) = state.slots.get(&key) {
            let flight = Arc::clone(flight);
            drop(state);
            return flight.wait();
        }
        Takeoff::begin(shard, state, key).land(load)
    }

    /// Loads a value that is neither in the cache nor being loaded. Returns true for a loaded value.
    pub fn load_missing(&self, key: K, load: impl FnOnce() -> Result<V, Errno>) -> bool {
        let Ok(shard) = self.shard(&key) else { return false };
        let state = shard.lock();
        if state.slots.contains_key(&key) {
            return false;
        }
        Takeoff::begin(shard, state, key).land(load).is_ok()
    }

    /// True if the value is in the cache or being loaded.
    pub fn contains(&self, key: &K) -> bool {
        self.shard(key).is_ok_and(|shard| shard.lock().slots.contains_key(key))
    }

    /// Returns the value of `key`, if it is in the cache.
    pub fn get(&self, key: &K) -> Option<V> {
        self.shard(key).ok()?.lock().touch(key)
    }

    /// Puts a value into the cache, unless there is one.
    pub fn insert(&self, key: K, value: V) {
        self.load_missing(key, || Ok(value));
    }

    fn shard(&self, key: &K) -> Result<&CacheShard<K, V>, Errno> {
        let at = match self.shards.len() {
            1 => 0,
            count => self.hasher.hash_one(key) as usize % count,
        };
        self.shards.get(at).ok_or(Errno::IO)
    }
}

impl<K: Copy + Eq + Hash, V: Weighed> ShardState<K, V> {
    /// Returns a ready value and makes it the last to go.
    fn touch(&mut self, key: &K) -> Option<V> {
        let CacheSlot::Ready { value, used } = self.slots.get_mut(key)? else { return None };
        if *used != self.clock {
            self.clock += 1;
            self.order.remove(used);
            self.order.insert(self.clock, *key);
            *used = self.clock;
        }
        Some(value.clone())
    }

    fn insert(&mut self, key: K, value: V) {
        self.clock += 1;
        self.weight += value.weight();
        self.order.insert(self.clock, key);
        self.slots.insert(key, CacheSlot::Ready { value, used: self.clock });
        while self.weight > self.limit
            && let Some((_, key)) = self.order.pop_first()
        {
            if let Some(CacheSlot::Ready { value, .. }) = self.slots.remove(&key) {
                self.weight -= value.weight();
            }
        }
    }
}

impl<V: Clone> Flight<V> {
    fn wait(&self) -> Result<V, Errno> {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.landed.wait(&mut outcome);
        }
    }
}

/// A load by this thread. Ends with an error for those that wait if the loader panics.
struct Takeoff<'a, K: Copy + Eq + Hash, V: Weighed> {
    shard: &'a CacheShard<K, V>,
    key: K,
    flight: Arc<Flight<V>>,
    outcome: Result<V, Errno>,
}

impl<'a, K: Copy + Eq + Hash, V: Weighed> Takeoff<'a, K, V> {
    /// Announces the load. Takes the lock under which the value was missing.
    fn begin(
        shard: &'a CacheShard<K, V>,
        mut state: MutexGuard<'_, ShardState<K, V>>,
        key: K,
    ) -> Self {
        let flight = Arc::new(Flight { outcome: Mutex::new(None), landed: Condvar::new() });
        state.slots.insert(key, CacheSlot::Loading(Arc::clone(&flight)));
        Self { shard, key, flight, outcome: Err(Errno::IO) }
    }

    fn land(mut self, load: impl FnOnce() -> Result<V, Errno>) -> Result<V, Errno> {
        self.outcome = load();
        self.outcome.clone()
    }
}

impl<K: Copy + Eq + Hash, V: Weighed> Drop for Takeoff<'_, K, V> {
    fn drop(&mut self) {
        let mut state = self.shard.lock();
        state.slots.remove(&self.key);
        if let Ok(value) = &self.outcome {
            state.insert(self.key, value.clone());
        }
        drop(state);
        *self.flight.outcome.lock() = Some(self.outcome.clone());
        self.flight.landed.notify_all();
    }
}
