//! Sends a batch, and answers each of its jobs in every case.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::super::PlantedBug;
use super::super::append::{self, RACES, Sent, meaning};
use super::super::append_one::{APPEND_ONE, only_message, send_one};
use super::super::connection::Connection;
use super::super::failure::{self, Meaning, is_race, is_unanswered};
use super::super::replication;
use super::lock_wait::LockWait;
use super::{Job, Lanes, Route, SHORT_WAIT, Work, answer_all};
use crate::telemetry::is_on;
use crate::{Appended, Error, GlobalPosition, History, Result};

/// The number of pieces in which the conditions of a batch that took too long are tried once more.
const PIECES: usize = 8;
/// How often a single append is tried again while the server has no locks for it, and the first of the pauses before that, which
/// grow.
const PAUSES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// What a lane learns from a batch.
#[derive(Default)]
pub(super) struct Settled {
    /// The jobs that were left out, because another transaction has locked one of their categories.
    pub(super) left_out: Vec<Job>,
    /// The number of jobs that were answered.
    pub(super) answered: usize,
    /// A category that another transaction has locked, if a job was left out for it.
    pub(super) locked: Option<String>,
    /// Whether a lock did not come in time. Then all jobs of the batch were left out.
    pub(super) has_timed_out: bool,
    /// Whether another transaction had locked a category of the batch.
    pub(super) was_locked: bool,
}

impl Lanes {
    /// Sends a batch and answers its jobs, except those that are left out. If the future is dropped, the statement is
    /// cancelled.
    pub(super) async fn settle(
        &self,
        route: &Route,
        wait: &LockWait,
        connection: Connection,
        batch: Vec<Job>,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut connection = Some(connection);
        let mut batches = vec![batch];
        let mut took_too_long = false;
        while let Some(batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let (work, (mut answers, left_out)): (Vec<Work>, (Vec<_>, Vec<_>)) =
                batch.into_iter().map(|job| (job.work, (job.answer, job.left_out_at))).unzip();
            let begun = Instant::now();
            let conditions = work.iter().filter(|work| work.condition.is_some()).count();
            let outcome = tokio::select! {
                biased;
                outcome = self.try_batch(route, wait, &mut connection, &work) => outcome,
                () = all_dropped(&mut answers), if !self.histories.has(PlantedBug::AbandonedBatchesGoOn) => {
                    connection = None;
                    continue;
                }
            };
            let jobs = work.into_iter().zip(answers.into_iter().zip(left_out));
            let mut batch: Vec<Job> =
                jobs.map(|(work, (answer, left_out_at))| Job { work, answer, left_out_at }).collect();
            match outcome {
                Ok((history, sent)) => {
                    settled.was_locked |= sent.has_waited || sent.locked.is_some();
                    self.batch_size.record(batch.len());
                    if !sent.has_waited {
                        self.conditions.took(conditions, begun.elapsed());
                    } else if is_on() {
                        self.lock_wait.record_time(begun.elapsed());
                    }
                    if let Some(stream) = &sent.locked {
                        settled.locked = Some(stream.category_str().to_owned());
                    }
                    for (job, result) in batch.into_iter().zip(sent.results) {
                        let Some(result) = result else {
                            settled.left_out.push(job);
                            continue;
                        };
                        self.remember(history, &job.work.appends, &result);
                        // A dropped caller takes no answer. Its append remains written.
                        let _ = job.answer.send(result);
                        settled.answered += 1;
                    }
                }
                Err(Failed::Locked) => {
                    (settled.has_timed_out, settled.was_locked) = (true, true);
                    settled.left_out.append(&mut batch);
                }
                Err(Failed::OtherHistory(history)) => {
                    let (of_this, others): (Vec<_>, Vec<_>) =
                        batch.into_iter().partition(|job| job.work.history == history);
                    answer_all(others, &Error::HistoryChanged { store: self.place.clone() });
                    batches.push(of_this);
                }
                Err(Failed::TooLong(_)) if !took_too_long => {
                    took_too_long = true;
                    self.conditions.took_too_long(conditions);
                    let (slow, quick): (Vec<_>, Vec<_>) =
                        batch.into_iter().partition(|job| job.work.condition.is_some());
                    let size = slow.len().div_ceil(PIECES).max(1);
                    let mut slow = slow.into_iter().peekable();
                    while slow.peek().is_some() {
                        batches.push(slow.by_ref().take(size).collect());
                    }
                    batches.push(quick);
                }
                Err(Failed::Refused(_)) if batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Err(Failed::Refused(error)) => {
                    if let Some(job) = batch.pop() {
                        let error = meaning(error, &job.work.appends);
                        let _ = job.answer.send(Err(error));
                    }
                }
                Err(Failed::TooLong(error) | Failed::All(error)) => answer_all(batch, &error),
            }
        }
        if let Some(connection) = connection {
            connection.give_back();
        }
        settled
    }

