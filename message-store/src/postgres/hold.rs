//! Keys held across processes: advisory locks of one session.
//!
//! All keys of an open store are held by one connection of their own, so that those who work hold none from the pool. The server frees
//! them when the connection ends, with this process or without it.

use std::sync::Arc;

use super::failure::backend;
use super::session::{Connected, Session};
use crate::idempotence::{Claim, name_for_locks};
use crate::{Error, Result};

const TAKE: &str = "SELECT pg_try_advisory_lock($1)";
const FREE: &str = "SELECT pg_advisory_unlock($1)";

/// A lock of the session; freed when it is dropped.
pub(super) struct Lock {
    connected: Arc<Connected>,
    number: i64,
    runtime: tokio::runtime::Handle,
}

/// The key, if no other process has it. Callers of this process must have settled it among themselves: to the server
/// they are one.
pub(super) async fn try_hold(session: &Session, claim: &Claim) -> Result<Option<Lock>> {
    let number = name_for_locks(claim).as_u64_pair().0.cast_signed();
    let connected = session.connected().await?;
    let runtime = tokio::runtime::Handle::current();
    // In a task of its own: a lock that is granted to a caller who has gone is freed again.
    let attempt = runtime.clone().spawn(async move {
        let statement = connected.prepare_cached(TAKE).await?;
        let row = connected.query_one(&statement, &[&number]).await?;
        Ok::<_, tokio_postgres::Error>(row.try_get::<_, bool>(0)?.then(|| Lock { connected, number, runtime }))
    });
    match attempt.await {
        Ok(result) => result.map_err(backend("holding a key")),
        Err(error) => Err(Error::backend("holding a key", false, error)),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let (connected, number) = (Arc::clone(&self.connected), self.number);
        self.runtime.spawn(async move {
            let freed = async {
                let statement = connected.prepare_cached(FREE).await?;
                connected.query_one(&statement, &[&number]).await
            };
            if let Err(error) = freed.await {
                tracing::debug!(%error, "a key was freed with its connection");
            }
        });
    }
}
