//! The schema: tables, which migrations make once, and functions, whose scripts are carried out whenever one is not as it should be.
//!
//! Problem: a function that another script has replaced (Message DB's own, or a restore's) breaks the promises of the store, and no
//! migration is due. Fix: the scripts can be carried out at any time, and each function carries the version of ours in its text.

use refinery::embed_migrations;
use tokio_postgres::{Client, Transaction};

use super::failure::backend;
use super::get;
use super::installation::{Installation, message_db_store_id};
use crate::{Error, Result};

embed_migrations!("migrations/postgres");

/// The version of the functions. A change of their scripts is a new version: those of an older one are replaced.
pub(super) const FUNCTIONS: i32 = 1;
/// An index of the tables uses these.
const STREAM_NAMES: &str = include_str!("../../migrations/postgres/functions/stream_names.sql");
/// These use the tables. In this order.
const SCRIPTS: [&str; 5] = [
    include_str!("../../migrations/postgres/functions/append.sql"),
    include_str!("../../migrations/postgres/functions/message_db.sql"),
    include_str!("../../migrations/postgres/functions/message_db_views.sql"),
    include_str!("../../migrations/postgres/functions/deduplication.sql"),
    include_str!("../../migrations/postgres/functions/privileges.sql"),
];

const HISTORY: &str = include_str!("sql/history.sql");
const APPLIED: &str = "SELECT version, checksum FROM message_store.schema_history";
const NOTE: &str = "INSERT INTO message_store.schema_history (version, name, checksum) VALUES ($1, $2, $3)";
const ADOPT: &str = include_str!("sql/adopt.sql");
const WRITERS: &str = include_str!("sql/writers.sql");
const GRANT_WRITING: &str = include_str!("sql/grant_writing.sql");
const SET_STORE_ID: &str = "UPDATE message_store.store_identity SET store_id = $1";

/// The version of the tables that this library makes.
pub(super) fn newest_version() -> i32 {
    let versions = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    versions.unwrap_or_default()
}

/// The version of the tables that are there.
pub(super) async fn applied_version(client: &Client) -> Result<Option<i32>> {
    let sql = "SELECT max(version) FROM message_store.schema_history";
    get(&client.query_one(sql, &[]).await.map_err(backend("reading the schema's version"))?, 0)
}

/// Why the schema could not be made.
pub(super) enum Failed {
    Server(tokio_postgres::Error),
    Other(Error),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Makes what is missing, and puts right what is not as it should be. `found` is what stood there before.
pub(super) async fn make(transaction: &Transaction<'_>, found: Installation) -> Result<(), Failed> {
    transaction.batch_execute(HISTORY).await?;
    if found == Installation::MessageDb {
        transaction.batch_execute(ADOPT).await?;
    }
    carry_out(transaction, STREAM_NAMES).await?;
    migrate_tables(transaction).await?;
    for script in SCRIPTS {
        carry_out(transaction, script).await?;
    }
    for row in transaction.query(WRITERS, &[]).await? {
        let role: &str = row.try_get(0)?;
        transaction.batch_execute(&GRANT_WRITING.replace("{role}", role)).await?;
    }
    if found == Installation::MessageDb {
        // Positions keep their meaning: the store is the one that it was.
        let id = message_db_store_id(transaction.client()).await?;
        transaction.execute(SET_STORE_ID, &[&id.as_uuid()]).await?;
    }
    Ok(())
}

async fn carry_out(transaction: &Transaction<'_>, script: &str) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(&script.replace("{version}", &FUNCTIONS.to_string())).await
}

async fn migrate_tables(transaction: &Transaction<'_>) -> Result<(), Failed> {
    let mut applied = std::collections::HashMap::new();
    for row in transaction.query(APPLIED, &[]).await? {
        applied.insert(row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?);
    }
    for migration in migrations::runner().get_migrations() {
        let checksum = migration.checksum().to_string();
        match applied.get(&migration.version()) {
            Some(before) if *before == checksum => {}
            Some(_) => {
                let text = format!("the migration {migration} has changed since it was carried out in this database");
                return Err(Error::backend("making the schema message_store", false, text).into());
            }
            None => {
                transaction.batch_execute(migration.sql().unwrap_or_default()).await?;
                transaction.execute(NOTE, &[&migration.version(), &migration.name(), &checksum]).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, SCRIPTS, STREAM_NAMES};

    /// A store replaces functions of an older version only: a change that is not a new version would reach no store that exists.
    #[test]
    fn a_change_of_the_functions_is_a_new_version() {
        let hash = crate::hash::hash_64(&(STREAM_NAMES.to_owned() + &SCRIPTS.concat()));
        let known = (1, -5_218_462_071_887_340_755);
        assert_eq!(
            (FUNCTIONS, hash),
            known,
            "the scripts differ from version {}: once that is released, raise FUNCTIONS; then note the new hash here",
            known.0
        );
    }
}
