//! Poolers that hand out transactions, such as `PgBouncer`: whether one is between this process and the server.
//!
//! Problem: behind such a pooler, what belongs to a session (its settings, prepared statements, LISTEN, locks) is lost
//! or reaches another program. Fix: the first connection asks for a setting, and looks whether it has arrived. A server
//! takes it, and a pooler refuses or ignores it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, IsolationLevel, SimpleQueryMessage, Transaction};

use super::failure::backend;
use super::prepared::ParameterTypes;
use super::{PostgresOptions, failure};
use crate::{Error, Result};

/// What a pooler says of a parameter that it does not pass on.
const REFUSED: &str = "unsupported startup parameter";

/// How long the server may take for what is looked at when a store is opened.
const LOOK_WITHIN: Duration = Duration::from_secs(25);

/// What a connection behind a pooler needs.
#[derive(Clone, Debug)]
pub(super) struct BehindPooler {
    pub(super) types: Arc<ParameterTypes>,
    /// The time limit of a statement, in milliseconds.
    statement_timeout: u128,
}

impl BehindPooler {
    /// The limits of a transaction that writes. `lock_timeout` is in milliseconds.
    pub(super) fn limits(&self, lock_timeout: Option<&str>) -> String {
        const LIMITS: &str = include_str!("sql/limits.sql");
        let statement = self.statement_timeout.to_string();
        LIMITS.replace("{statement}", &statement).replace("{lock}", lock_timeout.unwrap_or("0"))
    }
}

impl PostgresOptions {
    /// Opens a connection outside the pools, and finds out whether a pooler is between, unless that is given.
    pub(super) async fn connect_first(&mut self) -> Result<Client> {
        let place = self.place();
        timeout(LOOK_WITHIN, self.connect_and_look())
            .await
            .unwrap_or_else(|late| Err(Error::backend(format!("connecting to {place}"), true, late)))
    }

    async fn connect_and_look(&mut self) -> Result<Client> {
        if self.pooler.is_none() {
            match self.connect().await {
                Err(error) if crate::chain(&error).contains(REFUSED) => {}
                connected => {
                    let client = connected?;
                    if has_our_setting(&client).await? {
                        self.pooler = Some(false);
                        return Ok(client);
                    }
                }
            }
            self.pooler = Some(true);
        }
        if self.is_behind_pooler() {
            self.connections.listens = false;
            self.connections.short_waits = 0;
        }
        // Without the settings, which did not arrive.
        self.connect().await
    }

    /// What connections need, if a pooler is between.
    pub(super) fn behind_pooler(&self) -> Option<BehindPooler> {
        let statement_timeout = (self.answer_within * 4 / 5).as_millis();
        self.is_behind_pooler().then(|| BehindPooler { types: Arc::clone(&self.parameter_types), statement_timeout })
    }
}

async fn has_our_setting(client: &Client) -> Result<bool> {
    let answers = client.simple_query(include_str!("sql/session.sql")).await;
    let answers = answers.map_err(backend("reading the settings of a session"))?;
    Ok(answers.iter().any(|answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0).is_some())))
}

/// Begins a transaction in which each statement sees what was committed before it. The check of a version needs that, and
/// behind a pooler, the default of a session is not ours.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await
}

/// Looks at the database within one transaction, because a pooler may give each transaction another session.
pub(super) async fn in_transaction<T>(client: &mut Client, look: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
    let context = "looking at the database";
    let transaction = begin(client).await.map_err(backend(context))?;
    let late = |late| Error::backend(context, true, late);
    let seen = timeout(LOOK_WITHIN, look(transaction.client())).await.map_err(late)??;
    transaction.commit().await.map_err(|error| failure::failed(context, error))?;
    Ok(seen)
}
