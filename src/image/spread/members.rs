//! Ranks as rank 0 sees them.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// State of a rank that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Fetches the image.
    Working,
    /// Has the image.
    Done,
    /// Ended by an error.
    Failed(String),
    /// Ended without a word.
    Gone,
}

/// States of the ranks other than 0.
#[derive(Debug)]
pub struct Members {
    ranks: u32,
    states: Mutex<BTreeMap<u32, MemberState>>,
    changed: Condvar,
}

impl Members {
    /// Starts without any rank, of a job with `ranks` of them.
    pub fn new(ranks: u32) -> Self {
        Self { ranks, states: Mutex::default(), changed: Condvar::new() }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<u32, MemberState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rank. False: no such rank, or it has come before.
    pub fn join(&self, rank: u32) -> bool {
        let mut states = self.states();
        let is_new = rank > 0 && rank < self.ranks && !states.contains_key(&rank);
        if is_new {
            states.insert(rank, MemberState::Working);
        }
        self.changed.notify_all();
        is_new
    }

    /// Sets the state of a rank that works.
    pub fn set(&self, rank: u32, state: MemberState) {
        if let Some(known) = self.states().get_mut(&rank)
            && *known == MemberState::Working
        {
            *known = state;
        }
        self.changed.notify_all();
    }

    /// Waits until no rank works and all have come, or until `arrival` has passed and no rank works. Returns the ranks
    /// that never came.
    pub fn wait(&self, arrival: Instant) -> Vec<u32> {
        let mut states = self.states();
        loop {
            let works = states.values().any(|state| *state == MemberState::Working);
            let is_complete = states.len() as u64 + 1 >= u64::from(self.ranks);
            let now = Instant::now();
            if !works && (is_complete || now >= arrival) {
                return (1..self.ranks).filter(|rank| !states.contains_key(rank)).collect();
            }
            // The time matters only as long as a rank is missing.
            let left = arrival.saturating_duration_since(now).max(Duration::from_millis(100));
            let wait = if is_complete { Duration::from_secs(3600) } else { left };
            let waited = self.changed.wait_timeout(states, wait);
            states = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ranks that came and do not have the image, with the reason.
    pub fn failures(&self) -> Vec<(u32, String)> {
        let states = self.states();
        let reasons = states.iter().filter_map(|(rank, state)| match state {
            MemberState::Failed(text) => Some((*rank, text.clone())),
            MemberState::Gone => Some((*rank, "it ended without a word".to_owned())),
            MemberState::Working | MemberState::Done => None,
        });
        reasons.collect()
    }
}
