//! `message-store services`: lists the services that run on a store, and what they report.

use anyhow::{Context as _, Result};
use message_store::service::{ReportedStandbyReads, ServiceReport};
use serde_json::json;

use crate::open::StoreUrl;
use crate::output::{Format, Rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Services {
    #[command(flatten)]
    store: StoreUrl,
    /// Show the last messages that were recognised as repeats, with their originals
    #[arg(long)]
    repeats: bool,
}

impl Services {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let reports = store.service_reports().context("this store keeps no reports of services")?;
        let mut found = Vec::new();
        for saved in reports.reports().await? {
            found.push((ServiceReport::of(&saved)?, saved.age.as_secs()));
        }
        if self.repeats { repeats(format, &found) } else { services(format, &found) }
    }
}

fn services(format: Format, found: &[(ServiceReport, u64)]) -> Result<()> {
    let columns = ["service", "host", "process", "state", "seconds ago", "consumers", "category reads", "reasons"];
    let mut rows = Rows::new(format, columns)?;
    for (report, seconds) in found {
        let state = match (report.has_ended, report.is_ready) {
            (true, _) => "ended",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        let consumers: Vec<String> = report
            .consumers
            .iter()
            .map(|consumer| {
                let pause = if consumer.pause.is_some() { " (paused)" } else { "" };
                format!("{} at {}{pause}", consumer.position_stream, consumer.handled_through)
            })
            .collect();
        rows.add([
            json!(report.name),
            json!(report.host),
            json!(report.process),
            json!(state),
            json!(seconds),
            json!(consumers.join(", ")),
            json!(report.standby_reads.as_ref().map(category_reads)),
            json!(report.reasons.join("; ")),
        ])?;
    }
    rows.print()
}

/// From where a service reads categories, if a standby is to serve the reads.
fn category_reads(reads: &ReportedStandbyReads) -> String {
    match (&reads.reason, reads.bytes_behind) {
        (Some(reason), _) => format!("primary, because no standby serves: {reason}"),
        (None, Some(bytes)) => format!("standby, {bytes} bytes behind"),
        (None, None) => "standby".to_owned(),
    }
}

fn repeats(format: Format, found: &[(ServiceReport, u64)]) -> Result<()> {
    let columns = [
        "service",
        "consumer",
        "outcome",
        "id",
        "stream",
        "position",
        "original id",
        "original stream",
        "original position",
        "time",
    ];
    let mut rows = Rows::new(format, columns)?;
    for (report, _) in found {
        for consumer in &report.consumers {
            for repeat in &consumer.repeats {
                rows.add([
                    json!(report.name),
                    json!(consumer.position_stream),
                    json!(repeat.outcome),
                    json!(repeat.id.to_string()),
                    json!(repeat.stream.as_str()),
                    json!(repeat.position.get()),
                    json!(repeat.original_id.to_string()),
                    json!(repeat.original_stream.as_str()),
                    json!(repeat.original_position.get()),
                    json!(repeat.at.to_string()),
                ])?;
            }
        }
    }
    rows.print()
}