    async fn try_batch(
        &self,
        route: &Route,
        wait: &LockWait,
        connection: &mut Option<Connection>,
        batch: &[Work],
    ) -> Result<(History, Sent), Failed> {
        let (mut races, mut losses, mut pauses) = (0, 0, 0);
        loop {
            let current = match connection.take().filter(Connection::is_current) {
                Some(current) => current,
                None => self.pool(route, wait).get().await.map_err(Failed::All)?,
            };
            let history = current.history();
            if batch.iter().any(|work| work.history != history) {
                *connection = Some(current);
                return Err(Failed::OtherHistory(history));
            }
            let error = match self
                .write_batch(connection.insert(current), batch, (wait.wait_for(), wait.is_short(route)))
                .await
            {
                Ok(sent) => return Ok((history, sent)),
                Err(Unsuccessful::OtherHistory) => {
                    *connection = None;
                    continue;
                }
                Err(Unsuccessful::Unsent(error)) if is_unanswered(&error) && losses == 0 => {
                    (*connection, losses) = (None, 1);
                    continue;
                }
                Err(Unsuccessful::Unsent(error)) => {
                    return Err(Failed::All(failure::failed("preparing an append; nothing was sent", error)));
                }
                Err(Unsuccessful::Unreplicated(error)) if !is_unanswered(&error) => {
                    return Err(Failed::All(Error::CommitUnknown { cause: error.into() }));
                }
                Err(Unsuccessful::CutWait) => return Err(Failed::All(replication::unknown())),
                Err(Unsuccessful::Sent(error) | Unsuccessful::Unreplicated(error)) => error,
            };
            if is_unanswered(&error) {
                // Closes the connection before another one is awaited. If callers kept connections while they wait for
                // others, the pool could run empty and all would wait for ever.
                *connection = None;
                return self.send_again(route, wait, connection, batch, &error).await;
            }
            match error.as_db_error() {
                Some(db_error) if races < RACES && is_race(db_error) => races += 1,
                Some(db_error) if wait.is_short(route) && *db_error.code() == SqlState::LOCK_NOT_AVAILABLE => {
                    return Err(Failed::Locked);
                }
                // The halves of a batch need fewer locks.
                Some(db_error) if batch.len() > 1 && self.is_too_large(db_error.code()) => {
                    return Err(Failed::Refused(error));
                }
                // The batches before it have the locks, and end soon.
                Some(db_error) if pauses < PAUSES && self.is_too_large(db_error.code()) => {
                    pauses += 1;
                    sleep(PAUSE * pauses).await;
                }
                Some(db_error) if self.took_too_long(batch, failure::meaning(db_error.code())) => {
                    return Err(Failed::TooLong(failure::failed("appending; nothing was written", error)));
                }
                Some(db_error) if self.concerns_all(failure::meaning(db_error.code())) => {
                    return Err(Failed::All(failure::failed("appending; nothing was written", error)));
                }
                _ => return Err(Failed::Refused(error)),
            }
        }
    }

    /// Whether a batch needs more locks than the server has.
    fn is_too_large(&self, state: &SqlState) -> bool {
        *state == SqlState::OUT_OF_MEMORY && !self.histories.has(PlantedBug::FullLockTablesConcernAll)
    }

    /// Whether the conditions of the batch took longer together than one statement may. Alone, each may be quick.
    fn took_too_long(&self, batch: &[Work], meaning: Meaning) -> bool {
        let has_conditions = batch.iter().any(|work| work.condition.is_some());
        meaning == Meaning::TimedOut
            && batch.len() > 1
            && has_conditions
            && !self.histories.has(PlantedBug::ConditionsTimeOutTogether)
    }

    /// Whether the failure concerns the whole batch, so that its halves would fail too.
    fn concerns_all(&self, meaning: Meaning) -> bool {
        meaning == Meaning::Passing
            || (meaning == Meaning::TimedOut && !self.histories.has(PlantedBug::TimeOutsAreHalved))
    }

    /// Sends a batch once more after its connection was lost. Appends that the first statement wrote return their
    /// places. If anything fails here, the result of the first statement remains unknown.
    async fn send_again(
        &self,
        route: &Route,
        wait: &LockWait,
        connection: &mut Option<Connection>,
        batch: &[Work],
        lost: &tokio_postgres::Error,
    ) -> Result<(History, Sent), Failed> {
        let unknown = || Failed::All(Error::CommitUnknown { cause: crate::chain(lost).into() });
        // It waits for all locks, so it must not wait for one of them for long.
        let pool = if route.has_several_categories() { &self.short_wait } else { self.pool(route, wait) };
        let another = pool.get().await.map_err(|_| unknown())?;
        let another = connection.insert(another);
        let history = another.history();
        if batch.iter().any(|work| work.history != history) {
            return Err(unknown());
        }
        // The lost transaction may still have the locks, so this one has to wait for all of them.
        let mut sent =
            self.write_batch(another, batch, (None, route.has_several_categories())).await.map_err(|_| unknown())?;
        if !self.histories.has(PlantedBug::LostAnswersCountAsBefore) {
            for (work, result) in batch.iter().zip(&mut sent.results) {
                let seen = if self.histories.has(PlantedBug::LostAnswersCountAsNow) {
                    GlobalPosition::ZERO
                } else {
                    work.seen
                };
                count_as_written_now(seen, result);
            }
        }
        Ok((history, sent))
    }

