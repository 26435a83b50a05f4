//! Reporting: a service saves what it does in its store, from time to time and when it ends.
//!
//! Problem: a service that ends stops its reports, and one of them may be on its way. If it arrives after the last one, the service
//! seems to run. Fix: a report is saved in a task of its own, which nothing stops, and the last one waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use super::report::{ReportedConnections, ServiceReport};
use crate::store::Connections;
use crate::{Error, Json, MessageStore, Result, Timestamp, chain};

/// The time in which the store must take the last report of a service that ends.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// What a service needs to report.
#[derive(Clone, Debug)]
pub(super) struct Reporting {
    store: Arc<dyn MessageStore>,
    service: Uuid,
    name: String,
    every: Duration,
    saving: Arc<Mutex<Saving>>,
}

/// What is known from one report to the next. A report holds it while it is saved.
#[derive(Debug, Default)]
struct Saving {
    /// Since when callers have waited for a connection at each report.
    waiting_since: Option<Timestamp>,
}

impl Reporting {
    pub(super) fn new(store: &Arc<dyn MessageStore>, name: String, every: Duration) -> Self {
        Self { store: Arc::clone(store), service: Uuid::now_v7(), name, every, saving: Arc::default() }
    }

    /// Reports until it is dropped.
    pub(super) async fn run(self, look: impl Fn() -> ServiceReport + Send + Sync) {
        loop {
            self.report(look()).await;
            tokio::time::sleep(self.every).await;
        }
    }

    /// The last report of a service, which has ended with this error, or without one.
    pub(super) async fn end(self, report: ServiceReport, error: Option<&Error>) {
        let ended = error.map_or_else(|| "it has ended".to_owned(), |error| format!("it has ended: {}", chain(error)));
        let last = ServiceReport { has_ended: true, has_failed: error.is_some(), reasons: vec![ended], ..report };
        if timeout(LAST_WITHIN, self.report(last)).await.is_err() {
            tracing::debug!(target: "message_store::service", "the last report of the service was not saved in time");
        }
    }

    async fn report(&self, report: ServiceReport) {
        let mut saving = Arc::clone(&self.saving).lock_owned().await;
        let this = self.clone();
        let saved = tokio::spawn(async move { this.save(&mut saving, report).await }).await;
        // Consumers show an outage themselves.
        if let Ok(Err(error)) = saved {
            tracing::debug!(target: "message_store::service", %error, "the report of the service was not saved");
        }
    }

    async fn save(&self, saving: &mut Saving, report: ServiceReport) -> Result<()> {
        let Some(reports) = self.store.service_reports() else { return Ok(()) };
        let connections = reports.connections().map(|Connections { in_use, limit, waiting, .. }| {
            let now = Timestamp::now();
            saving.waiting_since = (waiting > 0).then(|| saving.waiting_since.unwrap_or(now));
            ReportedConnections { in_use, limit, waiting, waiting_since: saving.waiting_since }
        });
        let report = ServiceReport {
            name: self.name.clone(),
            host: host(),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Some(Timestamp::now()),
            connections,
            standby_reads: reports.standby_reads().await.map(Into::into),
            history_change: reports.history_change().map(Into::into),
            ..report
        };
        reports.save_report(self.service, &Json::encode(&report)?).await
    }
}

/// The name of this machine, as far as the environment tells it.
fn host() -> String {
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let of_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named.or_else(of_kernel).map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The name of this program.
pub(super) fn program() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(|program| program.file_stem()).and_then(|name| name.to_str());
    name.unwrap_or("service").to_owned()
}
