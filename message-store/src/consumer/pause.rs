//! Growing pauses between attempts.

use std::time::Duration;

use tokio::time::sleep;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one call that is tried again.
pub(super) struct Pause {
    next: Duration,
    left: u32,
}

impl Pause {
    pub(super) fn new(retries: u32) -> Self {
        Self { next: FIRST, left: retries }
    }

    /// Waits, unless all attempts are used up. Whether to try again.
    pub(super) async fn again(&mut self, error: &impl std::fmt::Display) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tracing::warn!(%error, pause = ?self.next, "trying again");
        sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST);
        true
    }
}
