//! Connections to the server, and the pools that lend them.
//!
//! Problem: a caller that gives up drops the future that waits for an answer, and the statement goes on. The next user of that
//! connection would wait behind it. Fix: a connection goes back to its pool only when its user says that everything on it is answered
//! ([`Connection::give_back`]). Dropped in any other way, it leaves the pool at once, its statement is cancelled, and it is closed. Why it
//! is right: nothing can be forgotten; a user that forgets to give a connection back costs a new one, and blocks nobody.
//!
//! Each connection is verified when it is made (see [`super::history`]) and belongs to one history of the store. A pool lends none that
//! belongs to an earlier one.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{CancelToken, Client, NoTls, Statement};

use super::history::Histories;
use super::{PlantedBug, PostgresOptions};
use crate::{Error, GlobalPosition, History, Result};

/// How long the server may take to accept a connection and to say who it is.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// Pauses between two requests to cancel a statement. After the last, the connection is broken off.
const CANCEL_PAUSES: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    options: PostgresOptions,
    histories: Arc<Histories>,
}

/// Lends connections, and makes them as they are needed.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    permits: Arc<Semaphore>,
    /// How long a caller waits for a free connection; for ever, if `None`.
    wait: Option<Duration>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection, and what it has prepared.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    history: History,
    histories: Arc<Histories>,
    driver: AbortHandle,
    runtime: Handle,
    /// While it is lent.
    loan: Option<Loan>,
}

#[derive(Debug)]
struct Loan {
    /// Dropped with the loan: another connection may be made.
    _permit: OwnedSemaphorePermit,
    pool: Weak<Shared>,
}

impl Connector {
    pub(super) fn new(options: PostgresOptions, histories: &Arc<Histories>) -> Self {
        Self { options, histories: Arc::clone(histories) }
    }

    /// A new connection, that belongs to no pool.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let connecting = async {
            let (client, driver) = self.options.connect_driven().await?;
            let history = self.histories.verify(&client).await?;
            let (histories, runtime) = (Arc::clone(&self.histories), Handle::current());
            let statements = Mutex::default();
            Ok(Connection { client, statements, history, histories, driver, runtime, loan: None })
        };
        timeout(CONNECT_WITHIN, connecting).await.unwrap_or_else(|_| {
            let context = format!("connecting to {}", self.options.place());
            Err(Error::backend(context, true, format!("no answer within {} s", CONNECT_WITHIN.as_secs())))
        })
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, size: usize, wait: Option<Duration>) -> Self {
        let permits = Arc::new(Semaphore::new(size));
        Self(Arc::new(Shared { connector, permits, wait, idle: Mutex::default() }))
    }

    /// A connection of the current history. The caller gives it back.
    pub(super) async fn get(&self) -> Result<Connection> {
        let permit = self.permit().await?;
        let mut connection = match self.0.idle() {
            Some(connection) => connection,
            None => self.0.connector.connect().await?,
        };
        connection.loan = Some(Loan { _permit: permit, pool: Arc::downgrade(&self.0) });
        Ok(connection)
    }

    /// Works on a connection, and gives it back.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.get().await?;
        let result = work(&mut connection).await;
        connection.give_back();
        result
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let acquired = Arc::clone(&self.0.permits).acquire_owned();
        let context = || format!("waiting for a free connection to {}", self.0.connector.options.place());
        let acquired = match self.0.wait {
            None => acquired.await,
            Some(wait) => timeout(wait, acquired).await.map_err(|error| Error::backend(context(), true, error))?,
        };
        acquired.map_err(|error| Error::backend(context(), false, error))
    }
}

impl Shared {
    /// One that waits to be lent. Those that are of no use are closed.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_current() {
                return Some(connection);
            }
        }
        None
    }
}

impl Connection {
    /// Says that everything on this connection is answered: another caller may have it.
    pub(super) fn give_back(mut self) {
        if let Some(pool) = self.loan.as_ref().and_then(|loan| loan.pool.upgrade()) {
            let loan = self.loan.take();
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self);
            drop(loan);
        }
    }

    /// Whether it is open, and belongs to the current history.
    pub(super) fn is_current(&self) -> bool {
        !self.client.is_closed() && self.history == self.histories.current()
    }

    /// The history that its server has.
    pub(super) fn history(&self) -> History {
        self.history
    }

    /// Notes the highest global position of an answer.
    pub(super) fn saw(&self, position: Option<GlobalPosition>) {
        self.histories.saw(self.history, position);
    }

    pub(super) async fn prepare_cached(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let statements = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = statements().get(sql).cloned();
        if let Some(statement) = prepared {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        statements().insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(loan) = self.loan.take().filter(|_| !self.client.is_closed()) else { return };
        let driver = self.driver.clone();
        if self.histories.has(PlantedBug::AbandonedConnectionsStay) {
            self.runtime.spawn(async move {
                while !driver.is_finished() {
                    sleep(CANCEL_PAUSES[0]).await;
                }
                drop(loan);
            });
            return;
        }
        self.runtime.spawn(cancel(self.client.cancel_token(), driver));
    }
}

/// Cancels until the connection has ended: it does once everything on it is answered. A request that overtakes its statement cancels
/// nothing, so it is sent again.
async fn cancel(token: CancelToken, driver: AbortHandle) {
    for pause in CANCEL_PAUSES {
        sleep(pause).await;
        if driver.is_finished() {
            return;
        }
        match timeout(CONNECT_WITHIN, token.cancel_query(NoTls)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = crate::chain(&error), "a statement could not be cancelled"),
            Err(_) => tracing::debug!("a statement could not be cancelled in time"),
        }
    }
    driver.abort();
}
