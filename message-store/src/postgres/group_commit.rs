//! Group commit: appends of one process that share a round trip and a commit.
//!
//! Problem: a durable commit costs a wait for the disk, and writers of one category wait for each other until it is done. Fix:
//! while a batch is under way, later appends gather, and go together as the next one; an idle store sends at once. Once a
//! batch is worth it, it is sent while the one before it is still being committed, so that the server does not wait for us.
//!
//! Why each append stands alone all the same: the server decides each by itself (see `append_messages`), and says so. When a
//! batch fails as a whole, for something that one of its appends may be to blame for, its halves are tried, down to the one.
//! When the connection is lost, the batch is sent once more: the ids of its messages say what had been written. And a caller
//! that goes away takes nothing with it but its own append, if that has not been sent.
//!
//! Appends of several categories go together as well, in a few lanes, as long as none has to wait for somebody's lock on its
//! category. One that does for long leaves them, and its category has a lane of its own until it has been quiet: whoever is slow
//! with one category keeps no other waiting.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::{Fuse, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use quick_cache::sync::Cache;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::error::SqlState;

use super::append::{self, APPEND, RACES, meaning};
use super::failure::{is_race, is_transient, is_unanswered, pool_failure};
use crate::{Append, Appended, Error, Position, Result, StreamName};

/// Appends that may wait in a lane; further callers wait for a place.
const QUEUE: usize = 1024;
/// A batch is no larger than this, in appends and in bytes, unless one append is.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// Batches under way in a lane, and how large another one must be to be sent beside one that is.
const UNDER_WAY: usize = 2;
const WORTH_SENDING: usize = 32;
/// Lanes that categories share.
const SHARED: u64 = 4;
/// How long a shared batch waits for a lock (the connections' `lock_timeout`, in milliseconds).
pub(super) const SHORT_WAIT: &str = "2";
/// Streams whose positions are remembered.
const KNOWN: usize = 10_000;
/// A lane that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct GroupCommit(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    senders: Mutex<HashMap<Route, mpsc::Sender<Job>>>,
    /// Connections that wait for locks, and such that hardly do.
    patient: Pool,
    hasty: Pool,
    place: String,
    /// Positions that streams are known to have: they spare the server a look at what lies before.
    known: Cache<StreamName, Position>,
}

/// Which lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Route {
    /// One of those that categories share.
    Shared(u64),
    /// Of a category, or of a set of categories that are appended to in one step.
    Own(String),
}

#[derive(Debug)]
struct Job {
    appends: Vec<Append>,
    answer: oneshot::Sender<Result<Appended>>,
}

impl GroupCommit {
    pub(super) fn new(patient: Pool, hasty: Pool, place: String) -> Self {
        Self(Arc::new(Lanes { senders: Mutex::default(), patient, hasty, place, known: Cache::new(KNOWN) }))
    }

    pub(super) async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Job { appends, answer }, false).await;
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { source: error.into() }))
    }
}

impl Lanes {
    /// Queues a job: in its own lane, if there is one, or if it is to have one.
    async fn send(self: &Arc<Self>, mut job: Job, to_own: bool) {
        let own = Route::Own(categories(&job.appends));
        // A lane may end just when it is given something.
        while let Err(mpsc::error::SendError(refused)) = self.lane(&own, to_own).send(job).await {
            job = refused;
        }
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
            tokio::spawn(Lane { route: route.clone(), lanes: Arc::clone(self) }.run(queue));
            senders.insert(route, sender.clone());
            sender
        })
    }

    fn remember(&self, appends: &[Append], result: &Result<Appended>) {
        if let ([append], Ok(Appended { written, .. })) = (appends, result)
            && let Some(last) = written.last()
        {
            self.known.insert(append.stream.clone(), last.position);
        }
    }

    fn pool(&self, route: &Route) -> &Pool {
        match route {
            Route::Shared(_) => &self.hasty,
            Route::Own(_) => &self.patient,
        }
    }
}

impl Route {
    fn shared(&self) -> Self {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Self::Shared(hasher.finish() % SHARED)
    }
}

impl Drop for GroupCommit {
    /// What was queued is still written.
    fn drop(&mut self) {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
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

struct Lane {
    route: Route,
    lanes: Arc<Lanes>,
}

impl Lane {
    /// Until nobody can append any more, or nobody has for a while, and all that was queued is answered.
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let (mut received, mut waiting) = (Vec::new(), VecDeque::new());
        let mut under_way = FuturesUnordered::new();
        let mut connecting = std::pin::pin!(Fuse::terminated());
        let (mut is_open, mut is_connecting) = (true, false);
        loop {
            let is_idle = waiting.is_empty() && under_way.is_empty();
            let is_worth_it = !self.is_shared() && under_way.len() < UNDER_WAY && waiting.len() >= WORTH_SENDING;
            if !is_connecting && !waiting.is_empty() && (under_way.is_empty() || is_worth_it) {
                connecting.set(self.lanes.pool(&self.route).get().fuse());
                is_connecting = true;
            }
            let room = QUEUE.saturating_sub(waiting.len());
            tokio::select! {
                biased;
                Some(()) = under_way.next() => {}
                count = queue.recv_many(&mut received, room), if is_open && room > 0 => {
                    is_open = count > 0;
                    waiting.extend(received.drain(..));
                }
                connection = &mut connecting, if is_connecting => {
                    is_connecting = false;
                    match connection {
                        Ok(connection) => {
                            let batch = next_batch(&mut waiting);
                            if self.is_shared() && is_hot(&batch) {
                                self.give_own_lane(batch);
                            } else {
                                under_way.push(self.settle(connection, batch));
                            }
                        }
                        Err(error) => {
                            let (text, failure) = (error.to_string(), pool_failure(&self.lanes.place, error));
                            let transient = matches!(failure, Error::Backend { transient: true, .. });
                            let context = format!("connecting to {}; nothing was sent", self.lanes.place);
                            tell(waiting.drain(..), || Error::backend(&context, transient, text.clone()));
                        }
                    }
                }
                () = tokio::time::sleep(IDLE), if is_idle && is_open => {
                    // Whoever comes now finds no lane, or a closed one, and makes a new one.
                    self.lanes.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.route);
                    queue.close();
                }
                else => return,
            }
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.route, Route::Shared(_))
    }

