//! The limits and intervals of a consumer: batch size, concurrency, polls and saves.

use std::time::Duration;

use tokio::time::Instant;

use crate::DEFAULT_BATCH;
use crate::consumer::PlantedBug;
use crate::planted::Planted;
use crate::store::WhenToCheckpoint;

/// [`Consumer`](crate::consumer::Consumer) describes each setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) concurrency: usize,
    pub(super) batch: usize,
    pub(super) poll_interval: Duration,
    pub(super) save_after: (u64, Duration),
    /// The time that the handler may take for one attempt.
    pub(super) time_limit: Option<Duration>,
    /// When the letters that are open are recorded.
    pub(super) checkpoints: WhenToCheckpoint,
    pub(super) planted: Planted<PlantedBug>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 1,
            batch: DEFAULT_BATCH,
            poll_interval: Duration::from_millis(100),
            save_after: (1_000, Duration::from_secs(1)),
            time_limit: None,
            checkpoints: WhenToCheckpoint::default(),
            planted: Planted::NONE,
        }
    }
}

/// The end of an interval that begins now. If the clock cannot represent it, the interval is a year.
pub(super) fn after(interval: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(interval).unwrap_or(now + Duration::from_hours(24 * 365))
}
