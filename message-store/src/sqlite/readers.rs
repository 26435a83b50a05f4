//! The connections that read. Each is used by one blocking task at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::blocking::blocking;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Arc<Mutex<Connection>>>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { free: Arc::new(Mutex::new(connections)), permits }
    }

    pub(super) async fn read<T: Send + 'static>(
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
            let result = work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
            free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        })
        .await
    }
}
