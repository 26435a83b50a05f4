//! Making and upgrading the schema.
//!
//! Problem: refinery takes no lock, so of two processes that open a new file at once one finds the other's tables half
//! way. Fix: an open that fails looks again; when the schema is current by then, another process has made it.

use std::time::Duration;

use refinery::embed_migrations;
use rusqlite::{Connection, OptionalExtension as _};

use super::failure::backend;
use crate::{Error, Result};

embed_migrations!("migrations/sqlite");

const HISTORY: &str = "schema_history";
const ATTEMPTS: u32 = 10;

pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let mut attempt = 1;
    loop {
        if is_current(connection)? {
            return Ok(());
        }
        let mut runner = migrations::runner().set_grouped(true);
        runner.set_migration_table_name(HISTORY);
        match runner.run(connection) {
            Ok(_) => return Ok(()),
            Err(_) if is_current(connection)? => return Ok(()),
            Err(error) if attempt == ATTEMPTS => {
                return Err(Error::backend("making the schema of the SQLite store", false, error));
            }
            Err(error) => tracing::debug!(%error, attempt, "the schema could not be made; trying again"),
        }
        std::thread::sleep(Duration::from_millis(20) * attempt);
        attempt += 1;
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