    /// Answers every job of a batch.
    async fn settle(&self, mut connection: Object, batch: Vec<Job>) {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop().filter(|batch| !batch.is_empty()) {
            match self.attempt(&mut connection, &batch).await {
                Ok(results) => {
                    for (job, result) in batch.into_iter().zip(results) {
                        self.lanes.remember(&job.appends, &result);
                        // A caller that has gone away does not want the answer; its append stands.
                        let _ = job.answer.send(result);
                    }
                }
                Err(Failed::Locked) => self.give_own_lane(batch),
                Err(Failed::Refused(_)) if batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Err(Failed::Refused(error)) => {
                    if let Some(job) = batch.pop() {
                        let error = meaning(error, &job.appends);
                        let _ = job.answer.send(Err(error));
                    }
                }
                Err(Failed::All(error)) => tell(batch, error),
            }
        }
    }

    fn give_own_lane(&self, batch: Vec<Job>) {
        let lanes = Arc::clone(&self.lanes);
        tokio::spawn(async move {
            for job in batch {
                lanes.send(job, true).await;
            }
        });
    }

    async fn attempt(&self, connection: &mut Object, batch: &[Job]) -> Result<Vec<Result<Appended>>, Failed> {
        let (mut races, mut is_lost) = (0, false);
        loop {
            let sent = async {
                let statement = connection.prepare_cached(APPEND).await?;
                append::send(connection, &statement, batch.iter().map(|job| &job.appends[..]), |stream| {
                    self.lanes.known.get(stream)
                })
                .await
            };
            match sent.await {
                Ok(results) => return Ok(results),
                Err(error) if is_unanswered(&error) && !is_lost => {
                    is_lost = true;
                    match self.lanes.pool(&self.route).get().await {
                        Ok(another) => *connection = another,
                        Err(_) => return Err(Failed::unanswered(&error)),
                    }
                }
                Err(error) if is_unanswered(&error) => return Err(Failed::unanswered(&error)),
                Err(error) if races < RACES && error.as_db_error().is_some_and(is_race) => races += 1,
                Err(error) if self.is_shared() && error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    return Err(Failed::Locked);
                }
                Err(error) if error.code().is_some_and(is_transient) => return Err(Failed::passing(&error)),
                Err(error) => return Err(Failed::Refused(error)),
            }
        }
    }
}

enum Failed {
    /// Somebody has had a category for long. Nothing was written.
    Locked,
    /// For something that one append may be to blame for. Nothing was written.
    Refused(tokio_postgres::Error),
    /// For something that none of them is to blame for.
    All(Box<dyn Fn() -> Error + Send>),
}

impl Failed {
    fn passing(error: &tokio_postgres::Error) -> Self {
        let text = error.to_string();
        Self::All(Box::new(move || Error::backend("appending; nothing was written", true, text.clone())))
    }

    fn unanswered(error: &tokio_postgres::Error) -> Self {
        let text = error.to_string();
        Self::All(Box::new(move || Error::CommitUnknown { source: text.clone().into() }))
    }
}

fn tell(jobs: impl IntoIterator<Item = Job>, error: impl Fn() -> Error) {
    for job in jobs {
        let _ = job.answer.send(Err(error()));
    }
}

/// Whether a batch is worth a lane of its own: large, and of one category.
fn is_hot(batch: &[Job]) -> bool {
    batch.len() >= WORTH_SENDING && {
        let first = categories(&batch[0].appends);
        batch.iter().all(|job| categories(&job.appends) == first)
    }
}

/// What goes together: the first that wait, as many as fit. A message id that comes again belongs to another batch, which
/// finds it written. Those whose callers have gone are left out.
fn next_batch(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let (mut batch, mut ids, mut bytes) = (Vec::new(), HashSet::new(), 0);
    while let Some(job) = waiting.front() {
        if job.answer.is_closed() {
            waiting.pop_front();
            continue;
        }
        let messages = || job.appends.iter().flat_map(|append| &append.messages);
        bytes += messages().map(crate::NewMessage::size).sum::<usize>();
        let fits = batch.len() < BATCH && bytes <= BATCH_BYTES;
        if !batch.is_empty() && (!fits || messages().any(|message| ids.contains(&message.id))) {
            break;
        }
        ids.extend(messages().map(|message| message.id));
        batch.extend(waiting.pop_front());
    }
    batch
}
