//! The options of a store.

use std::time::Duration;

use tokio_postgres::config::{Config, Host};
use tokio_postgres::{Client, NoTls};

use super::{PlantedBug, failure};
use crate::planted::Planted;
use crate::{Error, Limits, Result};

/// The default number of connections.
const POOL_SIZE: usize = 16;

/// The options of a [`PostgresStore`](super::PostgresStore).
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    pub(super) config: Config,
    pub(super) pool_size: usize,
    pub(super) limits: Limits,
    pub(super) notifies: bool,
    pub(super) planted: Planted<PlantedBug>,
}

impl PostgresOptions {
    /// The options in a `postgres://` URL, and defaults for the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the URL cannot be read.
    pub fn from_url(url: &str) -> Result<Self> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::invalid(
                "store URL",
                "it must begin with postgres://, as in postgres://user@host/database",
            ));
        }
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
        let mut options =
            Self { config, pool_size: POOL_SIZE, limits: Limits::default(), notifies: true, planted: Planted::NONE };
        // A version check must see all committed messages, and therefore needs a new snapshot for each statement.
        options.set("default_transaction_isolation", "read committed");
        // The start of a parallel worker costs more than the read of a batch.
        options.set("max_parallel_workers_per_gather", "0");
        Ok(options)
    }

    /// Sets the size of the pool. Default: 16 connections. Up to 13 more append and listen.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// Sets the limits of messages and batches.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets whether appends wake readers in other processes. Default: yes. Without it, these readers poll.
    pub fn notifications(mut self, on: bool) -> Self {
        self.notifies = on;
        self
    }

    /// Switches off a protection.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.planted = Planted::one(bug);
        self
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a connection outside the pools. It is closed when it is dropped.
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

    /// The host, port and database, without user and password.
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

    /// Settings for sessions that only append.
    pub(super) fn for_appends(mut self) -> Self {
        self.set("plan_cache_mode", "force_generic_plan");
        for off in ["enable_hashjoin", "enable_mergejoin"] {
            self.set(off, "off");
        }
        self
    }

    /// Settings for all sessions. A plan that is made while the table is small is kept while it grows, so it must not be
    /// one that reads the whole table, or a whole category. The statements of a read model are planned without these
    /// settings (`lock_read_model.sql`). JIT is off because a plan that cannot do without a setting seems expensive, and
    /// would be compiled.
    pub(super) fn with_indexes_only(mut self) -> Self {
        if !self.planted.is(PlantedBug::ReadsPlanFreely) {
            for off in ["enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"] {
                self.set(off, "off");
            }
        }
        self
    }

    /// Sets a parameter of the server for every session.
    pub(super) fn set(&mut self, parameter: &str, value: &str) {
        let options = self.config.get_options().unwrap_or_default();
        let options = format!("{options} -c {parameter}={}", value.replace(' ', "\\ "));
        self.config.options(options);
    }
}
