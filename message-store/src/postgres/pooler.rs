//! Poolers that hand out transactions, such as `PgBouncer`: whether one is between this process and the server.
//!
//! Problem: behind such a pooler, what belongs to a session (its settings, prepared statements, LISTEN, locks) is lost
//! or reaches another program. Fix: the first connection asks for a setting, and looks whether it has arrived. A server
//! takes it, and a pooler refuses or ignores it.

use tokio_postgres::{Client, IsolationLevel, SimpleQueryMessage, Transaction};

use super::failure::backend;
use super::{PostgresOptions, failure};
use crate::Result;

/// A setting that only this library makes. No server knows it, so it has no effect.
pub(super) const SESSION: &str = "message_store.session";
/// What a pooler says of a parameter that it does not pass on.
const REFUSED: &str = "unsupported startup parameter";

impl PostgresOptions {
    /// Opens a connection outside the pools, and finds out whether a pooler is between, unless that is given.
    pub(super) async fn connect_first(&mut self) -> Result<Client> {
        let is_given = self.pooler.is_some();
        let mut client = match self.connect().await {
            Err(error) if !is_given && crate::chain(&error).contains(REFUSED) => {
                self.pooler = Some(true);
                self.connect().await?
            }
            connected => connected?,
        };
        let has_arrived = has_our_setting(&client).await?;
        if !is_given {
            self.pooler = Some(!has_arrived);
        }
        if self.is_behind_pooler() {
            if !is_given && !has_arrived {
                // Without the settings, which did not arrive.
                client = self.connect().await?;
            }
            self.connections.listens = false;
            self.connections.short_waits = 0;
        }
        Ok(client)
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
    let seen = look(transaction.client()).await?;
    transaction.commit().await.map_err(|error| failure::failed(context, error))?;
    Ok(seen)
}
