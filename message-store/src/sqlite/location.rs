//! The place of a store, and connections to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::{self, backend};
use crate::Result;

/// How long a statement waits for a lock of another connection on the file.
const BUSY_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) enum Location {
    Memory,
    File(PathBuf),
}

impl Location {
    /// Opens the store. A file that is missing is created.
    pub(super) fn open(&self) -> Result<Connection> {
        self.connect(OpenFlags::default())
    }

    /// Opens another connection to a store that is open.
    pub(super) fn open_again(&self) -> Result<Connection> {
        self.connect(OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// The same place with the path that SQLite has found for this connection: absolute, and without symbolic links.
    pub(super) fn resolved(self, connection: &Connection) -> Self {
        match connection.path() {
            Some(path) if !path.is_empty() => Self::File(path.into()),
            _ => self,
        }
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection> {
        let mut connection = match self {
            Self::Memory => Connection::open_in_memory().map_err(backend("opening a SQLite store in memory"))?,
            Self::File(path) => Connection::open_with_flags(path, flags).map_err(|error| {
                let context = format!("opening the SQLite file {}", path.display());
                failure::failed(context, error)
            })?,
        };
        connection.busy_handler(Some(waits_again)).map_err(backend("configuring the SQLite connection"))?;
        // While another process opens a new file, SQLite fails at once when it changes the journal mode, so this
        // repeats it.
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

/// Waits before another attempt to get a lock, after `attempts` attempts. Returns whether to try again. The waits are
/// shorter than SQLite's own, because a connection waits only for the transaction before its own
/// ([`turns`](super::turns)).
fn waits_again(attempts: i32) -> bool {
    let pause = Duration::from_micros(if attempts < 50 { 200 } else { 2_000 });
    std::thread::sleep(pause);
    pause * attempts.unsigned_abs() < BUSY_WAIT
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    prepare_once(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    set_durable(connection, true)
}

/// Sets whether later commits survive a loss of power. If not, a loss of power may lose the latest commits, but the
/// file stays consistent.
pub(super) fn set_durable(connection: &Connection, is_durable: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if is_durable { "FULL" } else { "NORMAL" })
}

/// Keeps prepared statements for all values of their parameters. Otherwise SQLite plans most of them again at each use.
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
