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

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::PostgresOptions;
use super::append::{self, APPEND, RACES, meaning};
use super::failure::{is_race, is_transient, is_unanswered};
use super::session::Session;
use crate::{Append, Appended, Error, Result};

/// Appends that may wait in a lane; further callers wait for a place.
const QUEUE: usize = 1024;
/// A batch is no larger than this, in appends and in bytes, unless one append is.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// Batches under way in a lane, and how large another one must be to be sent beside one that is.
const UNDER_WAY: usize = 2;
const WORTH_SENDING: usize = 32;
/// Connections that write. All appends of a category go through one of them: over two, they would wait for each other.
const LANES: usize = 4;

#[derive(Debug)]
pub(super) struct GroupCommit(Vec<mpsc::Sender<Job>>);

#[derive(Debug)]
struct Job {
    appends: Vec<Append>,
    answer: oneshot::Sender<Result<Appended>>,
}

impl GroupCommit {
    pub(super) fn start(options: &PostgresOptions) -> Self {
        let lane = |_| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let session = |_| Session::new(options.clone().for_appends());
            tokio::spawn(Lane { sessions: (0..UNDER_WAY).map(session).collect() }.run(queue));
            sender
        };
        Self((0..LANES).map(lane).collect())
    }

    pub(super) async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        let mut hasher = DefaultHasher::new();
        appends.first().map(|append| append.stream.category_str()).hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        if self.0[lane].send(Job { appends, answer }).await.is_err() {
            return Err(Error::backend("appending; nothing was sent", true, "the store's runtime has ended"));
        }
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { source: error.into() }))
    }
}

struct Lane {
    sessions: Vec<Session>,
}

impl Lane {
    /// Until nobody can append any more, and all that was queued is answered.
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let lane = Arc::new(self);
        let (mut received, mut waiting) = (Vec::with_capacity(QUEUE), VecDeque::new());
        let mut under_way = FuturesUnordered::new();
        let mut free: Vec<usize> = (0..UNDER_WAY).collect();
        let mut is_open = true;
        loop {
            while !waiting.is_empty()
                && (under_way.is_empty() || (under_way.len() < UNDER_WAY && waiting.len() >= WORTH_SENDING))
            {
                let batch = next_batch(&mut waiting);
                if !batch.is_empty()
                    && let Some(session) = free.pop()
                {
                    under_way.push(Arc::clone(&lane).settle(session, batch));
                }
            }
            let room = QUEUE.saturating_sub(waiting.len());
            tokio::select! {
                biased;
                Some(session) = under_way.next() => free.push(session),
                count = queue.recv_many(&mut received, room), if is_open && room > 0 => {
                    is_open = count > 0;
                    waiting.extend(received.drain(..));
                }
                else => return,
            }
        }
    }

    /// Answers every job of a batch.
    async fn settle(self: Arc<Self>, session: usize, batch: Vec<Job>) -> usize {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            match self.attempt(&self.sessions[session], &batch).await {
                Ok(results) => {
                    for (job, result) in batch.into_iter().zip(results) {
                        // A caller that has gone away does not want the answer; its append stands.
                        let _ = job.answer.send(result);
                    }
                }
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
                Err(Failed::All(error)) => {
                    for job in batch {
                        let _ = job.answer.send(Err(error()));
                    }
                }
            }
        }
        session
    }

    async fn attempt(&self, session: &Session, batch: &[Job]) -> Result<Vec<Result<Appended>>, Failed> {
        let (mut races, mut lost) = (0, None);
        loop {
            let connected = match session.connected().await {
                Ok(connected) => connected,
                Err(error) => return Err(lost.map_or_else(|| Failed::unsent(&error), |lost| Failed::unanswered(&lost))),
            };
            let sent = async {
                let statement = connected.prepare_cached(APPEND).await?;
                append::send(&connected, &statement, batch.iter().map(|job| &job.appends[..])).await
            };
            match sent.await {
                Ok(results) => return Ok(results),
                Err(error) if is_unanswered(&error) => match lost {
                    None => lost = Some(error),
                    Some(_) => return Err(Failed::unanswered(&error)),
                },
                Err(error) if races < RACES && error.as_db_error().is_some_and(is_race) => races += 1,
                Err(error) if batch.len() > 1 && error.code().is_some_and(is_transient) => {
                    return Err(Failed::passing(&error));
                }
                Err(error) => return Err(Failed::Refused(error)),
            }
        }
    }
}

enum Failed {
    /// For something that one append may be to blame for. Nothing was written.
    Refused(tokio_postgres::Error),
    /// For nothing that any of them is to blame for: each is told.
    All(Box<dyn Fn() -> Error + Send>),
}

impl Failed {
    /// There is no connection.
    fn unsent(error: &Error) -> Self {
        let (text, transient) = (error.to_string(), matches!(error, Error::Backend { transient: true, .. }));
        Self::All(Box::new(move || Error::backend("appending; nothing was sent", transient, text.clone())))
    }

    fn passing(error: &tokio_postgres::Error) -> Self {
        let text = error.to_string();
        Self::All(Box::new(move || Error::backend("appending; nothing was written", true, text.clone())))
    }

    fn unanswered(error: &tokio_postgres::Error) -> Self {
        let text = error.to_string();
        Self::All(Box::new(move || Error::CommitUnknown { source: text.clone().into() }))
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
