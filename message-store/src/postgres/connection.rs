//! Connections that are lent by a pool.
//!
//! Problem: a caller that gives up drops the future that waits for an answer, and the statement goes on. The next user
//! of that connection would wait behind it. Fix: a connection goes back to its pool only when its user says that
//! everything on it is answered ([`Connection::give_back`]). Dropped in any other way, it leaves the pool at once, its
//! statement is cancelled, and it is closed. Why it is right: nothing can be forgotten; a user that forgets to give a
//! connection back costs a new one, and blocks no other caller.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, Statement};

use super::PlantedBug;
use super::history::Histories;
use crate::{GlobalPosition, History};

/// Pauses between two requests to cancel a statement. After the last, the connection is broken off.
const CANCEL_PAUSES: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(10),
];
/// How long the server may take to take a request to cancel.
const CANCEL_WITHIN: Duration = Duration::from_secs(30);

/// A connection, and what it has prepared.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None` once it is given back.
    object: Option<Object>,
    history: History,
    histories: Arc<Histories>,
    runtime: Handle,
}

impl Connection {
    /// Lent by the pool of a history.
    pub(super) fn lent(object: Object, history: History, histories: &Arc<Histories>) -> Self {
        Self { object: Some(object), history, histories: Arc::clone(histories), runtime: Handle::current() }
    }

    /// Says that everything on this connection is answered: another caller may have it.
    pub(super) fn give_back(mut self) {
        self.object = None;
    }

    /// Whether it is open, and belongs to the current history.
    pub(super) fn is_current(&self) -> bool {
        !self.is_closed() && self.history == self.histories.current()
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
        self.object().prepare_cached(sql).await
    }

    fn object(&self) -> &Object {
        let Some(object) = &self.object else { unreachable!("a connection that is given back is gone") };
        object
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.object()
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        let Some(object) = &mut self.object else { unreachable!("a connection that is given back is gone") };
        object
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if self.histories.has(PlantedBug::AbandonedConnectionsStay) {
            return;
        }
        let client = Object::take(object);
        if !client.is_closed() {
            self.runtime.spawn(cancel(client));
        }
    }
}

/// Cancels what is under way until it is answered; then the connection is closed. A request that overtakes its
/// statement cancels nothing, so it is sent again.
async fn cancel(client: ClientWrapper) {
    let token = client.cancel_token();
    // Answered in its turn: after everything that was sent before.
    let mut answered = std::pin::pin!(client.simple_query(""));
    for pause in CANCEL_PAUSES {
        if timeout(pause, &mut answered).await.is_ok() {
            return;
        }
        match timeout(CANCEL_WITHIN, token.cancel_query(NoTls)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = crate::chain(&error), "a statement could not be cancelled"),
            Err(_) => tracing::debug!("a statement could not be cancelled in time"),
        }
    }
}
