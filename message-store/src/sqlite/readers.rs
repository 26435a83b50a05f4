//! The connections that read. Each is used by one blocking task at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::blocking::blocking;
use super::failure::failed;
use crate::{Error, Result};

#[derive(Clone, Debug)]
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Arc<Mutex<Connection>>>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { free: Arc::new(Mutex::new(connections)), permits }
    }

    /// Reads on a thread that may block. `what` is the context of an error.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.lend(move |connection| read(connection).map_err(|error| failed(what, error))).await
    }

    /// Lends a connection to a task on a thread that may block.
    pub(super) async fn lend<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let closed = |error| Error::backend("reading from the SQLite store", false, error);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        let free = Arc::clone(&self.free);
        blocking(move || {
            let taken = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection =
                taken.ok_or_else(|| Error::backend("reading from the SQLite store", true, "no connection"))?;
            let lent = Lent { connection, free, _permit: permit };
            work(&mut lent.connection.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
    }
}

/// A connection that is free again when this is dropped, also by a panic.
struct Lent {
    connection: Arc<Mutex<Connection>>,
    free: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.connection));
    }
}