    /// Sends a batch, in the history of the connection or not at all.
    async fn write_batch(
        &self,
        connection: &Connection,
        batch: &[Work],
        (wait_for, is_short): (Option<&str>, bool),
    ) -> Result<Sent, Unsuccessful> {
        if !connection.begin_writing(is_short.then_some(SHORT_WAIT)).await.map_err(Unsuccessful::Unsent)? {
            return Err(Unsuccessful::OtherHistory);
        }
        let sent = self.send_batch(connection, batch, wait_for).await;
        connection.end_writing(sent.is_ok()).await.map_err(Unsuccessful::Sent)?;
        let sent = sent?;
        let is_repeat = |result: &Result<Appended>| result.as_ref().is_ok_and(|appended| appended.already_written);
        if sent.results.iter().flatten().any(is_repeat) {
            replication::wait_for_standby(connection).await.map_err(Unsuccessful::Unreplicated)?;
        }
        if connection.takes_cut_wait() { Err(Unsuccessful::CutWait) } else { Ok(sent) }
    }

    async fn send_batch(
        &self,
        connection: &Connection,
        batch: &[Work],
        wait_for: Option<&str>,
    ) -> Result<Sent, Unsuccessful> {
        let sent = if let Some(sent) = self.send_alone(connection, batch, wait_for).await? {
            sent
        } else {
            let (batch, history) = (batch.iter().map(Work::in_batch), connection.history());
            let statement = append::statement(batch.clone());
            let statement = connection.prepare_cached(statement).await.map_err(Unsuccessful::Unsent)?;
            let known = |stream: &_| self.known(history, stream);
            append::send(connection, &statement, batch, known, wait_for).await.map_err(Unsuccessful::Sent)?
        };
        let written = batch.iter().zip(&sent.results).filter_map(|(work, result)| {
            let messages = work.appends.iter().flat_map(|append| &append.messages);
            let last = result.as_ref()?.as_ref().ok()?.written.iter().zip(messages);
            last.map(|(place, message)| (place.global_position, message.id)).max()
        });
        if let Some((global_position, id)) = written.max() {
            connection.record_seen(Some(global_position));
            connection.record_message(id, global_position);
        }
        Ok(sent)
    }

    /// Sends a batch that is a single message by the shorter statement. `None` if it is not, or was not written that
    /// way.
    async fn send_alone(
        &self,
        connection: &Connection,
        batch: &[Work],
        wait_for: Option<&str>,
    ) -> Result<Option<Sent>, Unsuccessful> {
        let only = only_message(batch.iter().map(Work::in_batch)).filter(|_| wait_for.is_none());
        let Some((append, message)) = only else { return Ok(None) };
        let statement = connection.prepare_cached(APPEND_ONE).await.map_err(Unsuccessful::Unsent)?;
        let known = |stream: &_| self.known(connection.history(), stream);
        send_one(connection, &statement, append, message, known).await.map_err(Unsuccessful::Sent)
    }
}

/// Decides, after a lost answer, whether the call itself wrote the messages: it did if they are all above the highest
/// position that was known when the call began.
fn count_as_written_now(seen: GlobalPosition, result: &mut Option<Result<Appended>>) {
    if let Some(Ok(appended)) = result {
        appended.already_written &= appended.written.iter().any(|written| written.global_position <= seen);
    }
}

/// Waits until every caller of these answers has been dropped.
async fn all_dropped(answers: &mut [oneshot::Sender<Result<Appended>>]) {
    for answer in answers {
        answer.closed().await;
    }
}

enum Unsuccessful {
    /// Nothing of the batch was sent.
    Unsent(tokio_postgres::Error),
    /// The server has another history than the connection had. Nothing was written.
    OtherHistory,
    Sent(tokio_postgres::Error),
    /// The batch is carried out, and the wait for the standby has failed.
    Unreplicated(tokio_postgres::Error),
    /// The batch is committed, and did not wait for the standby to the end.
    CutWait,
}

enum Failed {
    /// Another session has kept a category's lock longer than the lanes wait. Nothing was written.
    Locked,
    /// The connection belongs to this history, and some appends were decided in another one. Nothing was sent.
    OtherHistory(History),
    /// One append of the batch may have caused the error. Nothing was written.
    Refused(tokio_postgres::Error),
    /// The batch has conditions, and took longer than a statement may. Nothing was written.
    TooLong(Error),
    /// The error concerns all appends of the batch.
    All(Error),
}
