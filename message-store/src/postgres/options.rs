//! How a store is opened.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::{Config, Host};
use tokio_postgres::{Client, NoTls};

use super::group_commit::{GroupCommit, SHORT_WAIT};
use super::history::Histories;
use super::installation::{Installation, message_db_store_id};
use super::listen::Listener;
use super::look_up::LookUp;
use super::pool::Pool;
use super::session::Session;
use super::{PlantedBug, PostgresStore, failure, migrate, read};
use crate::idempotence::Holds;
use crate::wake_up::Bells;
use crate::{Error, Limits, Result};

/// How long a call waits for a free connection before it fails.
const POOL_WAIT: Duration = Duration::from_secs(30);
/// Connections, unless said otherwise.
const POOL_SIZE: usize = 16;
/// Connections that do nothing but append: those that wait for a lock as long as it takes, and those that give up soon.
const LONG_WAIT: usize = 8;
const BRIEF_WAIT: usize = 4;
/// Connections that hold keys: one at a time, and those that were given up while keys are still held by them.
const HOLDING: usize = 4;

/// How to open a [`PostgresStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    config: Config,
    pool_size: usize,
    limits: Limits,
    notifies: bool,
    bug: Option<PlantedBug>,
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
        let mut options = Self { config, pool_size: POOL_SIZE, limits: Limits::default(), notifies: true, bug: None };
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

    /// Without one of its protections.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.bug = Some(bug);
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
        let histories = Arc::new(Histories::new(place.clone(), store_id, is_message_db, self.bug));
        histories.verify(&client).await?;
        drop(client);
        if is_message_db {
            tracing::warn!(store = %place, "this is Message DB's own schema: appends take a round trip per message; upgrade it with `migrate --adopt`");
            // Its functions call each other without naming the schema.
            self.set("search_path", "message_store,public");
        }
        let pool = Pool::new(self.clone(), &histories, self.pool_size, Some(POOL_WAIT))?;
        let hold_session = Arc::new(Session::new(Pool::new(self.clone(), &histories, HOLDING, None)?));
        let bells = Arc::new(Bells::default());
        let listener =
            Listener::new(self.config.clone(), pool.clone(), Arc::clone(&bells), Arc::clone(&histories), self.notifies);
        let limits = self.limits;
        let long_wait = self.for_appends();
        let mut short_wait = long_wait.clone();
        short_wait.set("lock_timeout", SHORT_WAIT);
        let pool_for_appends = |options, size| Pool::new(options, &histories, size, None);
        let (long_wait, short_wait) =
            (pool_for_appends(long_wait, LONG_WAIT)?, pool_for_appends(short_wait, BRIEF_WAIT)?);
        let group_commit = GroupCommit::new(long_wait, short_wait, place.clone(), Arc::clone(&histories));
        let look_up = LookUp::start(pool.clone());
        let holds = Holds::default();
        Ok(PostgresStore {
            pool,
            place,
            limits,
            is_message_db,
            histories,
            bells,
            listener,
            group_commit,
            look_up,
            holds,
            hold_session,
            rotating: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// A connection of its own. It ends when it is dropped.
    pub(super) async fn connect(&self) -> Result<Client> {
        let connected = self.config.connect(NoTls).await;
        let context = || format!("connecting to {}", self.place());
        let (client, connection) = connected.map_err(|error| failure::failed(context(), error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = crate::chain(&error), "a connection ended");
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
