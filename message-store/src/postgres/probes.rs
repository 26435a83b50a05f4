//! Probes at the start: whether the server does what the store relies on, found out by doing it.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

use super::failure::{self, backend};
use super::row::get;
use super::state::problem_of_draws;
use super::{PlantedBug, PostgresOptions};
use crate::{Error, Result};

/// How long the second session may take. A pooler with one session never gives it.
const SECOND_SESSION: Duration = Duration::from_secs(3);

impl PostgresOptions {
    /// Refuses a server on which two sessions can have the same lock: writers of one category would write at once.
    pub(super) async fn assert_locks_exclude(&self, first: &mut Client) -> Result<()> {
        let context = "probing the locks of the server";
        let key = i64::from_be_bytes(Uuid::new_v4().into_bytes()[..8].try_into().unwrap_or_default());
        let probe = async {
            let mut second = self.connect().await?;
            let first = first.transaction().await.map_err(backend(context))?;
            let second = second.transaction().await.map_err(backend(context))?;
            let mut taken = Vec::new();
            for session in [first.client(), second.client()] {
                let sql = if self.planted.is(PlantedBug::LocksExcludeNobody) { TRY_SHARED } else { TRY };
                let row = session.query_one(sql, &[&key]).await.map_err(backend(context))?;
                taken.push(get::<bool>(&row, 0)?);
            }
            Ok(taken)
        };
        match timeout(SECOND_SESSION, probe).await {
            Ok(Ok(taken)) if taken == [true, false] => Ok(()),
            Ok(Ok(_)) => {
                let what = "a server whose advisory locks do not exclude: two sessions have taken the same lock, so two writers of one category could write at once";
                Err(Error::Unsupported { store: self.place(), what: what.to_owned() })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::warn!(target: "message_store::postgres", store = %self.place(), "the locks of the server could not be probed: a second session did not come in time");
                Ok(())
            }
        }
    }
}

const TRY: &str = include_str!("sql/try_lock.sql");
const TRY_SHARED: &str = include_str!("sql/try_shared_lock.sql");

/// Refuses a sequence of global positions that sessions draw from out of order. A draw is not tried, because it would
/// leave a gap at every start.
pub(super) async fn assert_draws_are_ordered(client: &Client, place: &str) -> Result<()> {
    let Some(problem) = problem_of_draws(client).await? else { return Ok(()) };
    Err(Error::Schema { store: place.to_owned(), problem: format!("the sequence of global positions: {problem}") })
}

/// Refuses a session in which Message DB's functions do not find each other.
pub(super) async fn assert_path(client: &Client, place: &str) -> Result<()> {
    let row = client.query_one(include_str!("sql/setting.sql"), &[&"search_path"]).await;
    let path: String = get(&row.map_err(backend("reading a setting"))?, 0)?;
    if path.split(',').any(|schema| schema.trim() == "message_store") {
        return Ok(());
    }
    let what = format!(
        "Message DB's own schema behind a pooler with the search_path {path:?}; for this user, set: ALTER ROLE … SET search_path = message_store, public"
    );
    Err(Error::Unsupported { store: place.to_owned(), what })
}

/// Warns if `fsync` or `synchronous_commit` is off. An acknowledged append survives a power loss only if both are on.
pub(super) async fn warn_if_not_durable(client: &Client, place: &str) -> Result<()> {
    for setting in ["fsync", "synchronous_commit"] {
        let sql = include_str!("sql/setting.sql");
        let row = client.query_one(sql, &[&setting]).await.map_err(failure::backend("reading a setting"))?;
        if get::<String>(&row, 0)? == "off" {
            tracing::warn!(target: "message_store::postgres", store = %place, "{setting} is off: a power loss of the server can lose acknowledged messages");
        }
    }
    Ok(())
}
