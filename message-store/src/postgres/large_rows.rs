//! The places where rows are so large that a batch ends by its bytes.
//!
//! A message does not change after it was written, so a place that had large rows keeps them. Each reader that comes to
//! such a place closes one connection, and remembers the place at which its next batch begins. So readers of one
//! category at different places do not disturb each other. A place is remembered as a hash: if two places have the same
//! hash, or a place is forgotten, a read takes the slower statement or closes a connection, and returns the same rows.

use std::hash::{BuildHasher as _, Hash, RandomState};

use quick_cache::sync::Cache;

use super::PlantedBug;
use super::connection::Connection;
use crate::{Category, Filter, GlobalPosition, StreamName};

/// The number of places that are remembered.
const PLACES: usize = 10_000;

/// A place at which a read begins.
#[derive(Hash)]
pub(super) enum Place<'a> {
    OfStream {
        stream: &'a StreamName,
        backwards: bool,
        from: i64,
    },
    OfBatch {
        /// `None` for a read of all messages.
        category: Option<&'a Category>,
        filter: &'a Filter,
        from: GlobalPosition,
    },
}

/// Remembers the places with large rows.
#[derive(Debug)]
pub(super) struct LargeRows {
    places: Cache<u64, ()>,
    hasher: RandomState,
}

impl LargeRows {
    pub(super) fn new() -> Self {
        Self { places: Cache::new(PLACES), hasher: RandomState::new() }
    }

    /// Whether rows are known to be large from the place on.
    pub(super) fn begin_at(&self, connection: &Connection, place: &Place<'_>) -> bool {
        let is_known = self.places.get(&self.hasher.hash_one(place)).is_some();
        is_known && !connection.has(PlantedBug::LargeRowsForgotten) || connection.has(PlantedBug::LargeRowsEverywhere)
    }

    pub(super) fn record(&self, places: [Place<'_>; 2]) {
        for place in places {
            self.places.insert(self.hasher.hash_one(place), ());
        }
    }
}
