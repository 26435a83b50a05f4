//! Opens a store: schema, identity, pools.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_postgres::Client;

use super::group_commit::{GroupCommit, SHORT_WAIT};
use super::history::Histories;
use super::horizon::Horizon;
use super::installation::{Installation, message_db_store_id};
use super::large_rows::LargeRows;
use super::leases::PostgresLeases;
use super::listen::Listener;
use super::look_up::LookUp;
use super::pool::Pool;
use super::pooler::in_transaction;
use super::probes::{assert_draws_are_ordered, assert_path, warn_if_not_durable};
use super::reconnects::Reconnects;
use super::silence::Silences;
use super::standby::StandbyReader;
use super::tls::Tls;
use super::{PlantedBug, PostgresOptions, PostgresStore, failure, migrate, read};
use crate::Result;
use crate::store::{AppendMetrics, Moved, WakeUps};

/// How long a call waits for a free connection before it fails.
pub(super) const POOL_WAIT: Duration = Duration::from_secs(30);
impl PostgresStore {
    /// Opens the store that a `postgres://` URL names, and creates its schema if there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a URL that cannot be read;
    /// [`Error::Backend`](crate::Error::Backend) as [`PostgresOptions::open`].
    pub async fn open(url: &str) -> Result<Self> {
        PostgresOptions::from_url(url)?.open().await
    }
}

impl PostgresOptions {
    /// Opens the store. A missing schema is created, and an existing one is not changed. Message DB's own schema is
    /// used as it is.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the server cannot be reached; [`Error::Unsupported`](crate::Error::Unsupported)
    /// when its locks do not exclude, its positions are not drawn in order, or a setting behind a pooler does not allow it;
    /// [`Error::Schema`](crate::Error::Schema) when the schema is missing and [must exist](Self::existing), or this user may
    /// not create it, or it is of an older version,
    /// or one of its functions is missing or changed: [`migrate`](super::migrate) upgrades and repairs it.
    pub async fn open(mut self) -> Result<PostgresStore> {
        self.tell_primary_from_standby()?;
        let place = self.place();
        let mut client = self.connect_first().await?;
        self.assert_locks_exclude(&mut client).await?;
        let is_message_db = migrate::open(&mut client, &place, self.creates).await? == Installation::MessageDb;
        let look = async |client: &Client| {
            warn_if_not_durable(client, &place).await?;
            assert_draws_are_ordered(client, &place).await?;
            if is_message_db { message_db_store_id(client).await } else { read::store_id(client).await }
        };
        let store_id = in_transaction(&mut client, look).await?;
        if self.is_behind_pooler() {
            tracing::warn!(target: "message_store::postgres", store = %place, "a pooler is between: readers here find the messages of other processes by polling, and statements that only read have no time limit of this library");
        }
        if matches!(self.tls, Tls::Off) && !self.is_local() {
            tracing::warn!(target: "message_store::postgres", store = %place, "the connections to this host are not encrypted");
        }
        let kind = (is_message_db, self.hosts().are_several());
        let histories = Arc::new(Histories::new(place.clone(), store_id, kind, self.planted));
        histories.verify(&client).await.map_err(failure::backend("asking the server for its history"))?;
        if is_message_db {
            tracing::warn!(target: "message_store::postgres", store = %place, "this is Message DB's own schema: appends take a round trip per message; upgrade it with `message-store migrate --adopt`");
            // Message DB's functions call each other without the name of the schema.
            self.set("search_path", "message_store,public");
            if self.is_behind_pooler() {
                in_transaction(&mut client, async |client| assert_path(client, &place).await).await?;
            }
        }
        drop(client);
        let options = self.with_indexes_only().with_time_limits();
        let (silences, reconnects, connections) = (Silences::default(), Reconnects::default(), options.connections);
        let shared = (&silences, &reconnects);
        let pool = Pool::new("reads", options.clone(), &histories, (connections.reads, Some(POOL_WAIT)), shared)?;
        let standby = options
            .reads_categories_from_standby()
            .then(|| StandbyReader::new(&options, &histories, (connections.reads, Some(POOL_WAIT))));
        let wake_ups = Arc::new(WakeUps::default());
        let listener = Listener::new(&options, pool.clone(), Arc::clone(&wake_ups), Arc::clone(&histories));
        let limits = options.limits;
        let takes_all = options.planted.is(PlantedBug::ReadModelsTakeAllConnections);
        let read_models = if takes_all { connections.reads } else { connections.read_models() };
        let long_wait = options.for_appends();
        let mut short_wait = long_wait.clone();
        short_wait.set("lock_timeout", SHORT_WAIT);
        let pool_for_appends = |options, size| Pool::new("appends", options, &histories, (size, None), shared);
        let long_wait = pool_for_appends(long_wait, connections.long_waits)?;
        let short_wait = match connections.short_waits {
            0 => long_wait.clone(),
            size => pool_for_appends(short_wait, size)?,
        };
        let group_commit = GroupCommit::new(long_wait, short_wait, place.clone(), Arc::clone(&histories));
        let look_up = LookUp::start(pool.clone());
        let leases = PostgresLeases { apart: pool.apart(1)?, pool: pool.clone() };
        Ok(PostgresStore {
            pool,
            standby: standby.transpose()?,
            place,
            limits,
            large_rows: LargeRows::new(),
            is_message_db,
            histories,
            wake_ups,
            listener,
            group_commit,
            look_up,
            leases,
            metrics: AppendMetrics::new(),
            horizon: Horizon::new(),
            read_model_turns: Semaphore::new(read_models),
            moved: Moved::default(),
            rotating: tokio::sync::Mutex::default(),
        })
    }
}
