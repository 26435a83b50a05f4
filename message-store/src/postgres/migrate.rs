//! Making and upgrading the schema.
//!
//! Problem: refinery takes no lock, and two processes that migrate an empty database at once both fail. Fix: an advisory
//! lock on the migrating connection. It is not taken, and no right to create anything is needed, when the schema is current.

use deadpool_postgres::Pool;
use refinery::embed_migrations;
use tokio_postgres::config::Config;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::connection;
use super::failure::backend;
use crate::{Error, Result};

embed_migrations!("migrations/postgres");

const HISTORY: &str = "message_store.schema_history";
/// The bytes of `msg_migr`: nobody else's by chance.
const LOCK: i64 = 0x6d73_675f_6d69_6772;

pub(super) async fn migrate(config: &Config, pool: &Pool, place: &str) -> Result<()> {
    if is_current(&**connection(pool, place).await?).await? {
        return Ok(());
    }
    // A connection of its own: refinery needs it mutable, and the lock ends with it whatever happens.
    let (mut client, connection) = config.connect(NoTls).await.map_err(backend("connecting to migrate"))?;
    let connection = tokio::spawn(connection);
    let migrated = run(&mut client).await;
    drop(client);
    if let Ok(Err(error)) = connection.await {
        tracing::debug!(%error, "the migrating connection ended");
    }
    migrated
}

async fn run(client: &mut Client) -> Result<()> {
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(backend("waiting for the migration lock"))?;
    if is_current(client).await? {
        return Ok(());
    }
    let schema = "CREATE SCHEMA IF NOT EXISTS message_store";
    client.batch_execute(schema).await.map_err(backend("creating the schema message_store"))?;
    let mut runner = migrations::runner().set_grouped(true);
    runner.set_migration_table_name(HISTORY);
    let report = runner
        .run_async(client)
        .await
        .map_err(|error| Error::backend("making the schema message_store", false, error))?;
    tracing::info!(applied = report.applied_migrations().len(), "the schema message_store is current");
    Ok(())
}

async fn is_current(client: &Client) -> Result<bool> {
    let newest = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    match client.query_one(&format!("SELECT max(version) FROM {HISTORY}"), &[]).await {
        Ok(row) => {
            let version: Option<i32> = super::get(&row, 0)?;
            Ok(version.map(i64::from) >= newest.map(i64::from))
        }
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(false),
        Err(error) => Err(backend("reading the schema's version")(error)),
    }
}
