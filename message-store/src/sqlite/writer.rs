//! The thread that writes.
//!
//! Problem: each durable commit waits for the disk, and SQLite has one writer at a time. Fix: while a commit is under
//! way, appends gather in a queue, and all of them share the next commit. An idle store commits at once, without a wait
//! for more appends. Each append still has its own result: it is checked before its first row is written, so a refused
//! one leaves nothing in the shared transaction, and it is answered after the commit. If the database itself fails in one,
//! the transaction is rolled back, and each is carried out alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::append::{Conditional, append};
use super::archive_changes::{self, ArchiveChange};
use super::erasure_changes::{self, ErasureChange};
use super::failure::{Failed, failed, is_io};
use super::lease_changes::{self, LeaseChange, LeaseChanged};
use super::snapshot_changes::{self, SnapshotChange};
use super::turns::Turns;
use super::{location, once, report_changes, timer_changes};
use crate::store::{ArchiveRun, Claim, ClaimRecord, ErasureRun, Fence, Timer, TimerChange, TimerChanged, WakeUps};
use crate::telemetry::Histogram;
use crate::telemetry::metric::APPEND_BATCH;
use crate::{Append, Appended, Error, Json, Result, StreamName};

/// The number of requests that may wait. Further callers wait for room.
const QUEUE: usize = 1024;
/// The greatest number of requests that share a commit.
const GROUP: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct Writer(mpsc::Sender<Job>);

struct Job {
    request: Request,
    answer: oneshot::Sender<Result<Reply>>,
}

/// One caller's part of the shared transaction.
enum Request {
    Append(Conditional, Vec<TimerChange>, Option<Fence>),
    Once(Claim, Conditional, Json),
    Find(Claim),
    Lease(Claim, Uuid, Duration),
    Release(Claim, Uuid),
    Sweep(u32),
    ChangeLease(LeaseChange),
    ChangeTimers(Vec<TimerChange>),
    FireTimers(Vec<Timer>),
    ChangeSnapshot(SnapshotChange),
    Archive(ArchiveChange),
    Erase(ErasureChange),
    SaveReport(Uuid, Json),
}

enum Reply {
    Appended(Appended),
    Found(Option<ClaimRecord>),
    Swept(u64),
    Leased(bool),
    Released,
    LeaseChanged(LeaseChanged),
    TimersChanged(Vec<TimerChanged>),
    /// The number of timers, and the streams that have new messages.
    Fired(usize, Vec<StreamName>),
    SnapshotChanged,
    Archived(ArchiveRun),
    Erased(ErasureRun),
    ReportSaved,
}

