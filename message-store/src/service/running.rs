//! What a service runs: consumers, and updaters of read models.

use std::time::Duration;

use crate::Result;
use crate::consumer::{ConsumerHandle, UpdaterHandle};

/// One of the things that a service runs.
#[derive(Debug)]
pub(super) enum Running {
    Consumer(ConsumerHandle),
    Updater(UpdaterHandle),
}

impl Running {
    /// Waits until it ends.
    pub(super) async fn ended(&mut self) -> Result<()> {
        match self {
            Self::Consumer(consumer) => consumer.ended().await,
            Self::Updater(updater) => updater.ended().await,
        }
    }

    pub(super) async fn stop_within(self, time: Duration) -> Result<()> {
        match self {
            Self::Consumer(consumer) => consumer.stop_within(time).await.map(drop),
            Self::Updater(updater) => updater.stop_within(time).await,
        }
    }
}
