//! Creates and upgrades the schema.
//!
//! Problem: refinery takes no lock. If two processes open a new file at the same time, one of them finds a part of the
//! other's tables, and fails. Fix: after a failure, the process looks again. If the schema is current by then, the
//! other process has created it.

use std::time::Duration;

use refinery::embed_migrations;
use rusqlite::{Connection, OptionalExtension as _};

use super::failure::backend;
use super::location::{Location, open_to_read};
use crate::{Error, Result};

embed_migrations!("migrations/sqlite");

const HISTORY: &str = "schema_history";
const TRIES: u32 = 10;

pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let mut tries = 1;
    loop {
        if is_current(connection)? {
            return Ok(());
        }
        let mut runner = migrations::runner().set_grouped(true);
        runner.set_migration_table_name(HISTORY);
        match runner.run(connection) {
            Ok(_) => return Ok(()),
            Err(_) if is_current(connection)? => return Ok(()),
            Err(error) if tries == TRIES => {
                return Err(Error::backend("creating the schema of the SQLite store", false, error));
            }
            Err(error) => {
                tracing::debug!(target: "message_store::sqlite", %error, tries, "the schema could not be created; the process looks again");
            }
        }
        std::thread::sleep(Duration::from_millis(20) * tries);
        tries += 1;
    }
}

/// # Errors
/// [`Error::Schema`] if the place has no store.
pub(super) fn assert_exists(place: &Location) -> Result<()> {
    let Location::File(path) = place else { return Ok(()) };
    let missing =
        |problem: &str| Err(Error::Schema { store: format!("sqlite:{}", path.display()), problem: problem.to_owned() });
    if !path.exists() {
        return missing("there is no such file");
    }
    let found = open_to_read(path)?.query_row(include_str!("sql/has_history.sql"), [], |row| row.get::<_, i64>(0));
    match found.optional().map_err(backend("reading the SQLite file (is it a SQLite file?)"))? {
        Some(_) => Ok(()),
        None => missing("the file has no message store"),
    }
}

fn is_current(connection: &Connection) -> Result<bool> {
    let newest = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    let history = include_str!("sql/has_history.sql");
    let found: Option<i64> = connection
        .query_row(history, [], |row| row.get(0))
        .optional()
        .map_err(backend("reading the SQLite file (is it a SQLite file?)"))?;
    if found.is_none() {
        return Ok(false);
    }
    let version: Option<i64> = connection
        .query_row(include_str!("sql/applied_version.sql"), [], |row| row.get(0))
        .map_err(backend("reading the schema's version"))?;
    Ok(version >= newest.map(i64::from))
}
