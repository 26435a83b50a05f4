//! How much a consumer takes at a time, and how often it looks, saves and tries again.

use std::time::Duration;

use tokio::time::Instant;

use crate::DEFAULT_BATCH;
use crate::consumer::PlantedBug;

/// How much, how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) concurrency: usize,
    pub(super) batch: usize,
    pub(super) poll_interval: Duration,
    pub(super) save_after: (u64, Duration),
    pub(super) retries: u32,
    pub(super) planted: Option<PlantedBug>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 1,
            batch: DEFAULT_BATCH,
            poll_interval: Duration::from_millis(100),
            save_after: (1_000, Duration::from_secs(1)),
            retries: 5,
            planted: None,
        }
    }
}

/// An interval that is longer than the clock can say never ends in practice.
pub(super) fn after(interval: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(interval).unwrap_or(now + Duration::from_hours(24 * 365))
}
