//! Message DB's SQL conditions.

use super::PostgresOptions;
use super::failure::backend;
use crate::Result;

/// Allows sessions of a database to add an SQL condition to Message DB's reads, after they have set
/// `message_store.sql_condition`. A role that may read can then run any query with its own rights. Only the schema's
/// owner can allow it.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when the schema is not this library's, or this user is not its owner.
pub async fn allow_sql_condition(url: &str) -> Result<()> {
    let client = PostgresOptions::from_url(url)?.connect_first().await?;
    client.batch_execute(include_str!("sql/allow_sql_condition.sql")).await.map_err(backend("allowing SQL conditions"))
}
