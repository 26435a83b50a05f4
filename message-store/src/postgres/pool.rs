//! The pools of connections.
//!
//! Problem: prepared statements and remembered positions belong to one history of the store (see [`super::history`]). A
//! pool that outlives a failover would mix connections of two histories. Fix: a pool has connections of one history,
//! and another pool replaces it when another history begins. Why it is right: each connection is verified before its
//! first use, and a server cannot change its history without losing its connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType};
use tokio::time::timeout;

use super::connection::Connection;
use super::history::Histories;
use super::hosts::NotConnected;
use super::reconnects::Reconnects;
use super::session::Sessions;
use super::silence::Silences;
use super::{PlantedBug, PostgresOptions, failure, replication};
use crate::store::Connections;
use crate::telemetry::metric::POOL_WAIT;
use crate::telemetry::{Histogram, is_on};
use crate::{Error, History, Result};

/// The number of histories that may begin while a caller waits for one connection.
const CHANGES: u32 = 10;

/// Opens connections when they are needed, and reuses them.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PostgresOptions,
    histories: Arc<Histories>,
    size: usize,
    /// How long a caller waits for a free connection. `None`: without a limit.
    wait: Option<Duration>,
    silences: Silences,
    reconnects: Reconnects,
    waits: Histogram,
    current: Mutex<OfHistory>,
}

#[derive(Clone, Debug)]
struct OfHistory {
    history: History,
    connections: deadpool::managed::Pool<Sessions>,
}

impl Pool {
    /// A pool of at most `size` connections. The name is its label in metrics.
    pub(super) fn new(
        name: &'static str,
        options: PostgresOptions,
        histories: &Arc<Histories>,
        (size, wait): (usize, Option<Duration>),
        (silences, reconnects): (&Silences, &Reconnects),
    ) -> Result<Self> {
        let (history, silences, reconnects) = (histories.current(), silences.clone(), reconnects.clone());
        let connections = make(&options, histories, (size, wait), (&silences, &reconnects))?;
        let current = Mutex::new(OfHistory { history, connections });
        let (histories, waits) = (Arc::clone(histories), Histogram::of(&POOL_WAIT, &[name]));
        Ok(Self(Arc::new(Shared { options, histories, size, wait, silences, reconnects, waits, current })))
    }

    /// A pool of at most `size` connections to the same server, which other callers do not use. Nor does it wait for their
    /// attempts to connect.
    pub(super) fn apart(&self, size: usize) -> Result<Self> {
        let Shared { options, histories, wait, silences, .. } = &*self.0;
        Self::new("leases", options.clone(), histories, (size, *wait), (silences, &Reconnects::default()))
    }

    /// Waits for a connection of the current history. The caller returns it with [`Connection::give_back`].
    pub(super) async fn get(&self) -> Result<Connection> {
        for _ in 0..CHANGES {
            let OfHistory { history, connections } = self.0.current()?;
            let begun = is_on().then(Instant::now);
            let object = connections.get().await;
            if let Some(begun) = begun {
                self.0.waits.record_time(begun.elapsed());
            }
            let object = match object {
                Ok(object) => object,
                // Another history began, and the pool of the earlier one was closed.
                Err(PoolError::Closed) if self.0.histories.current() != history => continue,
                Err(error) => return Err(self.0.failed(error)),
            };
            let is_new = Object::metrics(&object).recycled.is_none();
            let connection = Connection::lent(object, history, &self.0.histories);
            // A standby was compared with the primary when its connection was opened.
            let is_of_standby = self.0.options.is_of_standby();
            let is_to_verify = !is_of_standby && (is_new || self.0.is_unsure_of(&connection));
            if is_to_verify {
                self.0.verify(&connection).await?;
            }
            if connection.is_current() || !is_to_verify && !is_of_standby {
                return Ok(connection);
            }
        }
        Err(Error::HistoryChanged { store: self.0.options.place() })
    }