impl Writer {
    pub(super) fn start(connection: Arc<Mutex<Connection>>, turns: Turns, wake_ups: Arc<WakeUps>) -> Result<Self> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("message-store-writer".to_owned())
            .spawn(move || run(&connection, turns, jobs, &wake_ups))
            .map_err(|error| Error::backend("starting the writer thread", false, error))?;
        Ok(Self(sender))
    }

    /// Changes timers too, if the messages are new. With a fence, the append is refused if the fence's slot is lost.
    pub(super) async fn append(
        &self,
        append: Conditional,
        timers: Vec<TimerChange>,
        fence: Option<Fence>,
    ) -> Result<Appended> {
        match self.ask(Request::Append(append, timers, fence)).await? {
            Reply::Appended(appended) => Ok(appended),
            _ => Err(Error::backend("appending to the SQLite store", false, "the writer answered something else")),
        }
    }

    /// The record of a taken key. `None` if the key was free, and this call took it.
    pub(super) async fn append_once(
        &self,
        claim: Claim,
        append: Conditional,
        result: Json,
    ) -> Result<Option<ClaimRecord>> {
        self.ask(Request::Once(claim, append, result)).await.map(Reply::record)
    }

    /// The record of a key. A sliding window begins again.
    pub(super) async fn record(&self, claim: Claim) -> Result<Option<ClaimRecord>> {
        self.ask(Request::Find(claim)).await.map(Reply::record)
    }

    /// Returns whether the owner now has the lease.
    pub(super) async fn lease(&self, claim: Claim, owner: Uuid, time: Duration) -> Result<bool> {
        Ok(matches!(self.ask(Request::Lease(claim, owner, time)).await?, Reply::Leased(true)))
    }

    pub(super) async fn release(&self, claim: Claim, owner: Uuid) -> Result<()> {
        self.ask(Request::Release(claim, owner)).await.map(drop)
    }

    pub(super) async fn sweep(&self, batch: u32) -> Result<u64> {
        match self.ask(Request::Sweep(batch)).await? {
            Reply::Swept(swept) => Ok(swept),
            _ => Ok(0),
        }
    }

    pub(super) async fn change_lease(&self, change: LeaseChange) -> Result<LeaseChanged> {
        match self.ask(Request::ChangeLease(change)).await? {
            Reply::LeaseChanged(changed) => Ok(changed),
            _ => Err(Error::backend("changing a lease", false, "the writer answered something else")),
        }
    }

    pub(super) async fn change_timers(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        match self.ask(Request::ChangeTimers(changes)).await? {
            Reply::TimersChanged(changed) => Ok(changed),
            _ => Err(Error::backend("changing timers", false, "the writer answered something else")),
        }
    }

    /// Returns the number of timers that were removed.
    pub(super) async fn fire_timers(&self, timers: Vec<Timer>) -> Result<usize> {
        match self.ask(Request::FireTimers(timers)).await? {
            Reply::Fired(fired, _) => Ok(fired),
            _ => Err(Error::backend("firing timers", false, "the writer answered something else")),
        }
    }

    pub(super) async fn change_snapshot(&self, change: SnapshotChange) -> Result<()> {
        self.ask(Request::ChangeSnapshot(change)).await.map(drop)
    }

    pub(super) async fn archive(&self, change: ArchiveChange) -> Result<ArchiveRun> {
        match self.ask(Request::Archive(change)).await? {
            Reply::Archived(run) => Ok(run),
            _ => Err(Error::backend("archiving messages", false, "the writer answered something else")),
        }
    }

    pub(super) async fn erase(&self, change: ErasureChange) -> Result<ErasureRun> {
        match self.ask(Request::Erase(change)).await? {
            Reply::Erased(run) => Ok(run),
            _ => Err(Error::backend("erasing messages", false, "the writer answered something else")),
        }
    }

    pub(super) async fn save_report(&self, service: Uuid, report: Json) -> Result<()> {
        self.ask(Request::SaveReport(service, report)).await.map(drop)
    }

    async fn ask(&self, request: Request) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Job { request, answer }).await.is_err() {
            return Err(Error::backend("writing to the SQLite store", false, "its writer thread has ended"));
        }
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { cause: error.into() }))
    }
}

impl Request {
    /// Whether the request must survive a loss of power. A lease, a snapshot and a report may be lost.
    fn must_last(&self) -> bool {
        let may_be_lost =
            matches!(self, Self::Lease(..) | Self::Release(..) | Self::ChangeSnapshot(_) | Self::SaveReport(..));
        !may_be_lost && !matches!(self, Self::ChangeLease(LeaseChange::Renew(..)))
    }

    /// What it writes if it is carried out.
    fn appends(&self) -> &[Append] {
        match self {
            Self::Append((appends, _), ..) | Self::Once(_, (appends, _), _) => appends,
            _ => &[],
        }
    }
}

impl Reply {
    fn record(self) -> Option<ClaimRecord> {
        match self {
            Self::Found(record) => record,
            _ => None,
        }
    }
}

fn run(connection: &Mutex<Connection>, mut turns: Turns, mut jobs: mpsc::Receiver<Job>, wake_ups: &WakeUps) {
    let mut group = Vec::with_capacity(GROUP);
    let mut was_durable = true;
    let batch_size = Histogram::of(&APPEND_BATCH, &[]);
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        batch_size.record(group.len());
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let results = commit(&mut connection, &mut turns, &group, &mut was_durable);
        drop(connection);
        let mut streams = Vec::with_capacity(group.len());
        for (job, result) in group.iter().zip(&results) {
            if let Ok(Reply::Fired(_, written_to)) = result {
                streams.extend(written_to);
            }
            // Readers wake only for new messages.
            let Ok(Reply::Appended(Appended { already_written: false, .. }) | Reply::Found(None)) = result else {
                continue;
            };
            for append in job.request.appends() {
                streams.push(&append.stream);
            }
        }
        wake_ups.wake_for(streams);
        for (job, result) in group.drain(..).zip(results) {
            // A dropped caller takes no answer. Its append remains written.
            let _ = job.answer.send(result);
        }
    }
}

