//! A connection that callers share: made when it is needed, and again when it was lost.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::connection::Connection;
use super::pool::Pool;
use crate::Result;

/// Callers that share its connection are served in the order in which they ask.
#[derive(Debug)]
pub(super) struct Session {
    pool: Pool,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Session {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, connection: Mutex::default() }
    }

    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(connection) if !connection.is_closed() => Ok(Arc::clone(connection)),
            _ => Ok(Arc::clone(connection.insert(Arc::new(self.pool.get().await?)))),
        }
    }

    /// The next caller is given a new connection.
    pub(super) async fn give_up(&self, silent: &Arc<Connection>) {
        self.connection.lock().await.take_if(|connection| Arc::ptr_eq(connection, silent));
    }
}
