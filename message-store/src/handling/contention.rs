//! Pauses of writers that write to one stream at once.
//!
//! Problem: of several writers that decide on one version of a stream, one writes; the others decide again, and meet
//! again. Fix: each waits a random time, of a span that grows with every loss. Why it ends: each loss is another's
//! write, so the stream makes progress, and the longer one has waited, the fewer others come at the same moment. Only a
//! stream that stands still while it refuses ends the attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::Version;

/// The span of the first pause; each further one is twice as long.
const FIRST_SPAN: Duration = Duration::from_millis(1);
/// The longest span.
const LONGEST_SPAN: Duration = Duration::from_millis(500);
/// Failures in a row without progress of the stream that end the attempts.
const STANDSTILL: u32 = 10;

#[derive(Debug, Default)]
pub(crate) struct Contention {
    /// The version that the last failed attempt was made on, and how many in a row were made on it.
    stood_at: Option<Version>,
    stood_still: u32,
    pub(crate) losses: u32,
}

impl Contention {
    /// What was attempted is not what was attempted before.
    pub(crate) fn progressed(&mut self) {
        self.stood_at = None;
    }

    /// An attempt on this version has failed: the pause before another one, if there is reason for one.
    pub(crate) fn pause(&mut self, version: Version) -> Option<Duration> {
        self.stood_still = if self.stood_at == Some(version) { self.stood_still + 1 } else { 0 };
        self.stood_at = Some(version);
        if self.stood_still >= STANDSTILL {
            return None;
        }
        self.losses += 1;
        // The first loss is chance: most that meet once do not meet again.
        let Some(doublings) = self.losses.checked_sub(2) else { return Some(Duration::ZERO) };
        Some(random_part(FIRST_SPAN.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_SPAN)))
    }
}

/// Waits for the pause before another attempt. Whether there is to be one.
pub(crate) async fn wait(pause: Option<Duration>) -> bool {
    let Some(pause) = pause else { return false };
    // (To sleep for no time takes a millisecond.)
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    true
}

/// Anything from nothing to the whole span.
fn random_part(span: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1_000;
    span * u32::try_from(random).unwrap_or_default() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[tokio::test(start_paused = true)]
    async fn losses_go_on_as_long_as_the_stream_makes_progress_and_end_when_it_stands_still() {
        let mut contention = Contention::default();
        for position in 0..1_000 {
            assert!(wait(contention.pause(Version::at(Position::new(position)))).await);
        }
        let mut attempts = 0;
        while wait(contention.pause(Version::NO_STREAM)).await {
            attempts += 1;
        }
        assert_eq!(attempts, STANDSTILL);
    }
}