/// How far a transaction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    Performing,
    Committing,
}

/// Commits a group, and returns one result for each job. If the database fails while it carries out one of them (a table
/// is missing, say), each is carried out in a transaction of its own, so that the others do not fail with it.
fn commit(connection: &mut Connection, turns: &mut Turns, group: &[Job], was_durable: &mut bool) -> Vec<Result<Reply>> {
    let mut stage = Stage::Beginning;
    match commit_at_once(connection, turns, group, was_durable, &mut stage) {
        Ok(results) => results,
        Err(error) if stage == Stage::Performing && group.len() > 1 && !is_io(&error) => {
            let alone = |job| commit(connection, turns, std::slice::from_ref(job), was_durable);
            group.iter().flat_map(alone).collect()
        }
        Err(error) => {
            let error = transaction_failed(error, stage);
            group.iter().map(|_| Err(error.shared())).collect()
        }
    }
}

/// Commits a group in one transaction. A commit that need not survive a loss of power does not wait for the disk.
fn commit_at_once(
    connection: &mut Connection,
    turns: &mut Turns,
    group: &[Job],
    was_durable: &mut bool,
    stage: &mut Stage,
) -> rusqlite::Result<Vec<Result<Reply>>> {
    let is_durable = group.iter().any(|job| job.request.must_last());
    if is_durable != *was_durable {
        location::set_durable(connection, is_durable)?;
        *was_durable = is_durable;
    }
    let turn = turns.take();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop(turn);
    *stage = Stage::Performing;
    let mut results = Vec::with_capacity(group.len());
    for job in group {
        results.push(match perform(&transaction, &job.request) {
            Ok(reply) => Ok(reply),
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Database(error)) => return Err(error),
        });
    }
    *stage = Stage::Committing;
    transaction.commit()?;
    Ok(results)
}

/// The error for all requests of a failed transaction. It was rolled back, so nothing was written. Only if the file
/// failed during the commit, it is unknown whether the disk contains the transaction.
fn transaction_failed(error: rusqlite::Error, stage: Stage) -> Error {
    if stage == Stage::Committing && is_io(&error) {
        return Error::CommitUnknown { cause: error.into() };
    }
    failed("committing to the SQLite store; nothing was written", error)
}

fn perform(transaction: &Transaction<'_>, request: &Request) -> Result<Reply, Failed> {
    Ok(match request {
        Request::Append(conditional, timers, fence) => {
            if let Some(fence) = fence {
                lease_changes::assert_owned(transaction, fence)?;
            }
            let appended = append(transaction, conditional)?;
            if !appended.already_written {
                timer_changes::change(transaction, timers)?;
            }
            Reply::Appended(appended)
        }
        Request::ChangeTimers(changes) => Reply::TimersChanged(timer_changes::change(transaction, changes)?),
        Request::FireTimers(timers) => {
            let (fired, written_to) = timer_changes::fire(transaction, timers)?;
            Reply::Fired(fired, written_to)
        }
        Request::ChangeLease(change) => Reply::LeaseChanged(lease_changes::change(transaction, change)?),
        Request::ChangeSnapshot(change) => {
            snapshot_changes::change(transaction, change)?;
            Reply::SnapshotChanged
        }
        Request::SaveReport(service, report) => {
            report_changes::save(transaction, *service, report)?;
            Reply::ReportSaved
        }
        Request::Archive(change) => Reply::Archived(archive_changes::change(transaction, change)?),
        Request::Erase(change) => Reply::Erased(erasure_changes::change(transaction, change)?),
        Request::Once(claim, conditional, result) => {
            let record = once::record(transaction, claim)?;
            if record.is_none() {
                if !conditional.0.is_empty() {
                    append(transaction, conditional)?;
                }
                once::take(transaction, claim, result)?;
            }
            Reply::Found(record)
        }
        Request::Find(claim) => Reply::Found(once::record(transaction, claim)?),
        Request::Lease(claim, owner, time) => Reply::Leased(once::lease(transaction, claim, *owner, *time)?),
        Request::Release(claim, owner) => {
            once::release(transaction, claim, *owner)?;
            Reply::Released
        }
        Request::Sweep(batch) => Reply::Swept(once::sweep(transaction, *batch)?),
    })
}
