//! Keys held across processes: advisory locks of one session.
//!
//! All keys of an open store are held by one connection of their own, so that callers that work hold none from the pool. The server frees
//! them when the connection ends, with this process or without it. No statement on it waits for a lock. Should the server not answer one
//! all the same, the connection is left to the callers that hold keys by it, and the next caller is given a new one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::connection::Connection;
use super::failure::backend;
use super::session::Session;
use crate::store::{Claim, name_for_locks};
use crate::{Error, Result};

const TAKE: &str = include_str!("sql/try_lock.sql");
const FREE: &str = include_str!("sql/unlock.sql");

/// How long the server may take to say whether a key is free.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A lock of the session; freed when it is dropped.
pub(super) struct Lock {
    connection: Arc<Connection>,
    number: i64,
    runtime: tokio::runtime::Handle,
}

/// The key, if no other process has it. Callers of this process must have settled it among themselves: to the server
/// they are one.
pub(super) async fn try_hold(session: &Arc<Session>, claim: &Claim) -> Result<Option<Lock>> {
    let number = name_for_locks(claim).as_u64_pair().0.cast_signed();
    let runtime = tokio::runtime::Handle::current();
    let session = Arc::clone(session);
    // In a task of its own: a lock that is granted to a caller that has gone is freed again.
    let attempt = runtime.clone().spawn(async move {
        let connection = session.connection().await?;
        let take = async {
            let statement = connection.prepare_cached(TAKE).await?;
            let row = connection.query_one(&statement, &[&number]).await?;
            row.try_get::<_, bool>(0)
        };
        let Ok(taken) = timeout(ANSWER_WITHIN, take).await else {
            session.give_up(&connection).await;
            return Err(Error::backend("holding a key", true, "the server does not answer"));
        };
        let taken = taken.map_err(backend("holding a key"))?;
        Ok(taken.then(|| Lock { connection, number, runtime }))
    });
    attempt.await.unwrap_or_else(|error| Err(Error::backend("holding a key", false, error)))
}

impl Drop for Lock {
    fn drop(&mut self) {
        let (connection, number) = (Arc::clone(&self.connection), self.number);
        self.runtime.spawn(async move {
            let freed = async {
                let statement = connection.prepare_cached(FREE).await?;
                connection.query_one(&statement, &[&number]).await
            };
            if let Err(error) = freed.await {
                tracing::debug!(error = crate::chain(&error), "a key was freed with its connection");
            }
        });
    }
}
