//! Opens a store: schema, identity, connections.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use super::blocking::blocking;
use super::failure::backend;
use super::leases::SqliteLeases;
use super::location::{Location, open_to_read};
use super::readers::Readers;
use super::turns::Turns;
use super::writer::Writer;
use super::{SqliteOptions, SqliteStore, migrate, read};
use crate::Result;
use crate::store::{AppendMetrics, Moved, WakeUps};

impl SqliteOptions {
    /// Opens the store. Creates its schema, or upgrades it.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the file cannot be opened, or is not a SQLite file;
    /// [`Error::Schema`](crate::Error::Schema) when it has no store, and the store [must exist](Self::existing).
    pub async fn open(self) -> Result<SqliteStore> {
        blocking(move || open(self)).await
    }
}

impl SqliteStore {
    /// Opens a file, which is created if it is missing, or `:memory:`, with the defaults of [`SqliteOptions`].
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an empty path; and as [`SqliteOptions::open`].
    pub async fn open(place: impl AsRef<Path>) -> Result<Self> {
        let is_memory = place.as_ref() == Path::new(":memory:");
        let options = if is_memory { SqliteOptions::memory() } else { SqliteOptions::file(place)? };
        options.open().await
    }
}

fn open(options: SqliteOptions) -> Result<SqliteStore> {
    let SqliteOptions { place, limits, readers, creates } = options;
    if !creates {
        migrate::assert_exists(&place)?;
    }
    let mut connection = place.open()?;
    let place = place.resolved(&connection);
    migrate::migrate(&mut connection)?;
    let store_id = RwLock::new(read::store_id(&connection).map_err(backend("reading the store's identity"))?);
    let wake_ups = Arc::new(WakeUps::default());
    let connection = Arc::new(Mutex::new(connection));
    let readers = match &place {
        // In memory, each connection has its own database, so readers share the writer's.
        Location::Memory => Readers::new(vec![Arc::clone(&connection)]),
        Location::File(path) => {
            let open = |_| Ok(Arc::new(Mutex::new(open_to_read(path)?)));
            Readers::new((0..readers).map(open).collect::<Result<_>>()?)
        }
    };
    let writer = Writer::start(connection, Turns::of(&place), Arc::clone(&wake_ups))?;
    let update_turns = Arc::new(Mutex::new(Turns::of(&place)));
    let (rotations, metrics) = (Arc::<AtomicU64>::default(), AppendMetrics::new());
    let leases = SqliteLeases { readers: readers.clone(), writer: writer.clone(), rotations: Arc::clone(&rotations) };
    let moved = Moved::default();
    Ok(SqliteStore {
        place,
        update_turns,
        moved,
        limits,
        store_id,
        rotations,
        wake_ups,
        writer,
        readers,
        leases,
        metrics,
    })
}
