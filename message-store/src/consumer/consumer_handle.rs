//! The handle of a running consumer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::consumer::handled_through::{HandledThrough, HandledThroughReceiver, handled_through};
use crate::consumer::names::NameInUse;
use crate::consumer::outages::Outages;
use crate::consumer::{Outage, OutcomeCounts, StartupReport};
use crate::{Error, GlobalPosition, Result};

/// A consumer that runs in the background. If the handle is dropped, the consumer is aborted without saving its
/// position, as in a crash.
#[derive(Debug)]
pub struct ConsumerHandle {
    startup_report: StartupReport,
    stop: watch::Sender<bool>,
    handled_through: HandledThroughReceiver,
    counts: Arc<Mutex<OutcomeCounts>>,
    outages: Outages,
    /// The task of the consumer's loop. `None` after its result was returned to a caller.
    task: Option<JoinHandle<Result<()>>>,
    /// The consumer that delivers dead letters again.
    letter_consumer: Option<Box<ConsumerHandle>>,
    /// Keeps the name of the handler in use in this process until the consumer ends.
    name: Option<NameInUse>,
}

/// The ends of the handle's channels that the consumer's loop uses.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) stop: watch::Receiver<bool>,
    pub(super) handled_through: HandledThrough,
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
    pub(super) outages: Outages,
}

impl ConsumerHandle {
    /// Spawns the loop of a consumer. The name of the handler stays in use until the loop has ended.
    pub(super) fn spawn<W>(
        startup_report: StartupReport,
        name: Option<NameInUse>,
        outages: Outages,
        work: impl FnOnce(Reports) -> W,
    ) -> Self
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stop_asked) = watch::channel(false);
        let (progress, handled_through) = handled_through(startup_report.handled_through);
        let counts = Arc::new(Mutex::new(OutcomeCounts::default()));
        let reports = Reports {
            stop: stop_asked,
            handled_through: progress,
            counts: Arc::clone(&counts),
            outages: outages.clone(),
        };
        let (work, taken) = (work(reports), name.clone());
        let task = tokio::spawn(async move {
            let ended = work.await;
            if let Some(name) = taken {
                name.release();
            }
            ended
        });
        Self { startup_report, stop, handled_through, counts, outages, task: Some(task), letter_consumer: None, name }
    }

    /// Adds the consumer that delivers dead letters. If one of the two ends, both end.
    pub(super) fn with_letter_consumer(mut self, letter_consumer: Self) -> Self {
        self.letter_consumer = Some(Box::new(letter_consumer));
        self
    }

    /// The settings with which the consumer started.
    pub fn startup_report(&self) -> &StartupReport {
        &self.startup_report
    }

    /// The global position up to which the consumer has handled all messages.
    pub fn handled_through(&self) -> GlobalPosition {
        self.handled_through.position()
    }

    /// The outcomes since the consumer started.
    pub fn counts(&self) -> OutcomeCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The outage that the consumer waits out, if calls to the store fail. `None` if all goes well.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.current()
    }

    /// Waits until the consumer has handled all messages up to this position.
    ///
    /// # Errors
    /// The error that stopped the consumer. It is returned once. Later calls return an error that says that the
    /// consumer has ended.
    pub async fn wait_for(&mut self, position: GlobalPosition) -> Result<()> {
        let Self { handled_through, task, letter_consumer, .. } = self;
        let ended = tokio::select! {
            biased;
            true = handled_through.reaches(position) => return Ok(()),
            ended = end_of_either(task, letter_consumer) => ended,
        };
        ended.and_then(|()| {
            Err(Error::backend(format!("waiting for position {position}"), false, "the consumer has ended"))
        })
    }

    /// Waits for the messages under way, saves the position, and ends the consumer. During an outage, it waits a few
    /// seconds for the store, and then ends without its position: after the next start, messages that were handled are
    /// recognised.
    ///
    /// # Errors
    /// [`Error::Handler`] when a message could not be handled, [`Error::PositionTaken`] when another consumer has
    /// taken over, and the store's errors.
    pub async fn stop(mut self) -> Result<OutcomeCounts> {
        self.outages.stop();
        // The error of the letter consumer is returned after this consumer has saved its position.
        let letters_ended = match self.letter_consumer.take() {
            Some(letter_consumer) => Box::pin(letter_consumer.stop()).await.map(drop),
            None => Ok(()),
        };
        self.stop.send_replace(true);
        self.ended().await?;
        letters_ended?;
        Ok(self.counts())
    }

    /// Waits until the consumer, or its letter consumer, ends.
    pub(super) async fn ended(&mut self) -> Result<()> {
        end_of_either(&mut self.task, &mut self.letter_consumer).await
    }
}

type Task = Option<JoinHandle<Result<()>>>;

async fn end_of_either(task: &mut Task, letter_consumer: &mut Option<Box<ConsumerHandle>>) -> Result<()> {
    match letter_consumer {
        None => end_of(task).await,
        Some(letter_consumer) => tokio::select! {
            ended = end_of(task) => ended,
            ended = end_of(&mut letter_consumer.task) => ended,
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
