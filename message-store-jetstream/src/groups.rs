//! Groups of appends: appends that wait at the same time share one batch.
//!
//! Problem: a server writes few batches in a second, because each has a cost of its own: one flush, if the server flushes before
//! it answers. Fix: while batches are under way, later appends gather, and the next batch has the records of all of them. Why it is
//! right: a batch is written whole, so each append of it is; and the records of each keep their conditions, which the
//! server compares with the records before them in the batch too. If the server refuses
//! the batch, one of the conditions is not true, so each append is sent by itself: one that fails does not fail the others.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};

use crate::batch::{Entry, MAX_RECORDS};
use crate::failure::Failure;
use crate::log::Log;

/// The groups that are under way at once.
const UNDER_WAY: usize = 4;
/// The bytes of a group. A single append may be larger.
const BYTES: usize = 4 << 20;

/// The appends that wait.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    queue: Arc<Mutex<Queue>>,
    /// Held while a group is sent, and by an append that needs to be alone.
    gate: Arc<RwLock<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    under_way: usize,
}

/// An append that waits.
#[derive(Debug)]
struct Waiting {
    entries: Vec<Entry>,
    answer: oneshot::Sender<Result<u64, Failure>>,
}

impl Groups {
    /// Waits until no group is under way, and lets none begin.
    pub(crate) async fn pause(&self) -> Pause {
        Pause(Arc::clone(&self.gate).write_owned().await)
    }

    /// Writes records, all of them or none, perhaps together with others. Returns the sequence number of the first one. The others
    /// follow it; marks, which come last, may be left out.
    pub(crate) async fn commit(&self, log: &Log, entries: Vec<Entry>) -> Result<u64, Failure> {
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(Waiting { entries, answer });
            let starts = queue.under_way < UNDER_WAY;
            queue.under_way += usize::from(starts);
            starts
        };
        if starts {
            // Not in the task of a caller: it may leave, and others wait.
            let running = Running { queue: Arc::clone(&self.queue), has_ended: false };
            tokio::spawn(run(running, log.clone(), Arc::clone(&self.gate)));
        }
        answered.await.unwrap_or_else(|_| Err(Failure::NoAnswer("the task that sent it was ended".into())))
    }
}

/// While it is held, no group is sent.
#[derive(Debug)]
pub(crate) struct Pause(#[expect(dead_code, reason = "it is held")] OwnedRwLockWriteGuard<()>);

/// A task that sends groups while appends wait.
struct Running {
    queue: Arc<Mutex<Queue>>,
    has_ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // The runtime has ended the task, perhaps of another caller. That one tries again.
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.under_way -= 1;
        queue.waiting.clear();
    }
}

impl Running {
    /// The appends of the next group. With none, the task has ended, so that a later append begins another one.
    fn next(&mut self) -> Vec<Waiting> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut group, mut records, mut bytes, mut documents) = (Vec::new(), 0, 0, HashSet::new());
        while let Some(next) = queue.waiting.front() {
            records += next.entries.len();
            bytes += next.entries.iter().map(|entry| entry.payload().len()).sum::<usize>();
            let is_too_much = records > MAX_RECORDS || bytes > BYTES;
            // A batch has one record of a document.
            let is_written =
                |entry: &Entry| entry.is_document() && !entry.is_mark() && documents.contains(entry.subject());
            if !group.is_empty() && (is_too_much || next.entries.iter().any(is_written)) {
                break;
            }
            let written = next.entries.iter().filter(|entry| entry.is_document());
            documents.extend(written.map(|entry| entry.subject().to_owned()));
            group.extend(queue.waiting.pop_front());
        }
        if group.is_empty() {
            // In the same lock, so that an append that comes now starts another task.
            queue.under_way -= 1;
            self.has_ended = true;
        }
        group
    }
}

async fn run(mut running: Running, log: Log, gate: Arc<RwLock<()>>) {
    loop {
        let _open = gate.read().await;
        let group = running.next();
        if group.is_empty() {
            return;
        }
        send(group, &log).await;
    }
}

async fn send(group: Vec<Waiting>, log: &Log) {
    let (mut records, mut firsts) = (Vec::<Entry>::new(), Vec::new());
    let mut marks = HashSet::new();
    for waiting in &group {
        firsts.push(records.len() as u64);
        // The mark of a category is written once: it says the same for each.
        let is_new = |entry: &&Entry| !entry.is_mark() || marks.insert(entry.subject().to_owned());
        records.extend(waiting.entries.iter().filter(is_new).cloned());
    }
    match log.commit(&records).await {
        Ok(last) => {
            let first = last + 1 - records.len() as u64;
            for (waiting, before) in group.into_iter().zip(firsts) {
                // The caller may have left.
                let _ = waiting.answer.send(Ok(first + before));
            }
        }
        Err(Failure::Refused(error)) if group.len() > 1 && error.is_overtaken() => {
            let alone = group.into_iter().map(async |waiting| {
                let last = log.commit(&waiting.entries).await;
                let _ = waiting.answer.send(last.map(|last| last + 1 - waiting.entries.len() as u64));
            });
            join_all(alone).await;
        }
        Err(failure) => {
            for waiting in group {
                let _ = waiting.answer.send(Err(failure.again()));
            }
        }
    }
}
