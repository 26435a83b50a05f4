//! Commits that wait for a synchronous standby.
//!
//! Problem: a transaction is committed on the primary before it waits for the standby. If its wait is cut, because an operator
//! cancels the statement, the server answers as if all were well, with a warning only: a failover can still lose the messages.
//! And an append that is repeated finds its messages written, commits nothing, and so waits for nothing: its answer would
//! acknowledge messages that the standby may lack. Fix: after the warning, the caller gets
//! [`CommitUnknown`](crate::Error::CommitUnknown). And before the answer to a repeat, a record is committed that says nothing.
//! Why it is right: the standby receives the records in their order, so it has the messages when it has the record.
//!
//! A message whose wait was cut is visible on the primary. What is decided on it is acknowledged only when the standby has both.

use super::PlantedBug;
use super::connection::Connection;
use super::failure::failed;
use crate::{Appended, Error, Result};

const WAIT_FOR_STANDBY: &str = include_str!("sql/wait_for_standby.sql");

/// The error of a call whose commit did not wait for the standby to the end.
pub(super) fn unknown() -> Error {
    let cause =
        "the wait for the synchronous standby was cut: the commit is on the primary, and perhaps not on the standby";
    Error::CommitUnknown { cause: cause.into() }
}

/// Waits until the synchronous standby, if there is one, has everything that was committed before.
pub(super) async fn wait_for_standby(connection: &Connection) -> Result<(), tokio_postgres::Error> {
    if connection.has(PlantedBug::RepeatsWaitForNoStandby) {
        return Ok(());
    }
    connection.query_one(WAIT_FOR_STANDBY, &[]).await.map(drop)
}

/// As [`wait_for_standby`], with the error of a call.
pub(super) async fn until_on_standby(connection: &Connection) -> Result<()> {
    let waited = wait_for_standby(connection).await;
    waited.map_err(|error| Error::CommitUnknown { cause: failed("waiting for the synchronous standby", error).into() })
}

/// An append that was not written now is acknowledged when the standby has it.
pub(super) async fn acknowledged(connection: &Connection, appended: Appended) -> Result<Appended> {
    if appended.already_written {
        until_on_standby(connection).await?;
    }
    Ok(appended)
}
