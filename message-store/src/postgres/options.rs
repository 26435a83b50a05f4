//! How a store is opened.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::{Config, Host};
use tokio_postgres::{Client, NoTls};

use super::group_commit::{GroupCommit, SHORT_WAIT};
use super::installation::{Installation, message_db_store_id};
use super::listen::Listener;
use super::look_up::LookUp;
use super::session::Session;
use super::{PostgresStore, failure, migrate, read};
use crate::idempotence::Holds;
use crate::wake_up::Bells;
use crate::{Error, Limits, Result};

/// How long a call waits for a free connection before it fails.
const POOL_WAIT: Duration = Duration::from_secs(30);
/// Connections, unless said otherwise.
const POOL_SIZE: usize = 16;
/// Connections that do nothing but append: those that wait for locks, and those that hardly do.
const PATIENT: usize = 8;
const HASTY: usize = 4;

/// How to open a [`PostgresStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    config: Config,
    pool_size: usize,
    limits: Limits,
    notifies: bool,
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
        let mut options = Self { config, pool_size: POOL_SIZE, limits: Limits::default(), notifies: true };
        // A version is checked against what has been committed: nothing less, and no stale snapshot.
        options.set("default_transaction_isolation", "read committed");
        // Workers cost more to start than a batch costs to read.
        options.set("max_parallel_workers_per_gather", "0");
        Ok(options)
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

    /// Whether other processes are told of what is appended (they are). If not, they find it when they next look.
    pub fn notifications(mut self, on: bool) -> Self {
        self.notifies = on;
        self
    }

    /// Opens the store. Where there is none yet, or an older version of ours, its schema is made or upgraded; Message DB's own is used as it is.
    ///
    /// # Errors
    /// [`Error::Backend`] when the server cannot be reached, the schema cannot be made, or a function is not as it should be and this user may
    /// not replace it.
    pub async fn open(mut self) -> Result<PostgresStore> {
        let place = self.place();
        let mut client = self.connect().await?;
        let is_message_db = migrate::migrate(&mut client, migrate::Scope::Open).await? == Installation::MessageDb;
        let store_id =
            if is_message_db { message_db_store_id(&client).await? } else { read::store_id(&client).await? };
        warn_if_not_durable(&client, &place).await?;
        drop(client);
        if is_message_db {
            tracing::warn!(store = %place, "this is Message DB's own schema: appends take a round trip per message; upgrade it with `migrate --adopt`");
            // Its functions call each other without naming the schema.
            self.set("search_path", "message_store,public");
        }
        let pool = self.pool(self.pool_size, Some(POOL_WAIT))?;
        let bells = Arc::new(Bells::default());
        let listener = Listener::new(self.config.clone(), pool.clone(), Arc::clone(&bells), self.notifies);
        let (limits, store_id) = (self.limits, RwLock::new(store_id));
        let patient = self.clone().for_appends();
        let mut hasty = patient.clone();
        hasty.set("lock_timeout", SHORT_WAIT);
        let [patient, hasty] = [patient.pool(PATIENT, None)?, hasty.pool(HASTY, None)?];
        let group_commit = GroupCommit::new(patient, hasty, place.clone());
        let look_up = LookUp::start(pool.clone(), place.clone());
        let (holds, hold_session) = (Holds::default(), Session::new(self));
        Ok(PostgresStore {
            pool,
            place,
            limits,
            is_message_db,
            store_id,
            bells,
            listener,
            group_commit,
            look_up,
            holds,
            hold_session,
        })
    }

    fn pool(&self, size: usize, wait: Option<Duration>) -> Result<Pool> {
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), NoTls, manager_config);
        let pool = Pool::builder(manager).max_size(size).wait_timeout(wait).runtime(Runtime::Tokio1).build();
        pool.map_err(|error| Error::backend("making a connection pool", false, error))
    }

    /// A connection of its own. It ends when it is dropped.
    pub(super) async fn connect(&self) -> Result<Client> {
        let context = || format!("connecting to {}", self.place());
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| {
            let transient = error.as_db_error().is_none_or(|error| failure::is_transient(error.code()));
            Error::backend(context(), transient, error)
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(client)
    }

    /// Host, port and database; no user, no password.
    pub(super) fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("postgres://{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }

    /// For a session that does nothing but append: a plan made while the table is small must not be one that reads it whole.
    pub(super) fn for_appends(mut self) -> Self {
        self.set("plan_cache_mode", "force_generic_plan");
        for off in ["enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "enable_sort", "jit"]
        {
            self.set(off, "off");
        }
        self
    }

    /// Sets a parameter of every session.
    fn set(&mut self, parameter: &str, value: &str) {
        let options = self.config.get_options().unwrap_or_default();
        let options = format!("{options} -c {parameter}={}", value.replace(' ', "\\ "));
        self.config.options(options);
    }
}

/// An acknowledged append survives power loss only with both of these on.
async fn warn_if_not_durable(client: &Client, place: &str) -> Result<()> {
    for setting in ["fsync", "synchronous_commit"] {
        let sql = "SELECT current_setting($1)";
        let row = client.query_one(sql, &[&setting]).await.map_err(failure::backend("reading a setting"))?;
        if super::get::<String>(&row, 0)? == "off" {
            tracing::warn!(store = %place, "{setting} is off: acknowledged messages can be lost with the server's power");
        }
    }
    Ok(())
}
