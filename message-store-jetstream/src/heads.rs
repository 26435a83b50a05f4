//! The heads of streams: where each stream ends, as far as this process knows.
//!
//! Problem: an append needs the position and the sequence number of the last message of its stream, and to ask for them
//! costs a call. Fix: a bounded cache. Why it is right: the append names the head that it used, so the server refuses an
//! append with an old one; then the head is read.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use message_store::{Position, Result, StreamName, Version};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::log::Log;

/// The streams whose heads are remembered.
const REMEMBERED: usize = 100_000;
/// The appends to one stream take turns. Streams share this many locks.
const TURNS: usize = 256;

/// The last message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: Version,
    /// Its sequence number in the log. 0 if the stream has no message.
    pub(crate) sequence: u64,
}

impl Head {
    const NONE: Self = Self { version: Version::NO_STREAM, sequence: 0 };

    pub(crate) fn at(position: Position, sequence: u64) -> Self {
        Self { version: Version::at(position), sequence }
    }
}

/// The heads of the streams of one store.
#[derive(Debug)]
pub(crate) struct Heads {
    known: Cache<StreamName, Head>,
    turns: Vec<Arc<Mutex<()>>>,
}

impl Default for Heads {
    fn default() -> Self {
        let turns = std::iter::repeat_with(Arc::default).take(TURNS).collect();
        Self { known: Cache::new(REMEMBERED), turns }
    }
}

impl Heads {
    /// Waits until no other append of this process to these streams is under way, which would make both conflict.
    pub(crate) async fn turn(&self, streams: impl IntoIterator<Item = &StreamName>) -> Vec<OwnedMutexGuard<()>> {
        let numbers: BTreeSet<usize> = streams.into_iter().map(number).collect();
        let mut turns = Vec::new();
        // In the order of their numbers, so that two appends do not wait for each other.
        for number in numbers {
            turns.push(Arc::clone(&self.turns[number]).lock_owned().await);
        }
        turns
    }

    /// The head of a stream, as far as it is known.
    pub(crate) fn known(&self, stream: &StreamName) -> Option<Head> {
        self.known.get(stream)
    }

    /// The head of a stream, from the log.
    pub(crate) async fn read(&self, log: &Log, stream: &StreamName) -> Result<Head> {
        let head = match log.last(&log.subjects.stream(stream)).await? {
            Some(last) => Head::at(last.position()?, last.sequence),
            None => Head::NONE,
        };
        self.remember(stream, head);
        Ok(head)
    }

    /// Remembers a head, unless a later one is known.
    pub(crate) fn remember(&self, stream: &StreamName, head: Head) {
        if self.known.get(stream).is_none_or(|known| known.sequence <= head.sequence) {
            self.known.insert(stream.clone(), head);
        }
    }

    /// Forgets a head that was wrong.
    pub(crate) fn forget(&self, stream: &StreamName) {
        self.known.remove(stream);
    }

    /// Forgets all heads.
    pub(crate) fn clear(&self) {
        self.known.clear();
    }
}

fn number(stream: &StreamName) -> usize {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default()
}
