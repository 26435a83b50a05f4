//! The migrations of the tables. Each is carried out once in a database.

use refinery::embed_migrations;
use tokio_postgres::{Client, Transaction};

use super::failure::backend;
use super::row::get;
use crate::{Error, Result};

embed_migrations!("migrations/postgres");

const APPLIED: &str = include_str!("sql/applied_versions.sql");
const NOTE: &str = include_str!("sql/note_version.sql");

/// The version of the tables that this library creates.
pub(super) fn newest_version() -> i32 {
    let versions = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    versions.unwrap_or_default()
}

/// The version of the tables in the database. `None` if they are missing.
pub(super) async fn applied_version(client: &Client) -> Result<Option<i32>> {
    let sql = include_str!("sql/applied_version.sql");
    get(&client.query_one(sql, &[]).await.map_err(backend("reading the schema's version"))?, 0)
}

/// The reason why the schema could not be created.
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

/// Carries out the migrations that are not recorded in the database.
pub(super) async fn migrate_tables(transaction: &Transaction<'_>) -> Result<(), Failed> {
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
                return Err(Error::backend("creating the schema message_store", false, text).into());
            }
            None => {
                transaction.batch_execute(migration.sql().unwrap_or_default()).await?;
                transaction.execute(NOTE, &[&migration.version(), &migration.name(), &checksum]).await?;
            }
        }
    }
    Ok(())
}
