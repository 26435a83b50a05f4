//! Pauses between the attempts of writers that append to the same stream.
//!
//! Problem: several writers decide on the same version of a stream, and one of them writes. The others decide again,
//! and conflict again. Fix: each waits for a random time, and the limit of that time grows with every conflict. Why it
//! ends: another writer has appended for each conflict, so the stream makes progress. And with longer pauses, fewer
//! writers append at the same moment. The attempts end only when the store refuses them again and again while the
//! stream's version stays the same.

use std::time::Duration;

use crate::Version;
use crate::random::random_up_to;

/// The upper limit of the first random pause. The limit doubles with each further conflict.
const FIRST_LIMIT: Duration = Duration::from_millis(1);
/// The upper limit of every pause.
const HIGHEST_LIMIT: Duration = Duration::from_millis(500);
/// The number of failures in a row on one version of the stream that ends the attempts.
const MAX_FAILURES_ON_VERSION: u32 = 10;

#[derive(Debug, Default)]
pub(crate) struct Contention {
    /// The version on which the last failed attempt decided.
    failed_version: Option<Version>,
    /// The number of failures in a row on that version, after the first.
    failures_on_version: u32,
    /// The number of all failed attempts.
    pub(crate) losses: u32,
}

impl Contention {
    /// Starts the count of failures again, because the next attempt writes something else.
    pub(crate) fn progressed(&mut self) {
        self.failed_version = None;
    }

    /// Returns the pause before the next attempt, after an attempt that decided on `version` has failed. `None` means
    /// that there must be no further attempt.
    pub(crate) fn pause(&mut self, version: Version) -> Option<Duration> {
        self.failures_on_version = if self.failed_version == Some(version) { self.failures_on_version + 1 } else { 0 };
        self.failed_version = Some(version);
        if self.failures_on_version >= MAX_FAILURES_ON_VERSION {
            return None;
        }
        self.losses += 1;
        // The first conflict is often chance, and most such writers do not conflict again.
        let Some(doublings) = self.losses.checked_sub(2) else { return Some(Duration::ZERO) };
        Some(random_up_to(FIRST_LIMIT.saturating_mul(2_u32.saturating_pow(doublings)).min(HIGHEST_LIMIT)))
    }
}

/// Waits for the pause. Returns whether there is a next attempt.
pub(crate) async fn wait(pause: Option<Duration>) -> bool {
    let Some(pause) = pause else { return false };
    // Tokio's sleep takes at least a millisecond, even for a duration of zero.
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[tokio::test(start_paused = true)]
    async fn attempts_go_on_while_the_stream_makes_progress_and_end_when_it_makes_none() {
        let mut contention = Contention::default();
        for position in 0..1_000 {
            assert!(wait(contention.pause(Version::at(Position::new(position)))).await);
        }
        let mut attempts = 0;
        while wait(contention.pause(Version::NO_STREAM)).await {
            attempts += 1;
        }
        assert_eq!(attempts, MAX_FAILURES_ON_VERSION);
    }
}
