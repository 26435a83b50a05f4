//! The loop of an updater.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::UpdaterProgress;
use super::updater_metrics::UpdaterMetrics;
use crate::consumer::outages::Outages;
use crate::consumer::pace::after;
use crate::store::{Advanced, ReadModel, ReadModelVersion, ReadModels, Update, VersionState};
use crate::telemetry::is_on;
use crate::{Error, MessageStore, Result, Timestamp, WakeUp};

/// The time between two looks while another process updates the read model, or another version serves.
const STANDBY: Duration = Duration::from_secs(1);
/// After new messages, the next poll follows after the poll interval divided by this number. Each further pause is
/// twice as long, up to the poll interval.
const SOONER_BY: u32 = 16;
/// A sample of the metrics follows after this number of poll intervals, and after this many times as long as it took.
const POLLS: u32 = 100;
const REST: u32 = 20;

pub(super) struct UpdateLoop {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) model: Arc<dyn ReadModel>,
    pub(super) update: Update,
    /// One for each category.
    pub(super) wake_ups: Vec<WakeUp>,
    pub(super) poll_interval: Duration,
    pub(super) outages: Outages,
    pub(super) progress: watch::Sender<UpdaterProgress>,
    pub(super) metrics: UpdaterMetrics,
}

impl UpdateLoop {
    /// Runs until it is asked to stop, or a message cannot be applied.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut wake_ups = std::mem::take(&mut self.wake_ups);
        tokio::select! {
            ended = self.update_until_stopped(&mut wake_ups) => ended,
            () = self.sample() => Ok(()),
        }
    }

    async fn update_until_stopped(&self, wake_ups: &mut [WakeUp]) -> Result<()> {
        let mut is_first = true;
        let mut next_poll = self.poll_interval / SOONER_BY;
        while !self.outages.shutdown().is_requested() {
            match self.advance().await? {
                None => return Ok(()),
                Some(Advanced::Applied { state, position, serves_at, .. }) => {
                    (is_first, next_poll) = (true, self.poll_interval / SOONER_BY);
                    self.progress.send_replace(UpdaterProgress { state, position, end: serves_at });
                }
                Some(Advanced::Switched) => {
                    (is_first, next_poll) = (true, self.poll_interval / SOONER_BY);
                    self.look().await;
                }
                Some(Advanced::AtEnd) if is_first => {
                    self.wait_for_messages(wake_ups, next_poll).await;
                    next_poll = (next_poll * 2).min(self.poll_interval);
                }
                Some(advanced) => {
                    is_first &= advanced != Advanced::Overtaken;
                    self.look().await;
                    tokio::select! {
                        () = sleep(STANDBY.max(self.poll_interval)) => {}
                        () = self.outages.shutdown().requested() => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Applies a batch, and waits out outages. `None` if an outage has lasted until after a request to stop.
    async fn advance(&self) -> Result<Option<Advanced>> {
        let mut call = self.outages.call();
        loop {
            match self.read_models()?.advance(&self.model, &self.update).await {
                Ok(advanced) => {
                    call.answered();
                    return Ok(Some(advanced));
                }
                Err(error) if error.is_transient() => {
                    if !call.again(&error).await {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_messages(&self, wake_ups: &mut [WakeUp], next_poll: Duration) {
        let poll_at = after(next_poll);
        let woken = select_all(wake_ups.iter_mut().map(|wake_up| Box::pin(wake_up.wait_until(poll_at))));
        tokio::select! {
            _ = woken => {}
            () = self.outages.shutdown().requested() => {}
        }
    }

    /// Reads what the store knows of the version, which other processes may have changed.
    async fn look(&self) {
        match self.found().await {
            Ok(Some(found)) => {
                let ReadModelVersion { state, position, .. } = found;
                self.progress.send_modify(|progress| {
                    *progress = UpdaterProgress { state, position, end: progress.end.max(position) };
                });
            }
            Ok(None) => {
                self.progress.send_modify(|progress| progress.state = VersionState::StandsBy);
            }
            Err(error) => {
                tracing::debug!(target: "message_store::consumer", %error, "the position of a read model could not be read");
            }
        }
    }

    async fn found(&self) -> Result<Option<ReadModelVersion>> {
        let versions = self.read_models()?.versions(Some(self.model.name())).await?;
        Ok(versions.into_iter().find(|found| found.version == self.model.version()))
    }

    fn read_models(&self) -> Result<&dyn ReadModels> {
        let unsupported = || Error::Unsupported { store: self.store.describe(), what: "read models".to_owned() };
        self.store.read_models().ok_or_else(unsupported)
    }

    /// Records the metrics. It does not end by itself.
    async fn sample(&self) {
        if !is_on() {
            std::future::pending::<()>().await;
        }
        loop {
            let begun = Instant::now();
            let since = self.outages.current().map(|outage| outage.since);
            self.metrics
                .outage(since.and_then(|since| Duration::try_from(Timestamp::now().duration_since(since)).ok()));
            let measured = async {
                let Some(found) = self.found().await? else { return Ok(()) };
                self.metrics.sample(&*self.store, &self.update.categories, &found).await
            };
            let measured: Result<()> = measured.await;
            if let Err(error) = measured {
                tracing::debug!(target: "message_store::consumer", %error, "the lag of a read model could not be measured");
            }
            sleep((self.poll_interval * POLLS).max(begun.elapsed() * REST)).await;
        }
    }
}
