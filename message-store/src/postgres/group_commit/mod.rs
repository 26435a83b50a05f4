//! Group commit: appends of one process that share a round trip and a commit.
//!
//! Problem: a durable commit costs a wait for the disk, and writers of one category wait for each other until it is
//! done. Fix: while a batch is under way, later appends gather, and go together as the next one; an append that is
//! alone is sent at once. Once a batch is worth it, it is sent while the one before it is still being committed, so
//! that the server does not wait for us.
//!
//! Why each append stands alone all the same: the server decides each by itself (see `append_messages`), and says so.
//! When a batch fails as a whole, for something that one of its appends may be to blame for, its halves are tried, down
//! to the one. When the connection is lost, the batch is sent once more: the ids of its messages say what had been
//! written. A batch that took too long is not tried in halves, each of which would take as long: all of its callers are
//! told.
//!
//! A caller that goes away takes nothing with it but its own append, if that has not been sent. A batch that is under
//! way goes on as long as one of its callers waits; once all have gone, and at once for an append that was sent alone,
//! it is cancelled, so that it keeps no connection. What such a caller sent may stand all the same.
//!
//! Appends of several categories go together as well, in a few lanes, as long as none has to wait for another session's
//! lock on its category. One that does for long leaves them, and its category has a lane of its own until it has been
//! quiet: whoever is slow with one category keeps no other waiting.

mod batch;
mod lane;

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::{mpsc, oneshot};

use super::history::Histories;
use super::pool::Pool;
use crate::{Append, Appended, Error, GlobalPosition, History, Position, Result, StreamName};
use lane::Lane;

/// How long a shared batch waits for a lock (the connections' `lock_timeout`, in milliseconds).
pub(super) const SHORT_WAIT: &str = "25";
/// Lanes that categories share.
const SHARED: u64 = 4;
/// Appends that may wait in a lane; further callers wait for a place.
const QUEUE: usize = 1024;
/// Lanes that a job is given to, one after the other, before it fails.
const LANES_TRIED: u32 = 10;
/// Streams whose positions are remembered.
const KNOWN: usize = 10_000;

#[derive(Debug)]
pub(super) struct GroupCommit(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    senders: Mutex<HashMap<Route, mpsc::Sender<Job>>>,
    /// Callers that append just now.
    callers: AtomicUsize,
    /// Connections that wait for a lock as long as it takes, and those that wait for it no longer than [`SHORT_WAIT`].
    long_wait: Pool,
    short_wait: Pool,
    place: String,
    histories: Arc<Histories>,
    /// Positions that streams are known to have, and in which history: they spare the server a look at what lies
    /// before.
    known: Cache<StreamName, (History, Position)>,
}

/// Which lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Route {
    /// One of those that categories share.
    Shared(u64),
    /// Of a category, or of a set of categories that are appended to together.
    Own(String),
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Appended>>,
}

/// What is to be appended.
#[derive(Debug)]
struct Work {
    appends: Vec<Append>,
    /// In which it was decided.
    history: History,
    /// The highest global position that this process had seen when it was asked: what stands above was not written
    /// before.
    seen: GlobalPosition,
}

impl GroupCommit {
    pub(super) fn new(long_wait: Pool, short_wait: Pool, place: String, histories: Arc<Histories>) -> Self {
        let (senders, callers, known) = (Mutex::default(), AtomicUsize::new(0), Cache::new(KNOWN));
        Self(Arc::new(Lanes { senders, callers, long_wait, short_wait, place, histories, known }))
    }

    /// Appends what was decided in this history.
    pub(super) async fn append(&self, history: History, appends: Vec<Append>) -> Result<Appended> {
        let (answer, answered) = oneshot::channel();
        let job = Job { work: Work { appends, history, seen: self.0.histories.seen() }, answer };
        let caller = Caller::enter(&self.0.callers);
        if caller.is_alone {
            // There is no append to share with: the way by a lane would only take longer.
            let route = Route::Own(categories(&job.work.appends));
            match self.0.long_wait.get().await {
                Ok(connection) => self.0.settle(&route, connection, vec![job]).await,
                Err(error) => tell([job], &error),
            }
        } else {
            self.0.send(job, false).await;
        }
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { cause: error.into() }))
    }
}

impl Drop for GroupCommit {
    /// What was queued is still written.
    fn drop(&mut self) {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A caller that appends, until it is dropped.
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
    /// Queues a job: in its own lane, if there is one, or if it is to have one.
    async fn send(self: &Arc<Self>, mut job: Job, to_own: bool) {
        let own = Route::Own(categories(&job.work.appends));
        // A lane may end while it is given a job. When new lanes end at once, the runtime is ending.
        for _ in 0..LANES_TRIED {
            match self.lane(&own, to_own).send(job).await {
                Ok(()) => return,
                Err(mpsc::error::SendError(refused)) => job = refused,
            }
        }
        let ending = "the runtime that the store works in is ending";
        tell([job], &Error::backend("appending; nothing was sent", false, ending));
    }

    fn lane(self: &Arc<Self>, own: &Route, to_own: bool) -> mpsc::Sender<Job> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |route: &Route| senders.get(route).filter(|sender| !sender.is_closed()).cloned();
        if let Some(sender) = open(own) {
            return sender;
        }
        let route = if to_own { own.clone() } else { own.shared() };
        open(&route).unwrap_or_else(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            tokio::spawn(Lane::new(route.clone(), self).run(queue));
            senders.insert(route, sender.clone());
            sender
        })
    }

    /// Gives the categories of these jobs lanes of their own, and queues them there.
    fn give_own_lane(self: &Arc<Self>, jobs: Vec<Job>) {
        let lanes = Arc::clone(self);
        tokio::spawn(async move {
            for job in jobs {
                lanes.send(job, true).await;
            }
        });
    }

    /// What a connection of this history answered.
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

    fn pool(&self, route: &Route) -> &Pool {
        if route.is_shared() { &self.short_wait } else { &self.long_wait }
    }
}

impl Route {
    fn shared(&self) -> Self {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Self::Shared(hasher.finish() % SHARED)
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// The categories that an append locks, in one word.
fn categories(appends: &[Append]) -> String {
    if let [append] = appends {
        return append.stream.category_str().to_owned();
    }
    let all: BTreeSet<&str> = appends.iter().map(|append| append.stream.category_str()).collect();
    // No category holds a hyphen.
    all.into_iter().collect::<Vec<_>>().join("-")
}

/// The same for each. A caller that has gone away is not told.
fn tell(jobs: impl IntoIterator<Item = Job>, error: &Error) {
    for job in jobs {
        let _ = job.answer.send(Err(error.shared()));
    }
}
