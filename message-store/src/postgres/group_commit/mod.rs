//! Group commit: appends of one process that share a round trip and a commit.
//!
//! Problem: each durable commit waits for the disk, and writers of one category wait for each other's commits. Fix:
//! while a batch is under way, later appends gather in a queue and form the next batch. An append that is alone is sent
//! at once. A batch that is large enough is sent while the one before it is still being committed, so that the server
//! never waits for this process.
//!
//! Each append still has its own result, because the server decides each one separately (see `append_messages`). If a
//! batch fails with an error that one append may have caused, its halves are sent separately, down to single appends.
//! If the connection is lost, the batch is sent once more, and the ids of its messages show which appends the first
//! statement wrote. If a batch took too long, its halves are not sent, because each could take as long: all callers get
//! the error. Only the conditions of a batch are tried once more in pieces, and the other appends of the batch apart from them.
//!
//! If a caller is dropped, its append is removed from the queue, and no other append is affected. A batch that was sent
//! continues as long as one of its callers waits. When all have been dropped, the statement is cancelled, so that it
//! does not occupy a connection. The append of a dropped caller may still have been written.
//!
//! One lane is shared by all categories. A category gets its own lane while another session keeps its lock for long, or
//! while it has many appends, and until no append has come for a while. So a slow writer of one category delays no other
//! category.
//!
//! Several processes take turns: a batch waits for the locks of all of its categories, in the order that every process
//! uses. While a lane waits for its turn, it sends one batch at a time, and fills it before it sends it, because small
//! batches would take as many turns as large ones. [`LockWait`] says what happens when a turn does not come.

mod batch;
mod conditions_at_once;
mod lane;
mod lock_wait;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::{mpsc, oneshot};

use super::PlantedBug;
use super::append::{self, InBatch};
use super::history::Histories;
use super::pool::Pool;
use super::sent_condition::SentCondition;
use crate::telemetry::Histogram;
use crate::telemetry::metric::{APPEND_BATCH, LOCK_WAIT};
use crate::{Append, Appended, Error, GlobalPosition, History, Position, Result, StreamName};
use conditions_at_once::ConditionsAtOnce;
use lane::Lane;
use lock_wait::LockWait;

/// How long a batch of several categories waits for all locks: `lock_timeout` of the connections, in milliseconds.
pub(super) const SHORT_WAIT: &str = "50";
/// How long an append is left out of the batches of the shared lane, before its categories get their own lane.
const LEFT_OUT: Duration = Duration::from_millis(100);
/// The number of appends that may wait in a lane. Further callers wait for room.
const QUEUE: usize = 1024;
/// The number of lanes that are tried for a job before it fails.
const LANES_TRIED: u32 = 10;
/// Stands between the categories of a lane. No category contains it.
const BETWEEN: &str = "-";
/// The number of streams whose positions are remembered.
const KNOWN: usize = 10_000;

#[derive(Debug)]
pub(super) struct GroupCommit(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    senders: Mutex<HashMap<Route, mpsc::Sender<Job>>>,
    /// The number of callers that are appending.
    callers: AtomicUsize,
    /// The connections of `long_wait` wait for a lock without a limit, those of `short_wait` at most for
    /// [`SHORT_WAIT`].
    long_wait: Pool,
    short_wait: Pool,
    place: String,
    histories: Arc<Histories>,
    batch_size: Histogram,
    lock_wait: Histogram,
    conditions: ConditionsAtOnce,
    /// A position that each stream is known to have, and the history of that knowledge. With it, the server need not
    /// look at earlier messages to find the stream's end.
    known: Cache<StreamName, (History, Position)>,
}

/// The name of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Route {
    /// The lane that all categories share.
    Shared,
    /// The lane of a category, or of a set of categories that are appended to together.
    Own(String),
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Appended>>,
    /// The time at which it was first left out of a batch.
    left_out_at: Option<Instant>,
}

/// The appends of one caller.
#[derive(Debug)]
struct Work {
    appends: Vec<Append>,
    condition: Option<SentCondition>,
    /// The history in which the appends were decided.
    history: History,
    /// The highest global position that this process knew when the caller appended. After a lost answer, messages above
    /// it count as written by this caller.
    seen: GlobalPosition,
}

impl Work {
    fn in_batch(&self) -> InBatch<'_> {
        (&self.appends, self.condition.as_ref())
    }
}

impl GroupCommit {
    pub(super) fn new(long_wait: Pool, short_wait: Pool, place: String, histories: Arc<Histories>) -> Self {
        let (senders, callers, known) = (Mutex::default(), AtomicUsize::new(0), Cache::new(KNOWN));
        let (batch_size, lock_wait) = (Histogram::of(&APPEND_BATCH, &[]), Histogram::of(&LOCK_WAIT, &[]));
        Self(Arc::new(Lanes {
            senders,
            callers,
            long_wait,
            short_wait,
            place,
            histories,
            batch_size,
            lock_wait,
            conditions: ConditionsAtOnce::default(),
            known,
        }))
    }

