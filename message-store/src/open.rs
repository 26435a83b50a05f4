//! Opening a store by its URL. The scheme of the URL selects the backend.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{Error, MessageStore, Result};

/// Opens the store that a URL names. If the database has no schema of a message store, it is created. An existing
/// schema in PostgreSQL is not changed: `message-store migrate` upgrades it.
///
/// | URL | store |
/// |---|---|
/// | `postgres://user@host/database` | PostgreSQL |
/// | `sqlite:path/to/file.db` | a SQLite file, created if it is missing |
/// | `sqlite::memory:` | SQLite in memory, lost when it is closed |
///
/// With [`Openers`], URLs can open backends from outside this library.
///
/// # Errors
/// [`Error::Invalid`] for a URL with another scheme, [`Error::Unsupported`] for a backend that was not compiled in,
/// [`Error::Schema`] for a schema that must be upgraded, [`Error::Backend`] when the database cannot be opened.
pub async fn connect(url: &str) -> Result<Arc<dyn MessageStore>> {
    Openers::default().open(url).await
}

type Opener = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Arc<dyn MessageStore>>> + Send + Sync>;

/// The functions that open stores, by the scheme of their URLs. The default contains the backends of this library that
/// are compiled in.
///
/// ```
/// use std::sync::Arc;
/// use message_store::{Openers, MessageStore, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// // `memory:` is SQLite in memory, by another name. A backend of your own is opened in the same way.
/// let openers = Openers::default().with("memory", async |_url| connect("sqlite::memory:").await);
/// let store: Arc<dyn MessageStore> = openers.open("memory:accounts").await?;
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Openers(BTreeMap<String, Opener>);

impl Openers {
    /// Opens URLs that begin with `scheme` and a colon by a call of `open` with the whole URL. It replaces an earlier
    /// function for the scheme.
    pub fn with<O, F>(mut self, scheme: impl Into<String>, open: O) -> Self
    where
        O: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Arc<dyn MessageStore>>> + Send + 'static,
    {
        self.0.insert(scheme.into(), Arc::new(move |url| Box::pin(open(url))));
        self
    }

    /// Opens the store that a URL names.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn open(&self, url: &str) -> Result<Arc<dyn MessageStore>> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        if let Some(open) = self.0.get(scheme) {
            return open(url.to_owned()).await;
        }
        if ["postgres", "postgresql", "sqlite"].contains(&scheme) {
            let what = format!("{scheme}: URLs; compile it with that feature");
            return Err(Error::Unsupported { store: "this build".to_owned(), what });
        }
        let schemes: Vec<_> = self.0.keys().map(|scheme| format!("{scheme}:")).collect();
        let reason = format!(
            "it must begin with one of {} (such as sqlite:account.db or postgres://user@host/database)",
            schemes.join(", ")
        );
        Err(Error::invalid("store URL", reason))
    }
}

/// Contains the backends of this library that are compiled in.
impl Default for Openers {
    fn default() -> Self {
        let openers = Self(BTreeMap::new());
        #[cfg(feature = "postgres")]
        let openers = ["postgres", "postgresql"].into_iter().fold(openers, |openers, scheme| {
            openers.with(scheme, async |url| {
                Ok(Arc::new(crate::postgres::PostgresStore::open(&url).await?) as Arc<dyn MessageStore>)
            })
        });
        #[cfg(feature = "sqlite")]
        let openers = openers.with("sqlite", async |url| {
            Ok(Arc::new(crate::sqlite::SqliteOptions::from_url(&url)?.open().await?) as Arc<dyn MessageStore>)
        });
        openers
    }
}

impl fmt::Debug for Openers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
