//! The handle of a running consumer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::consumer::groups::OwnedSlots;
use crate::consumer::handled_through::{HandledThrough, handled_through};
use crate::consumer::names::NameInUse;
use crate::consumer::outages::Outages;
use crate::consumer::pace::after;
use crate::consumer::waits::Waits;
use crate::consumer::{ConsumerStatus, Outage, OutcomeCounts, Pause, StartupReport};
use crate::{Error, GlobalPosition, Result};

/// A consumer that runs in the background. If the handle is dropped, the consumer is aborted without saving its
/// position, as in a crash.
#[derive(Debug)]
pub struct ConsumerHandle {
    status: ConsumerStatus,
    stop: watch::Sender<Stop>,
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
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) handled_through: HandledThrough,
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
    pub(super) outages: Outages,
    pub(super) waits: Arc<Waits>,
}

/// What the handle shows beside the reports of the loop.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
    /// The slots of a member of an elastic group.
    pub(super) owned: Option<Arc<OwnedSlots>>,
    pub(super) paused: watch::Receiver<Option<Pause>>,
}

/// Whether the loop is asked to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stop {
    pub(super) is_requested: bool,
    /// The time until which the messages under way may end. `None`: without a limit.
    pub(super) drain_until: Option<Instant>,
}

impl ConsumerHandle {
    /// Spawns the loop of a consumer. The name of the handler stays in use until the loop has ended.
    pub(super) fn spawn<W>(
        startup_report: StartupReport,
        name: Option<NameInUse>,
        outages: Outages,
        Shown { counts, owned, paused }: Shown,
        work: impl FnOnce(Reports, ConsumerStatus) -> W,
    ) -> Self
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stop_asked) = watch::channel(Stop::default());
        let (progress, handled_through) = handled_through(startup_report.handled_through);
        let reports = Reports {
            stop: stop_asked,
            handled_through: progress,
            counts: Arc::clone(&counts),
            outages: outages.clone(),
            waits: Arc::default(),
        };
        let waits = Arc::clone(&reports.waits);
        let startup_report = Arc::new(startup_report);
        let status = ConsumerStatus { startup_report, handled_through, counts, outages, owned, paused, waits };
        let (work, taken) = (work(reports, status.clone()), name.clone());
        let task = tokio::spawn(async move {
            let ended = work.await;
            if let Some(name) = taken {
                name.release();
            }
            ended
        });
        Self { status, stop, task: Some(task), letter_consumer: None, name }
    }

    /// Adds the consumer that delivers dead letters. If one of the two ends, both end.
    pub(super) fn with_letter_consumer(mut self, letter_consumer: Self) -> Self {
        self.letter_consumer = Some(Box::new(letter_consumer));
        self
    }

    /// The settings with which the consumer started.
    pub fn startup_report(&self) -> &StartupReport {
        self.status.startup_report()
    }

    /// Shows what the consumer does. The status can be cloned, and does not keep the consumer running.
    pub fn status(&self) -> ConsumerStatus {
        self.status.clone()
    }

    /// The global position up to which the consumer has handled all messages.
    pub fn handled_through(&self) -> GlobalPosition {
        self.status.handled_through()
    }

    /// The outcomes since the consumer started.
    pub fn counts(&self) -> OutcomeCounts {
        self.status.counts()
    }

    /// The outage that the consumer waits out, if calls to the store fail. `None` if all goes well.
    pub fn outage(&self) -> Option<Outage> {
        self.status.outage()
    }

    /// The slots that the consumer owns now, in order, if it is a member of an elastic group.
    pub fn slots(&self) -> Vec<u16> {
        self.status.slots()
    }

    /// Waits until the consumer has handled all messages up to this position. A member of an elastic group: those of the
    /// slots that it owns then. [`GroupStatus`](super::GroupStatus) shows how far the whole group is.
    ///
    /// # Errors
    /// The error that stopped the consumer. It is returned once. Later calls return an error that says that the
    /// consumer has ended.
    pub async fn wait_for(&mut self, position: GlobalPosition) -> Result<()> {
        let Self { status, task, letter_consumer, .. } = self;
        let outages = status.outages.clone();
        let ended = tokio::select! {
            biased;
            true = status.handled_through.reaches(position) => return Ok(()),
            ended = end_of_either(task, letter_consumer, outages) => ended,
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
    pub async fn stop(self) -> Result<OutcomeCounts> {
        self.stop_until(None).await
    }

    /// As [`ConsumerHandle::stop`], but does not wait longer than this for the messages under way. A handler that has
    /// not returned then is dropped, and its message is delivered again after the next start.
    ///
    /// # Errors
    /// As [`ConsumerHandle::stop`].
    pub async fn stop_within(self, time: Duration) -> Result<OutcomeCounts> {
        self.stop_until(Some(after(time))).await
    }

    async fn stop_until(mut self, drain_until: Option<Instant>) -> Result<OutcomeCounts> {
        self.status.outages.stop();
        // The error of the letter consumer is returned after this consumer has saved its position.
        let letters_ended = match self.letter_consumer.take() {
            Some(letter_consumer) => Box::pin(letter_consumer.stop_until(drain_until)).await.map(drop),
            None => Ok(()),
        };
        self.stop.send_replace(Stop { is_requested: true, drain_until });
        self.ended().await?;
        letters_ended?;
        Ok(self.counts())
    }

    /// Waits until the consumer ends.
    ///
    /// # Errors
    /// The error that stopped the consumer. It is returned once.
    pub async fn ended(&mut self) -> Result<()> {
        end_of_either(&mut self.task, &mut self.letter_consumer, self.status.outages.clone()).await
    }
}

type Task = Option<JoinHandle<Result<()>>>;

async fn end_of_either(
    task: &mut Task,
    letter_consumer: &mut Option<Box<ConsumerHandle>>,
    outages: Outages,
) -> Result<()> {
    match letter_consumer {
        None => end_of(task).await,
        Some(letter_consumer) => tokio::select! {
            // If both have ended, the letter consumer was the first, unless the consumer has failed.
            biased;
            // A consumer that has failed may end after its letter consumer, whose error only the stop has caused.
            ended = end_of(&mut letter_consumer.task), if letter_consumer.task.is_some() => if outages.has_consumer_failed() { end_of(task).await.and(ended) } else { ended },
            ended = end_of(task) => ended,
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
