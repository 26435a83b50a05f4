//! Transactions that keep the store's writers or readers waiting.

use std::time::Duration;

use super::PostgresOptions;
use super::failure::backend;
use super::row::get;
use crate::Result;

const TRANSACTIONS: &str = include_str!("sql/foreign_transactions.sql");

/// A transaction that has been open for long: it has written to the store, or has a lock that another session waits for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OpenTransaction {
    /// The number of the server's process.
    pub process: i32,
    /// The name that the program gave itself.
    pub program: String,
    #[allow(missing_docs)]
    pub user: String,
    /// What it does now, such as `idle in transaction`.
    pub state: String,
    /// The time since it began.
    pub age: Duration,
    /// Its last statement, or the beginning of it.
    pub statement: String,
}

/// The oldest transactions that have been open for longer than this and keep others waiting, at most five of them. The user must
/// be allowed to see the sessions of others (`pg_monitor`), or sees only its own.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a URL that cannot be read, [`Error::Backend`](crate::Error::Backend) when the
/// server does not answer.
pub async fn open_transactions(url: &str, longer_than: Duration) -> Result<Vec<OpenTransaction>> {
    let client = PostgresOptions::from_url(url)?.connect_first().await?;
    let rows = client.query(TRANSACTIONS, &[&longer_than.as_secs_f64()]).await;
    let found = rows.map_err(backend("looking for open transactions"))?;
    let found = found.iter().map(|row| {
        Ok(OpenTransaction {
            process: get(row, 0)?,
            program: get(row, 1)?,
            user: get::<String>(row, 2)?,
            state: get(row, 3)?,
            age: Duration::try_from_secs_f64(get(row, 4)?).unwrap_or_default(),
            statement: get(row, 5)?,
        })
    });
    found.collect()
}
