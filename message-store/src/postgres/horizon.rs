//! The age of the horizon: how long readers of all messages have waited for the same open transaction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::Gauge;
use crate::telemetry::metric::HORIZON_AGE;

/// The horizon as it was seen last, if a transaction holds it back, and since when.
#[derive(Debug)]
pub(super) struct Horizon {
    held_back: Mutex<Option<(i64, Instant)>>,
    age: Gauge,
}

impl Horizon {
    pub(super) fn new() -> Self {
        Self { held_back: Mutex::default(), age: Gauge::of(&HORIZON_AGE, &[]) }
    }

    /// Records a horizon that was read, and the last position that the store had given out then.
    pub(super) fn seen(&self, horizon: i64, given_out: i64) {
        if !crate::telemetry::is_on() {
            return;
        }
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        *held_back = match *held_back {
            _ if horizon >= given_out => None,
            Some((before, since)) if before == horizon => Some((before, since)),
            _ => Some((horizon, Instant::now())),
        };
        self.age.set_time(held_back.map_or(Duration::ZERO, |(_, since)| since.elapsed()));
    }
}