    /// Appends messages that were decided in this history.
    pub(super) async fn append(
        &self,
        history: History,
        appends: Vec<Append>,
        condition: Option<SentCondition>,
    ) -> Result<Appended> {
        let (answer, answered) = oneshot::channel();
        let work = Work { appends, condition, history, seen: self.0.histories.seen() };
        let job = Job { work, answer, left_out_at: None };
        let caller = Caller::enter(&self.0.callers);
        if caller.is_alone {
            // No other append can share the batch, so a lane would only add a delay.
            let (route, wait) = (Route::Own(categories(job.work.in_batch())), LockWait::All);
            match self.0.pool(&route, &wait).get().await {
                Ok(connection) => {
                    for job in self.0.settle(&route, &wait, connection, vec![job]).await.left_out {
                        self.0.send(job, true).await;
                    }
                }
                Err(error) => answer_all([job], &error),
            }
        } else {
            self.0.send(job, false).await;
        }
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { cause: error.into() }))
    }
}

impl Drop for GroupCommit {
    /// Closes the queues. Appends that are already in them are still written.
    fn drop(&mut self) {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Counts a caller for as long as it appends.
struct Caller<'a> {
    callers: &'a AtomicUsize,
    is_alone: bool,
}

impl<'a> Caller<'a> {
    fn enter(callers: &'a AtomicUsize) -> Self {
        Self { callers, is_alone: callers.fetch_add(1, Ordering::Relaxed) == 0 }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// Queues a job in the lane of its categories if that exists or `to_own` is true, and in the shared lane otherwise.
    async fn send(self: &Arc<Self>, mut job: Job, to_own: bool) {
        let own = Route::Own(categories(job.work.in_batch()));
        // A lane can end between the look-up and the send. Then the job goes to a new one. If new lanes end at once,
        // the runtime is ending.
        for _ in 0..LANES_TRIED {
            match self.lane(&own, to_own).send(job).await {
                Ok(()) => return,
                Err(mpsc::error::SendError(refused)) => job = refused,
            }
        }
        let ending = "the runtime that the store works in is ending";
        answer_all([job], &Error::backend("appending; nothing was sent", false, ending));
    }

    fn lane(self: &Arc<Self>, own: &Route, to_own: bool) -> mpsc::Sender<Job> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |route: &Route| senders.get(route).filter(|sender| !sender.is_closed()).cloned();
        if let Some(sender) = open(own) {
            return sender;
        }
        let route = if to_own { own.clone() } else { Route::Shared };
        open(&route).unwrap_or_else(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            tokio::spawn(Lane::new(route.clone(), self).run(queue));
            senders.insert(route, sender.clone());
            sender
        })
    }

    /// Starts lanes for the categories of these jobs, and queues the jobs there.
    fn give_own_lane(self: &Arc<Self>, jobs: Vec<Job>) {
        let lanes = Arc::clone(self);
        tokio::spawn(async move {
            for job in jobs {
                lanes.send(job, true).await;
            }
        });
    }

    /// Remembers the stream's last position after an append to one stream. `history` is that of the connection.
    fn remember(&self, history: History, appends: &[Append], result: &Result<Appended>) {
        if let ([append], Ok(Appended { written, .. })) = (appends, result)
            && let Some(last) = written.last()
        {
            self.known.insert(append.stream.clone(), (history, last.position));
        }
    }

    fn known(&self, history: History, stream: &StreamName) -> Option<Position> {
        self.known.get(stream).filter(|known| known.0 == history).map(|known| known.1)
    }

    /// The greatest number of conditions in a batch.
    fn most_conditions(&self) -> usize {
        let bugs = [PlantedBug::ConditionsTimeOutTogether, PlantedBug::FullLockTablesConcernAll];
        if bugs.into_iter().any(|bug| self.histories.has(bug)) { usize::MAX } else { self.conditions.limit() }
    }

    fn pool(&self, route: &Route, wait: &LockWait) -> &Pool {
        if wait.is_short(route) { &self.short_wait } else { &self.long_wait }
    }
}

impl Route {
    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared)
    }

    /// Whether a batch of the lane can lock several categories.
    fn has_several_categories(&self) -> bool {
        match self {
            Self::Shared => true,
            Self::Own(categories) => categories.contains(BETWEEN),
        }
    }
}

/// The categories that an append locks, as one text.
fn categories(append: InBatch<'_>) -> String {
    if let ([append], None) = append {
        return append.stream.category_str().to_owned();
    }
    append::categories(append).into_iter().collect::<Vec<_>>().join(BETWEEN)
}

/// Answers all jobs with the same error. A dropped caller takes no answer.
fn answer_all(jobs: impl IntoIterator<Item = Job>, error: &Error) {
    for job in jobs {
        let _ = job.answer.send(Err(error.shared()));
    }
}
