//! Where a store is, and connections to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::{self, backend};
use crate::Result;

/// How long a statement waits for another process's lock on the file.
const BUSY_WAIT: Duration = Duration::from_secs(10);
#[derive(Clone, Debug)]
pub(super) enum Location {
    Memory,
    File(PathBuf),
}

impl Location {
    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = match self {
            Self::Memory => Connection::open_in_memory().map_err(backend("opening a SQLite store in memory"))?,
            Self::File(path) => Connection::open(path).map_err(|error| {
                let context = format!("opening the SQLite file {}", path.display());
                failure::failed(context, error)
            })?,
        };
        connection.busy_timeout(BUSY_WAIT).map_err(backend("configuring the SQLite connection"))?;
        // SQLite does not wait for other openers of a new file before it changes the journal.
        let begun = Instant::now();
        loop {
            match configure(&connection) {
                Err(error) if failure::is_busy(&error) && begun.elapsed() < BUSY_WAIT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                result => return result.map(|()| connection).map_err(backend("configuring the SQLite connection")),
            }
        }
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    prepare_once(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    set_durable(connection, true)
}

/// Whether what is committed from now on survives a loss of power. If not, the latest commits may be lost with it; the
/// file stays whole.
pub(super) fn set_durable(connection: &Connection, is_durable: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if is_durable { "FULL" } else { "NORMAL" })
}

/// Statements are prepared once, and stay so, whatever their parameters say: else SQLite plans most of them anew at
/// each use.
fn prepare_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

pub(super) fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(backend("opening the SQLite file to read"))?;
    connection.busy_timeout(BUSY_WAIT).map_err(backend("opening the SQLite file to read"))?;
    prepare_once(&connection).map_err(backend("opening the SQLite file to read"))?;
    Ok(connection)
}
