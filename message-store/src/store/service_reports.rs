//! An optional part of a store: what running services report, for people and tools in other processes.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{HistoryChange, StandbyReads};
use crate::{Json, Result};

/// The last report of each service that runs on a store, or has run on it within a day. Nothing is decided by them, so a store need
/// not make them durable.
#[async_trait]
pub trait ServiceReports: Send + Sync {
    /// Keeps the report of a service in place of its last one. Forgets services that have not reported for a day.
    async fn save_report(&self, service: Uuid, report: &Json) -> Result<()>;

    /// The last report of each service, the latest first.
    async fn reports(&self) -> Result<Vec<SavedReport>>;

    /// How busy the connections of this handle are, as of now. `None` for a store without a pool.
    fn connections(&self) -> Option<Connections> {
        None
    }

    /// The reads of categories that a standby serves. `None` if no standby is to serve any.
    async fn standby_reads(&self) -> Option<StandbyReads> {
        None
    }

    /// How the present history of this handle began. `None` for the first one.
    fn history_change(&self) -> Option<HistoryChange> {
        None
    }
}

/// The last report of a service.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SavedReport {
    #[allow(missing_docs)]
    pub service: Uuid,
    /// The time of its first report, by the database's clock.
    pub started_at: Timestamp,
    /// The time of its last report, by the database's clock.
    pub reported_at: Timestamp,
    /// The time since then.
    pub age: Duration,
    /// As it was saved. A store may change the order of keys and the white space.
    pub report: Json,
}

impl SavedReport {
    /// A report of these parts.
    pub fn new(service: Uuid, (started_at, reported_at): (Timestamp, Timestamp), age: Duration, report: Json) -> Self {
        Self { service, started_at, reported_at, age, report }
    }
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connections {
    /// The number that callers have now.
    pub in_use: usize,
    /// The greatest number of connections.
    pub limit: usize,
    /// The number of callers that wait for one.
    pub waiting: usize,
}

impl Connections {
    /// A pool with these numbers.
    pub fn new(in_use: usize, limit: usize, waiting: usize) -> Self {
        Self { in_use, limit, waiting }
    }
}
