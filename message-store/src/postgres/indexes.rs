//! Indexes of the messages that are built while writers work.
//!
//! Problem: a migration is one transaction, and an index that is built in it keeps all writers of the table waiting, for
//! minutes if the table is large. Fix: these indexes are built by CREATE INDEX CONCURRENTLY, which cannot be part of a
//! transaction, after the migrations. A build that was interrupted leaves an index that writers maintain and no reader
//! uses; the next call removes it and builds it again. Until then the store works without it, and reads more.
//!
//! Processes that migrate at the same time take turns. The turn is a lock of an open transaction that does nothing: the
//! build waits for transactions that use the table or see an old state of it, and this one does neither. A process whose
//! turn it is not asks again after a pause, because a statement that waits for a lock sees an old state while it waits.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::PostgresOptions;
use super::failure::{self, backend};
use super::pooler::{begin, in_transaction};
use super::row::get;
use crate::Result;

/// One index.
struct Index {
    name: &'static str,
    table: &'static str,
    /// The statement that creates it, with placeholders for its name, for its table and for CONCURRENTLY.
    definition: &'static str,
    /// What is slow without it.
    serves: &'static str,
}

const TAGS: &str = include_str!("../../migrations/postgres/indexes/tags.sql");
const CORRELATION: &str = include_str!("../../migrations/postgres/indexes/correlation.sql");

const INDEXES: [Index; 4] = [
    Index {
        name: "messages_tags",
        table: "messages",
        definition: TAGS,
        serves: "conditions and queries with tags read the whole table",
    },
    Index {
        name: "archived_messages_tags",
        table: "archived_messages",
        definition: TAGS,
        serves: "conditions and queries with tags read the whole archive",
    },
    Index {
        name: "messages_correlation",
        table: "messages",
        definition: CORRELATION,
        serves: "reads of a correlation read the whole table",
    },
    Index {
        name: "archived_messages_correlation",
        table: "archived_messages",
        definition: CORRELATION,
        serves: "reads of a correlation read the whole archive",
    },
];

/// The key of the advisory lock: the bytes of `msg_indx`. Other programs are unlikely to use it.
const LOCK: i64 = 0x6d73_675f_696e_6478;
const PAUSE: Duration = Duration::from_millis(250);
const TRY_LOCK: &str = include_str!("sql/try_lock.sql");
const STATE: &str = include_str!("sql/index_state.sql");
const DROP: &str = include_str!("sql/drop_index.sql");
const FORGET_VIEW: &str = include_str!("sql/forget_view.sql");
const NO_LIMITS: &str = include_str!("sql/no_limits.sql");

impl Index {
    fn create(&self, concurrently: &str) -> String {
        let definition = self.definition.replace("{concurrently}", concurrently);
        definition.replace("{name}", self.name).replace("{table}", self.table)
    }

    /// Whether it can be used. `None` if it is missing.
    async fn state(&self, client: &Client) -> Result<Option<bool>> {
        let row = client.query_one(STATE, &[&self.name]).await.map_err(backend("looking at the indexes"))?;
        get(&row, 0)
    }

    fn problem(&self, state: Option<bool>) -> Option<String> {
        let fault = match state {
            Some(true) => return None,
            Some(false) => "its build was interrupted",
            None => "it is missing",
        };
        Some(format!("{fault}: {}; build it with `migrate`, while writers work", self.serves))
    }
}

/// Creates the indexes of a table that was created in the same transaction.
pub(super) async fn create(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    for index in &INDEXES {
        transaction.batch_execute(&index.create("")).await?;
    }
    Ok(())
}

/// The indexes, and the problem of each, if it has one.
pub(super) async fn look(client: &Client) -> Result<Vec<(String, Option<String>)>> {
    let mut seen = Vec::with_capacity(INDEXES.len());
    for index in &INDEXES {
        seen.push((format!("index {}", index.name), index.problem(index.state(client).await?)));
    }
    Ok(seen)
}

/// Builds the indexes that are missing or whose build was interrupted. Logs a warning if this user may not.
pub(super) async fn build(options: &PostgresOptions, client: &mut Client) -> Result<()> {
    while in_transaction(client, look).await?.iter().any(|(_, problem)| problem.is_some()) {
        let context = "building the indexes";
        let turn = begin(client).await.map_err(backend(context))?;
        let row = turn.query_one(TRY_LOCK, &[&LOCK]).await.map_err(backend(context))?;
        if !get::<bool>(&row, 0)? {
            turn.rollback().await.map_err(backend(context))?;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let builder = options.connect().await?;
        if !options.is_behind_pooler() {
            builder.batch_execute(NO_LIMITS).await.map_err(backend(context))?;
        }
        let mut states = Vec::with_capacity(INDEXES.len());
        for index in &INDEXES {
            states.push(index.state(turn.client()).await?);
        }
        turn.batch_execute(FORGET_VIEW).await.map_err(backend(context))?;
        for (index, state) in INDEXES.iter().zip(states) {
            let Some(problem) = index.problem(state) else { continue };
            tracing::info!(target: "message_store::postgres", index = index.name, problem, "an index is built");
            match rebuild(&builder, index, state).await {
                Ok(()) => {}
                Err(error) if is_not_permitted(&error) => {
                    tracing::warn!(target: "message_store::postgres", index = index.name, %error, "this user may not build an index: {problem}");
                    return Ok(());
                }
                Err(error) => {
                    let context = format!("building the index {}, which the next `migrate` builds again", index.name);
                    return Err(failure::failed(context, error));
                }
            }
        }
        turn.commit().await.map_err(backend(context))?;
    }
    Ok(())
}

async fn rebuild(builder: &Client, index: &Index, state: Option<bool>) -> Result<(), tokio_postgres::Error> {
    if state.is_some() {
        builder.batch_execute(&DROP.replace("{name}", index.name)).await?;
    }
    builder.batch_execute(&index.create("CONCURRENTLY")).await
}

/// Whether another user can do it, or another server: this one is a standby.
fn is_not_permitted(error: &tokio_postgres::Error) -> bool {
    let codes = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION];
    error.code().is_some_and(|code| codes.contains(code))
}
