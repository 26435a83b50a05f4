//! Message DB's SQL conditions.

use super::PostgresOptions;
use super::failure::backend;
use crate::Result;

/// Allows the sessions of a database to paste a condition into Message DB's reads, once they have set
/// `message_store.sql_condition`. Only the schema's owner may. A role that may read can then run any query with the
/// rights that it has.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when the schema is not ours, or not this user's.
pub async fn allow_sql_condition(url: &str) -> Result<()> {
    let client = PostgresOptions::from_url(url)?.connect().await?;
    let sql = include_str!("sql/allow_sql_condition.sql");
    client.execute(sql, &[]).await.map_err(backend("allowing SQL conditions")).map(|_| ())
}
