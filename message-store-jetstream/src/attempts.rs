//! Attempts: a call that failed is made again after a pause, for a limited time.

use std::time::Duration;

use message_store::Result;
use tokio::time::Instant;

use crate::failure::Failure;

/// The time after which a call fails. In it, a log that has lost its leader elects another one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The attempts of a call that changes nothing: it is made again while its failure passes, for a limited time.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    context: &'a str,
    deadline: Instant,
    pauses: Pauses,
}

impl<'a> Attempts<'a> {
    pub(crate) fn of(context: &'a str) -> Self {
        Self { context, deadline: Instant::now() + PATIENCE, pauses: Pauses::default() }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The failure, if the call is not made again.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<()> {
        if !failure.is_passing() || Instant::now() >= self.deadline {
            return Err(failure.into_error(self.context));
        }
        tracing::debug!(target: "message_store::jetstream", %failure, context = self.context, "the call is made again");
        self.pauses.next().await;
        Ok(())
    }
}

/// Makes a call until it has a result.
macro_rules! attempts {
    ($context:expr, $call:expr) => {{
        let mut attempts = $crate::attempts::Attempts::of($context);
        loop {
            match $call.await {
                Ok(result) => break result,
                Err(failure) => attempts.after(failure).await?,
            }
        }
    }};
}
pub(crate) use attempts;

/// Growing pauses between attempts.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::at_most(Duration::from_millis(500))
    }
}

impl Pauses {
    pub(crate) fn at_most(longest: Duration) -> Self {
        Self { next: Duration::from_millis(1), longest }
    }

    pub(crate) async fn next(&mut self) {
        // Up to twice as long, so that two writers do not meet again.
        let part = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        tokio::time::sleep(self.next.mul_f64(1.0 + part)).await;
        self.next = (self.next * 2).min(self.longest);
    }
}
