//! A lane: a queue of appends, and the batches that are taken from it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{Fuse, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

use super::batch::Settled;
use super::lock_wait::LockWait;
use super::{Job, LEFT_OUT, Lanes, QUEUE, Route, answer_all, categories};

/// The size of a batch, in appends and in bytes. A single append may have more bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// The number of batches that a lane sends at once.
const UNDER_WAY: usize = 2;
/// The least size of a second batch. It must also have half the size of the one before it: small batches between large
/// ones would each cost a flush.
const WORTH_SENDING: usize = 32;
/// After a batch that found a category locked, the next one waits this long for as many appends as that one had.
const FILL: Duration = Duration::from_millis(1);
/// A lane ends after this time without appends.
const IDLE: Duration = Duration::from_secs(2);

pub(super) struct Lane {
    route: Route,
    lanes: Arc<Lanes>,
}

impl Lane {
    pub(super) fn new(route: Route, lanes: &Arc<Lanes>) -> Self {
        Self { route, lanes: Arc::clone(lanes) }
    }

    /// Runs until no caller can append any more, or none has appended for a while, and all queued jobs are answered.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let (mut received, mut waiting) = (Vec::new(), VecDeque::new());
        let mut under_way = FuturesUnordered::new();
        let mut connecting = std::pin::pin!(Fuse::terminated());
        let (mut is_open, mut is_connecting) = (true, false);
        // How the next batch waits for locks, and how the one waits for which a connection was asked.
        let (mut wait, mut connecting_to_wait) = (LockWait::All, LockWait::All);
        // Whether other transactions lock the categories of the lane, so that each batch waits for its turn.
        let mut is_contended = false;
        // The number of appends that the next batch waits for, and until when.
        let (mut worth_filling, mut fill_until) = (0, Instant::now());
        // The size of the batch that was sent last.
        let mut sent = 0;
        loop {
            let is_idle = waiting.is_empty() && under_way.is_empty();
            let is_filling = waiting.len() < worth_filling && Instant::now() < fill_until;
            let is_second_worth_it =
                !is_contended && under_way.len() < UNDER_WAY && waiting.len() >= WORTH_SENDING.max(sent / 2);
            let is_worth_it = under_way.is_empty() || is_second_worth_it;
            if !is_connecting && !waiting.is_empty() && is_worth_it && !is_filling {
                connecting_to_wait = wait.clone();
                connecting.set(self.lanes.pool(&self.route, &wait).get().fuse());
                is_connecting = true;
            }
            let room = QUEUE.saturating_sub(waiting.len());
            tokio::select! {
                biased;
                Some((was_alone, settled)) = under_way.next() => {
                    if was_alone {
                        (wait, is_contended) = (wait.next(&self.route, &settled), settled.was_locked);
                    }
                    let Settled { left_out, answered, .. } = settled;
                    self.take_back(left_out, &mut waiting);
                    let all = (answered + waiting.len()).min(BATCH);
                    (worth_filling, fill_until) = (if is_contended { all } else { 0 }, Instant::now() + FILL);
                }
                () = tokio::time::sleep_until(fill_until.into()), if is_filling => worth_filling = 0,
                count = queue.recv_many(&mut received, room), if is_open && room > 0 => {
                    is_open = count > 0;
                    waiting.extend(received.drain(..));
                }
                connection = &mut connecting, if is_connecting => {
                    is_connecting = false;
                    match connection {
                        Ok(connection) => {
                            let batch = next_batch(&mut waiting, self.lanes.most_conditions());
                            if self.route.is_shared() && deserves_own_lane(&batch) {
                                connection.give_back();
                                self.lanes.give_own_lane(batch);
                            } else {
                                let (is_alone, wait) = (under_way.is_empty(), std::mem::take(&mut connecting_to_wait));
                                let (lanes, route) = (&self.lanes, &self.route);
                                sent = batch.len();
                                under_way.push(async move {
                                    (is_alone, lanes.settle(route, &wait, connection, batch).await)
                                });
                            }
                        }
                        Err(error) => answer_all(waiting.drain(..), &error),
                    }
                }
                () = tokio::time::sleep(IDLE), if is_idle && is_open => {
                    // A caller that comes now finds no lane or a closed one, and starts a new one.
                    self.lanes.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.route);
                    queue.close();
                }
                else => return,
            }
        }
    }

    /// Puts jobs that were left out of a batch before the waiting ones. Those that the shared lane has left out for long
    /// get a lane of their own.
    fn take_back(&self, left_out: Vec<Job>, waiting: &mut VecDeque<Job>) {
        let (mut late, now) = (Vec::new(), Instant::now());
        for mut job in left_out.into_iter().rev() {
            let left_out_at = *job.left_out_at.get_or_insert(now);
            if self.route.is_shared() && now.duration_since(left_out_at) >= LEFT_OUT {
                late.push(job);
            } else {
                waiting.push_front(job);
            }
        }
        if !late.is_empty() {
            late.reverse();
            self.lanes.give_own_lane(late);
        }
    }
}

/// Whether a batch deserves its own lane: it is large, and all of it is for the same categories.
fn deserves_own_lane(batch: &[Job]) -> bool {
    batch.len() >= WORTH_SENDING && {
        let first = categories(batch[0].work.in_batch());
        batch.iter().all(|job| categories(job.work.in_batch()) == first)
    }
}

/// Takes the next batch: the first jobs of the queue, as many as fit. A repeated message id goes to a later batch,
/// which then finds the message written. Jobs whose callers were dropped are left out.
fn next_batch(waiting: &mut VecDeque<Job>, most_conditions: usize) -> Vec<Job> {
    let (mut batch, mut ids, mut bytes, mut conditions) = (Vec::new(), HashSet::new(), 0, 0);
    while let Some(job) = waiting.front() {
        if job.answer.is_closed() {
            waiting.pop_front();
            continue;
        }
        let messages = || job.work.appends.iter().flat_map(|append| &append.messages);
        bytes += messages().map(crate::NewMessage::size).sum::<usize>();
        conditions += usize::from(job.work.condition.is_some());
        let fits = batch.len() < BATCH && bytes <= BATCH_BYTES && conditions <= most_conditions;
        if !batch.is_empty() && (!fits || messages().any(|message| ids.contains(&message.id))) {
            break;
        }
        ids.extend(messages().map(|message| message.id));
        batch.extend(waiting.pop_front());
    }
    batch
}
