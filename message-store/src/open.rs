//! A URL opens a store.

use std::sync::Arc;

use crate::{MessageStore, Result};

/// Opens the store that a URL names, and makes or upgrades its schema.
///
/// | URL | store |
/// |---|---|
/// | `postgres://user@host/database` | PostgreSQL |
/// | `sqlite:path/to/file.db` | a SQLite file, made when it is missing |
/// | `sqlite::memory:` | SQLite in memory, gone when it is closed |
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a URL of another kind, [`Error::Unsupported`](crate::Error::Unsupported) for
/// a backend that was not compiled in, [`Error::Backend`](crate::Error::Backend) when the database cannot be opened.
pub async fn connect(url: &str) -> Result<Arc<dyn MessageStore>> {
    match url.split_once(':') {
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(crate::postgres::PostgresStore::open(url).await?)),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", place)) => Ok(Arc::new(crate::sqlite::SqliteStore::open(place).await?)),
        #[allow(unreachable_patterns)]
        Some((kind @ ("postgres" | "postgresql" | "sqlite"), _)) => Err(crate::Error::Unsupported {
            store: "this build".to_owned(),
            what: format!("{kind}: URLs; compile it with that feature"),
        }),
        _ => Err(crate::Error::invalid(
            "store URL",
            "it must begin with postgres:// or sqlite: (such as sqlite:account.db or sqlite::memory:)",
        )),
    }
}
