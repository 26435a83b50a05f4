//! A batch: sent, and every one of its jobs answered, whatever happens.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

use super::super::append::{self, APPEND, RACES, meaning};
use super::super::failure::{is_race, is_transient, is_unanswered};
use super::{Job, Lanes, Route, tell};
use crate::{Appended, Error, Result};

impl Lanes {
    /// Answers every job of a batch.
    pub(super) async fn settle(self: &Arc<Self>, route: &Route, connection: Object, batch: Vec<Job>) {
        let mut connection = Some(connection);
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop().filter(|batch| !batch.is_empty()) {
            match self.attempt(route, &mut connection, &batch).await {
                Ok(results) => {
                    for (job, result) in batch.into_iter().zip(results) {
                        self.remember(&job.appends, &result);
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

    async fn attempt(
        &self,
        route: &Route,
        connection: &mut Option<Object>,
        batch: &[Job],
    ) -> Result<Vec<Result<Appended>>, Failed> {
        let mut races = 0;
        loop {
            let current = match connection.take() {
                Some(current) => current,
                // The one before was lost, and with it nothing of this batch.
                None => self.pool(route).get().await.map_err(|error| Failed::All(Box::new(self.unsent(error))))?,
            };
            let error = match self.send_batch(connection.insert(current), batch).await {
                Ok(results) => return Ok(results),
                Err(error) => error,
            };
            if is_unanswered(&error) {
                // Given back first: nobody holds a connection while waiting for another.
                *connection = None;
                return self.send_again(route, connection, batch, &error).await;
            }
            match error.as_db_error() {
                Some(db_error) if races < RACES && is_race(db_error) => races += 1,
                Some(db_error) if route.is_shared() && *db_error.code() == SqlState::LOCK_NOT_AVAILABLE => {
                    return Err(Failed::Locked);
                }
                Some(db_error) if is_transient(db_error.code()) => return Err(Failed::passing(&error)),
                _ => return Err(Failed::Refused(error)),
            }
        }
    }

    /// After the connection was lost: what was written answers with its first places. Whatever else comes of it, nobody knows
    /// what became of the first time.
    async fn send_again(
        &self,
        route: &Route,
        connection: &mut Option<Object>,
        batch: &[Job],
        lost: &tokio_postgres::Error,
    ) -> Result<Vec<Result<Appended>>, Failed> {
        let another = self.pool(route).get().await.map_err(|_| Failed::unanswered(lost))?;
        self.send_batch(connection.insert(another), batch).await.map_err(|_| Failed::unanswered(lost))
    }

    async fn send_batch(
        &self,
        connection: &Object,
        batch: &[Job],
    ) -> Result<Vec<Result<Appended>>, tokio_postgres::Error> {
        let statement = connection.prepare_cached(APPEND).await?;
        let appends = batch.iter().map(|job| &job.appends[..]);
        append::send(connection, &statement, appends, |stream| self.known.get(stream)).await
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
        Self::All(Box::new(move || Error::CommitUnknown { cause: text.clone().into() }))
    }
}
