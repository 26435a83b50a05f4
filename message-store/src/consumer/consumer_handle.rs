//! A consumer that runs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::consumer::names::NameInUse;
use crate::consumer::{OutcomeCounts, StartupReport};
use crate::{Error, GlobalPosition, Result};

/// A consumer that runs in the background. Dropping the handle aborts the consumer without saving its position, as a
/// crash does.
#[derive(Debug)]
pub struct ConsumerHandle {
    startup_report: StartupReport,
    stop: watch::Sender<bool>,
    handled_through: watch::Receiver<GlobalPosition>,
    counts: Arc<Mutex<OutcomeCounts>>,
    /// `None` once it has ended, and has said why.
    task: Option<JoinHandle<Result<()>>>,
    /// What delivers dead letters again.
    companion: Option<Box<ConsumerHandle>>,
    /// Its handler's name is taken for as long as this is there.
    name: Option<NameInUse>,
}

/// What the working task reads and reports to.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) stop: watch::Receiver<bool>,
    pub(super) handled_through: watch::Sender<GlobalPosition>,
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
}

impl ConsumerHandle {
    /// Works in the background. Until it has ended, no other handler has the name.
    pub(super) fn spawn<W>(
        startup_report: StartupReport,
        name: Option<NameInUse>,
        work: impl FnOnce(Reports) -> W,
    ) -> Self
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stop_asked) = watch::channel(false);
        let (progress, handled_through) = watch::channel(startup_report.handled_through);
        let counts = Arc::new(Mutex::new(OutcomeCounts::default()));
        let reports = Reports { stop: stop_asked, handled_through: progress, counts: Arc::clone(&counts) };
        let (work, taken) = (work(reports), name.clone());
        let task = tokio::spawn(async move {
            let ended = work.await;
            if let Some(name) = taken {
                name.release();
            }
            ended
        });
        Self { startup_report, stop, handled_through, counts, task: Some(task), companion: None, name }
    }

    /// With another one that ends when this one does, and the other way round.
    pub(super) fn beside(mut self, companion: Self) -> Self {
        self.companion = Some(Box::new(companion));
        self
    }

    /// What it said when it started.
    pub fn startup_report(&self) -> &StartupReport {
        &self.startup_report
    }

    /// Everything up to here is handled.
    pub fn handled_through(&self) -> GlobalPosition {
        *self.handled_through.borrow()
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> OutcomeCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything up to this position is handled.
    ///
    /// # Errors
    /// What stopped the consumer, when it stopped before. That is said once; afterwards, that it has ended.
    pub async fn wait_for(&mut self, position: GlobalPosition) -> Result<()> {
        let Self { handled_through, task, companion, .. } = self;
        let ended = tokio::select! {
            biased;
            true = async { handled_through.wait_for(|handled| *handled >= position).await.is_ok() } => return Ok(()),
            ended = end_of_either(task, companion) => ended,
        };
        ended.and_then(|()| {
            Err(Error::backend(format!("waiting for position {position}"), false, "the consumer has ended"))
        })
    }

    /// Finishes what is under way, saves the position, and ends.
    ///
    /// # Errors
    /// [`Error::Handler`] when a message could not be handled, [`Error::PositionTaken`] when another consumer has
    /// taken over, and the store's errors.
    pub async fn stop(mut self) -> Result<OutcomeCounts> {
        // What became of the companion is said when this one has stopped in good order as well.
        let companion = match self.companion.take() {
            Some(companion) => Box::pin(companion.stop()).await.map(drop),
            None => Ok(()),
        };
        self.stop.send_replace(true);
        self.ended().await?;
        companion?;
        Ok(self.counts())
    }

    /// Waits for the end.
    pub(super) async fn ended(&mut self) -> Result<()> {
        end_of_either(&mut self.task, &mut self.companion).await
    }
}

type Task = Option<JoinHandle<Result<()>>>;

async fn end_of_either(task: &mut Task, companion: &mut Option<Box<ConsumerHandle>>) -> Result<()> {
    match companion {
        None => end_of(task).await,
        Some(companion) => tokio::select! {
            ended = end_of(task) => ended,
            ended = end_of(&mut companion.task) => ended,
        },
    }
}

async fn end_of(task: &mut Task) -> Result<()> {
    let Some(handle) = task else { return Ok(()) };
    let ended = handle.await;
    *task = None;
    ended.unwrap_or_else(|error| Err(Error::backend("the consumer's task", false, error)))
}

impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(name) = &self.name {
            name.release();
        }
    }
}
