//! The PostgreSQL store: Message DB's table, our append.

mod append;
mod failure;
mod listen;
mod migrate;
mod read;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::{Config, Host};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use crate::wake_up::Bells;
use crate::{
    Append, Appended, Batch, Category, Error, Limits, Message, MessageId, MessageStore, Read, Result, StoreId,
    StreamName, StreamRead, Version, WakeUp,
};
use failure::{backend, pool_failure};
use listen::Listener;

/// How long a call waits for a free connection before it fails.
const POOL_WAIT: Duration = Duration::from_secs(30);
/// Connections, unless said otherwise.
const POOL_SIZE: usize = 16;

/// A store on PostgreSQL.
///
/// Connections are taken from a pool of 16 (`PostgresOptions` says otherwise). They are not encrypted: reach a
/// distant server through a tunnel, or over a network you trust.
pub struct PostgresStore {
    pool: Pool,
    place: String,
    limits: Limits,
    store_id: RwLock<StoreId>,
    bells: Arc<Bells>,
    listener: Listener,
}

/// How to open a [`PostgresStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    config: Config,
    pool_size: usize,
    limits: Limits,
}

impl PostgresOptions {
    /// The options that a `postgres://` URL gives, and defaults for the rest.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the URL cannot be read.
    pub fn from_url(url: &str) -> Result<Self> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::invalid("store URL", source)
        })?;
        if config.get_application_name().is_none() {
            config.application_name("message-store");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // A version is checked against what has been committed: nothing less, and no stale snapshot.
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} -c default_transaction_isolation=read\\ committed");
        config.options(options);
        Ok(Self { config, pool_size: POOL_SIZE, limits: Limits::default() })
    }

    /// At most this many connections (16).
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// With these limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Opens the store, and makes or upgrades its schema.
    ///
    /// # Errors
    /// [`Error::Backend`] when the server cannot be reached or the schema cannot be made.
    pub async fn open(self) -> Result<PostgresStore> {
        let place = place(&self.config);
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), NoTls, manager_config);
        let pool = Pool::builder(manager)
            .max_size(self.pool_size)
            .wait_timeout(Some(POOL_WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::backend("making a connection pool", false, error))?;
        migrate::migrate(&self.config, &pool, &place).await?;
        let store_id = read::store_id(&connection(&pool, &place).await?).await?;
        let bells = Arc::new(Bells::default());
        let listener = Listener::new(self.config, pool.clone(), Arc::clone(&bells));
        let store_id = RwLock::new(store_id);
        let store = PostgresStore { pool, place, limits: self.limits, store_id, bells, listener };
        store.warn_if_not_durable().await?;
        Ok(store)
    }
}

impl PostgresStore {
    /// Opens the store that a `postgres://` URL names, and makes or upgrades its schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that cannot be read; [`Error::Backend`] as [`PostgresOptions::open`].
    pub async fn open(url: &str) -> Result<Self> {
        PostgresOptions::from_url(url)?.open().await
    }

    async fn connection(&self) -> Result<Object> {
        connection(&self.pool, &self.place).await
    }

    /// An acknowledged append survives power loss only with both of these on.
    async fn warn_if_not_durable(&self) -> Result<()> {
        let client = self.connection().await?;
        for setting in ["fsync", "synchronous_commit"] {
            let row = client.query_one("SELECT current_setting($1)", &[&setting]).await.map_err(backend("reading"))?;
            let value: String = get(&row, 0)?;
            if value == "off" {
                tracing::warn!(store = %self.place, "{setting} is off: acknowledged messages can be lost with the server's power");
            }
        }
        Ok(())
    }
}

async fn connection(pool: &Pool, place: &str) -> Result<Object> {
    pool.get().await.map_err(|error| pool_failure(place, error))
}

/// A column of a row.
fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| Error::backend("reading a row", false, error))
}

/// Host, port and database; no user, no password.
fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("postgres://{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

#[async_trait]
impl MessageStore for PostgresStore {
    fn store_id(&self) -> StoreId {
        *self.store_id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        crate::append::validate(&appends, &self.limits)?;
        let appended = append::append(&self.connection().await?, &appends).await?;
        if !appended.already_written {
            let streams = appends.iter().map(|append| &append.stream);
            self.bells.ring_for(streams.clone());
            self.listener.tell(streams);
        }
        Ok(appended)
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        read::stream(&self.connection().await?, stream, &read, &self.limits).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        read::category(&self.connection().await?, category, &read, &self.limits).await
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        read::all(&self.connection().await?, &read, &self.limits).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        read::last(&self.connection().await?, stream, message_type).await
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        read::version(&self.connection().await?, stream).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        read::message(&self.connection().await?, id).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.listener.listen();
        Ok(self.bells.listen(category))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        let id = StoreId::random();
        let client = self.connection().await?;
        let sql = "UPDATE message_store.store_identity SET store_id = $1";
        client.execute(sql, &[&id.as_uuid()]).await.map_err(backend("rotating the store's identity"))?;
        *self.store_id.write().unwrap_or_else(PoisonError::into_inner) = id;
        Ok(id)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl From<Uuid> for StoreId {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}
