//! Making and upgrading the schema.
//!
//! Problem: refinery takes no lock, and two processes that migrate an empty database at once both fail. Fix: an advisory
//! lock on the migrating connection. It is not taken, and no right to create anything is needed, when the schema is current.

use std::time::{Duration, Instant};

use refinery::embed_migrations;
use tokio_postgres::Client;

use super::failure::backend;
use super::installation::{Installation, assert_message_db, message_db_store_id};
use crate::{Error, Result};

embed_migrations!("migrations/postgres");

const HISTORY: &str = "message_store.schema_history";
/// The bytes of `msg_migr`: nobody else's by chance.
const LOCK: i64 = 0x6d73_675f_6d69_6772;

const TRANSACTIONS_UNDER_WAY: &str = include_str!("sql/transactions_under_way.sql");
const ROLE_MAY_INSERT: &str = include_str!("sql/role_may_insert.sql");
const REVOKE_DIRECT_WRITES: &str = include_str!("sql/revoke_direct_writes.sql");
/// How long to wait for transactions that began before the adoption, before the last step of it is left to another time.
const PATIENCE: Duration = Duration::from_mins(1);

/// The version of the schema that this library makes.
pub(super) fn newest_version() -> i32 {
    let versions = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    versions.unwrap_or_default()
}

/// The version of the schema that is there.
pub(super) async fn applied_version(client: &Client) -> Result<Option<i32>> {
    let sql = format!("SELECT max(version) FROM {HISTORY}");
    let row = client.query_one(&sql, &[]).await.map_err(backend("reading the schema's version"))?;
    super::get(&row, 0)
}

/// Makes or upgrades the schema, unless it is current. Message DB's own is upgraded only when it is to be adopted; what was found is
/// returned.
pub(super) async fn migrate(client: &mut Client, adopt: bool) -> Result<Installation> {
    let found = Installation::find(client).await?;
    let is_done = found.is_current() && (!adopt || !role_may_insert(client).await?);
    if is_done || (found == Installation::MessageDb && !adopt) {
        return Ok(found);
    }
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(backend("waiting for the migration lock"))?;
    let migrated = match migrate_locked(client).await {
        Ok(()) if adopt => revoke_direct_writes(client).await,
        migrated => migrated,
    };
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(backend("giving up the migration lock"))?;
    migrated.map(|()| found)
}

async fn migrate_locked(client: &mut Client) -> Result<()> {
    // Somebody else may have done it while we waited.
    let found = Installation::find(client).await?;
    if found.is_current() {
        return Ok(());
    }
    if found == Installation::MessageDb {
        assert_message_db(client).await?;
    }
    let schema = "CREATE SCHEMA IF NOT EXISTS message_store";
    client.batch_execute(schema).await.map_err(backend("creating the schema message_store"))?;

    // All of them in one transaction. The history's table is made before it, and must not outlive a failure.
    let mut runner = migrations::runner().set_grouped(true);
    runner.set_migration_table_name(HISTORY);
    if let Err(error) = runner.run_async(client).await {
        if found == Installation::MessageDb {
            let undo = format!("DROP TABLE IF EXISTS {HISTORY}");
            client.batch_execute(&undo).await.map_err(backend("undoing a failed migration"))?;
        }
        return Err(Error::backend("making the schema message_store; nothing was changed", false, error));
    }
    if found == Installation::MessageDb {
        // Positions keep their meaning: the store is who it was.
        let id = message_db_store_id(client).await?;
        let sql = "UPDATE message_store.store_identity SET store_id = $1";
        client.execute(sql, &[&id.as_uuid()]).await.map_err(backend("keeping the store's identity"))?;
    }
    tracing::info!(from = %found, to = newest_version(), "the schema message_store is current");
    Ok(())
}

/// Whether Message DB's role may write past its functions.
pub(super) async fn role_may_insert(client: &Client) -> Result<bool> {
    super::get(&client.query_one(ROLE_MAY_INSERT, &[]).await.map_err(backend("reading privileges"))?, 0)
}

/// The last step of an adoption. A call of Message DB's own `write_message` that began before its function was replaced still
/// needs the right to INSERT: so the right is revoked when every transaction of that time has ended.
async fn revoke_direct_writes(client: &Client) -> Result<()> {
    if !role_may_insert(client).await? {
        return Ok(());
    }
    let began = Instant::now();
    let old = transactions_under_way(client).await?;
    while transactions_under_way(client).await?.iter().any(|transaction| old.contains(transaction)) {
        if began.elapsed() > PATIENCE {
            tracing::warn!(
                "a transaction that began before the adoption is still open: adopt again to revoke the role's INSERT"
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.batch_execute(REVOKE_DIRECT_WRITES).await.map_err(backend("revoking the role's direct writes"))
}

async fn transactions_under_way(client: &Client) -> Result<Vec<String>> {
    let row = client.query_one(TRANSACTIONS_UNDER_WAY, &[]).await.map_err(backend("looking for open transactions"))?;
    Ok(super::get::<Option<Vec<String>>>(&row, 0)?.unwrap_or_default())
}
