//! Pauses of writers that write to one stream at once.
//!
//! Problem: of several writers that decide on one version of a stream, one writes; the others decide again, and meet again. Fix: each waits a random
//! time, of a span that grows with every loss. Why it ends: each loss is another's write, so the stream makes progress, and the longer one has
//! waited, the fewer others come at the same moment. Only a stream that stands still while it refuses ends the attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::Version;

/// The span of the first pause; each further one is twice as long.
const FIRST_SPAN: Duration = Duration::from_millis(1);
/// The longest span.
const LONGEST_SPAN: Duration = Duration::from_millis(500);
/// Failures in a row without progress of the stream that end the attempts.
const STANDSTILL: u32 = 10;

#[derive(Debug)]
pub(crate) struct Contention {
    span: Duration,
    /// The version that the last failed attempt was made on, and how many in a row were made on it.
    stood_at: Option<Version>,
    stood_still: u32,
    losses: u32,
}

impl Contention {
    pub(crate) fn new() -> Self {
        Self { span: FIRST_SPAN, stood_at: None, stood_still: 0, losses: 0 }
    }

    /// An attempt has failed, and it was not the tenth.
    pub(super) fn is_below_ten(&mut self) -> bool {
        self.losses += 1;
        self.losses < 10
    }

    /// What was attempted is not what was attempted before.
    pub(crate) fn progressed(&mut self) {
        self.stood_at = None;
    }

    /// An attempt on this version has failed. Whether there is reason for another one; then it has waited.
    pub(crate) async fn again(&mut self, version: Version) -> bool {
        self.stood_still = if self.stood_at == Some(version) { self.stood_still + 1 } else { 0 };
        self.stood_at = Some(version);
        if self.stood_still >= STANDSTILL {
            return false;
        }
        self.losses += 1;
        // The first loss is chance: most that meet once do not meet again.
        if self.losses > 1 {
            tokio::time::sleep(random_part(self.span)).await;
            self.span = (self.span * 2).min(LONGEST_SPAN);
        }
        true
    }
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
        let mut contention = Contention::new();
        for position in 0..1_000 {
            assert!(contention.again(Version::at(Position::new(position))).await);
        }
        let mut attempts = 0;
        while contention.again(Version::NO_STREAM).await {
            attempts += 1;
        }
        assert_eq!(attempts, STANDSTILL);
    }
}
