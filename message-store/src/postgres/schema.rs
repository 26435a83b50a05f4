//! The schema: tables, which migrations create once, and functions, whose scripts run again whenever a function is
//! missing or changed.
//!
//! Problem: another script (Message DB's own, or a restore) can replace a function, which breaks the promises of the
//! store although no migration is due. Fix: the scripts can run at any time, and each function of this library contains
//! its version in its text.

use tokio_postgres::Transaction;

use super::indexes;
use super::installation::{Installation, message_db_store_id};
use super::migrations::{Failed, migrate_tables};

/// The version of the functions. Every change of their scripts needs a new version: a store replaces functions of an
/// older one only.
pub(super) const FUNCTIONS: i32 = 7;
/// An index of the tables uses these functions, so they are created before the tables.
const STREAM_NAMES: &str = include_str!("../../migrations/postgres/functions/stream_names.sql");
/// These use the tables and each other, and run in this order.
const SCRIPTS: [&str; 10] = [
    include_str!("../../migrations/postgres/functions/append.sql"),
    include_str!("../../migrations/postgres/functions/conditions.sql"),
    include_str!("../../migrations/postgres/functions/message_db.sql"),
    include_str!("../../migrations/postgres/functions/message_db_views.sql"),
    include_str!("../../migrations/postgres/functions/deduplication.sql"),
    include_str!("../../migrations/postgres/functions/groups.sql"),
    include_str!("../../migrations/postgres/functions/timers.sql"),
    include_str!("../../migrations/postgres/functions/archive.sql"),
    include_str!("../../migrations/postgres/functions/erasure.sql"),
    include_str!("../../migrations/postgres/functions/privileges.sql"),
];

const HISTORY: &str = include_str!("sql/history.sql");
const ADOPT: &str = include_str!("sql/adopt.sql");
const WRITERS: &str = include_str!("sql/writers.sql");
const GRANT_WRITING: &str = include_str!("sql/grant_writing.sql");
const SET_STORE_ID: &str = include_str!("sql/set_store_id.sql");

/// Creates missing objects, and repairs changed ones. `found` is the installation before the call.
pub(super) async fn make(transaction: &Transaction<'_>, found: Installation) -> Result<(), Failed> {
    transaction.batch_execute(HISTORY).await?;
    if found == Installation::MessageDb {
        transaction.batch_execute(ADOPT).await?;
    }
    carry_out(transaction, STREAM_NAMES).await?;
    migrate_tables(transaction).await?;
    if found == Installation::Nothing {
        indexes::create(transaction).await?;
    }
    for script in SCRIPTS {
        carry_out(transaction, script).await?;
    }
    for row in transaction.query(WRITERS, &[]).await? {
        let role: &str = row.try_get(0)?;
        transaction.batch_execute(&GRANT_WRITING.replace("{role}", role)).await?;
    }
    if found == Installation::MessageDb {
        // The store keeps the identity that it had as Message DB's, so that sequences from before the adoption remain
        // valid.
        let id = message_db_store_id(transaction.client()).await?;
        transaction.execute(SET_STORE_ID, &[&id.as_uuid()]).await?;
    }
    Ok(())
}

async fn carry_out(transaction: &Transaction<'_>, script: &str) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(&script.replace("{version}", &FUNCTIONS.to_string())).await
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, SCRIPTS, STREAM_NAMES};

    /// A store replaces functions of an older version only. A change without a new version would never reach an
    /// existing store.
    #[test]
    fn a_change_of_the_functions_is_a_new_version() {
        let hash = crate::hash::hash_64(&(STREAM_NAMES.to_owned() + &SCRIPTS.concat()));
        let known = (7, 7_002_464_855_236_282_519);
        assert_eq!(
            (FUNCTIONS, hash),
            known,
            "the scripts differ from version {}: once that is released, raise FUNCTIONS; then note the new hash here",
            known.0
        );
    }
}
