//! The handle of a running updater.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{UpdaterProgress, UpdaterStatus};
use crate::consumer::outages::Outages;
use crate::{Category, Error, Result};

/// An updater that runs in the background. If the handle is dropped, the updater is aborted, as in a crash: the batch under way
/// is rolled back.
#[derive(Debug)]
pub struct UpdaterHandle {
    status: UpdaterStatus,
    /// `None` after its result was returned to a caller.
    task: Option<JoinHandle<Result<()>>>,
}

impl UpdaterHandle {
    pub(super) fn spawn<W>(
        (name, version, categories): (String, u32, Vec<Category>),
        begins: UpdaterProgress,
        outages: Outages,
        work: impl FnOnce(watch::Sender<UpdaterProgress>) -> W,
    ) -> Self
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, progress) = watch::channel(begins);
        let status = UpdaterStatus { name, version, categories, progress, outages };
        tracing::info!(target: "message_store::consumer", "{status}");
        Self { status, task: Some(tokio::spawn(work(sender))) }
    }

    /// Shows what the updater does. The status can be cloned, and does not keep the updater running.
    pub fn status(&self) -> UpdaterStatus {
        self.status.clone()
    }

    /// Ends the updater after the batch under way.
    ///
    /// # Errors
    /// The error that stopped the updater before.
    pub async fn stop(mut self) -> Result<()> {
        self.status.outages.stop();
        self.ended().await
    }

    /// As [`stop`](Self::stop), but does not wait longer than this for the batch under way. It is rolled back then, and applied
    /// after the next start.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub async fn stop_within(mut self, time: Duration) -> Result<()> {
        self.status.outages.stop();
        timeout(time, self.ended()).await.unwrap_or(Ok(()))
    }

    /// Waits until the updater ends.
    ///
    /// # Errors
    /// The error that stopped the updater. It is returned once.
    pub async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await;
        self.task = None;
        ended.unwrap_or_else(|error| Err(Error::backend("the updater's task", false, error)))
    }
}

impl Drop for UpdaterHandle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
