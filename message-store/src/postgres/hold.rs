//! Keys held across processes: advisory locks of one session.
//!
//! All keys of an open store are held by one connection of their own, so that those who work hold none from the pool. The server frees
//! them when the connection ends, with this process or without it.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::PostgresOptions;
use super::failure::backend;
use crate::idempotence::{Claim, name_for_locks};
use crate::{Error, Result};

const TAKE: &str = "SELECT pg_try_advisory_lock($1)";
const FREE: &str = "SELECT pg_advisory_unlock($1)";

#[derive(Debug)]
pub(super) struct Session {
    options: PostgresOptions,
    client: Mutex<Option<Arc<Client>>>,
}

/// A lock of the session; freed when it is dropped.
pub(super) struct Lock {
    client: Arc<Client>,
    number: i64,
    runtime: tokio::runtime::Handle,
}

impl Session {
    /// Connects when the first key is held.
    pub(super) fn new(options: PostgresOptions) -> Self {
        Self { options, client: Mutex::default() }
    }

    /// The key, if no other process has it. Callers of this process must have settled it among themselves: to the server
    /// they are one.
    pub(super) async fn try_hold(&self, claim: &Claim) -> Result<Option<Lock>> {
        let number = name_for_locks(claim).as_u64_pair().0.cast_signed();
        let client = self.client().await?;
        let runtime = tokio::runtime::Handle::current();
        // In a task of its own: a lock that is granted to a caller who has gone is freed again.
        let attempt = runtime.clone().spawn(async move {
            let row = client.query_one(TAKE, &[&number]).await?;
            Ok::<_, tokio_postgres::Error>(row.try_get::<_, bool>(0)?.then(|| Lock { client, number, runtime }))
        });
        match attempt.await {
            Ok(result) => result.map_err(backend("holding a key")),
            Err(error) => Err(Error::backend("holding a key", false, error)),
        }
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        match &*client {
            Some(client) if !client.is_closed() => Ok(Arc::clone(client)),
            _ => Ok(Arc::clone(client.insert(Arc::new(self.options.connect().await?)))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let (client, number) = (Arc::clone(&self.client), self.number);
        self.runtime.spawn(async move {
            if let Err(error) = client.query_one(FREE, &[&number]).await {
                tracing::debug!(%error, "a key was freed with its connection");
            }
        });
    }
}