    /// Calls `work` with a connection, and returns the connection to the pool, unless rows may still arrive on it.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.get().await?;
        let result = work(&mut connection).await;
        let is_silent = connection.watch().was_silent();
        let result = if connection.takes_cut_wait() { result.and(Err(replication::unknown())) } else { result };
        let result = result.map_err(|error| match error {
            Error::Backend { context, .. } if is_silent => self.silent(context),
            error => error,
        });
        // A silent session may still work, or wait for a standby, with locks. If it is dropped, it is ended.
        if !is_silent {
            connection.give_back();
        }
        result
    }
}

impl Pool {
    /// How busy the pool is.
    pub(super) fn connections(&self) -> Connections {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        let status = current.connections.status();
        Connections::new(status.size.saturating_sub(status.available), status.max_size, status.waiting)
    }

    /// The attempts to connect of the open store.
    pub(super) fn reconnects(&self) -> &Reconnects {
        &self.0.reconnects
    }

    /// The server's place, without secrets.
    pub(super) fn place(&self) -> String {
        self.0.options.place()
    }

    /// The error of a call whose connection was closed because an answer did not arrive in time.
    pub(super) fn silent(&self, context: impl Into<String>) -> Error {
        let PostgresOptions { answer_within, .. } = &self.0.options;
        Error::backend(context, true, format!("{} did not answer within {answer_within:?}", self.0.options.place()))
    }
}

impl Shared {
    /// The pool of the current history. The pool of an earlier one is closed, which sends its waiting callers here.
    fn current(&self) -> Result<OfHistory> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let history = self.histories.current();
        if current.history != history {
            let (bounds, shared) = ((self.size, self.wait), (&self.silences, &self.reconnects));
            let connections = make(&self.options, &self.histories, bounds, shared)?;
            let before = std::mem::replace(&mut *current, OfHistory { history, connections });
            before.connections.close();
        }
        Ok(current.clone())
    }

    async fn verify(&self, connection: &Connection) -> Result<History> {
        match timeout(self.options.answer_within, self.histories.verify(connection)).await {
            Ok(history) => {
                let history = history.map_err(failure::backend("asking the server for its history"))?;
                let deposed = || NotConnected::Deposed { place: self.options.place() };
                history.ok_or_else(|| deposed().at_first(format!("connecting to {}", self.options.place())))
            }
            Err(_) => Err(self.unconnected()),
        }
    }

    /// Whether the server of a connection may have changed since it was asked.
    fn is_unsure_of(&self, connection: &Connection) -> bool {
        connection.is_behind_pooler()
            && !self.histories.is_recent()
            && !self.histories.has(PlantedBug::PoolersChangeServers)
    }

    fn unconnected(&self) -> Error {
        let context = format!("connecting to {}", self.options.place());
        Error::backend(context, true, format!("no answer within {:?}", self.options.answer_within))
    }

    fn failed(&self, error: PoolError<NotConnected>) -> Error {
        let place = self.options.place();
        match error {
            PoolError::Backend(error) => error.into_error(format!("connecting to {place}"), failure::not_connected),
            PoolError::Timeout(TimeoutType::Wait) => {
                Error::backend(format!("waiting for a free connection to {place}"), true, error)
            }
            PoolError::Timeout(_) => self.unconnected(),
            _ => Error::backend(format!("connecting to {place}"), false, error),
        }
    }
}

fn make(
    options: &PostgresOptions,
    histories: &Arc<Histories>,
    (size, wait): (usize, Option<Duration>),
    (silences, reconnects): (&Silences, &Reconnects),
) -> Result<deadpool::managed::Pool<Sessions>> {
    let (hosts, tls, silences) = (options.hosts().of_histories(histories), options.tls.clone(), silences.clone());
    let behind_pooler = options.behind_pooler().map(Arc::new);
    let (answer_within, reconnects) = (options.answer_limit(), reconnects.clone());
    let sessions = Sessions { hosts, tls, answer_within, silences, reconnects, behind_pooler };
    let pool = deadpool::managed::Pool::builder(sessions)
        .max_size(size)
        .wait_timeout(wait)
        .create_timeout(Some(options.answer_within))
        .runtime(Runtime::Tokio1)
        .build();
    pool.map_err(|error| Error::backend("making a connection pool", false, error))
}
