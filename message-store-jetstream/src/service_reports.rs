//! The reports of services: one document for each service, which the server forgets after a day.

use async_trait::async_trait;
use message_store::store::{SavedReport, ServiceReports};
use message_store::{Json, Result, Timestamp, Uuid};
use serde::{Deserialize, Serialize};

use crate::documents::{Change, WhenLost};
use crate::leases::between;
use crate::store::JetstreamStore;

const REPORT: &str = "report";
const KEPT_FOR: u64 = 24 * 3600;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Report {
    service: Uuid,
    started_at: Timestamp,
    reported_at: Timestamp,
    text: Json,
}

#[async_trait]
impl ServiceReports for JetstreamStore {
    async fn save_report(&self, service: Uuid, report: &Json) -> Result<()> {
        let mut change = Change::new("saving the report of a service", WhenLost::Again);
        loop {
            let subject = self.log.subjects.document(REPORT, &[&service.to_string()]);
            let (document, state) = tokio::try_join!(self.log.document::<Report>(subject), self.log.state())?;
            let started_at = document.content.as_ref().map_or(state.now, |first| first.started_at);
            let report = Report { service, started_at, reported_at: state.now, text: report.clone() };
            if change.is_done(&self.log, &[document.replaced_by(&report)?.for_seconds(KEPT_FOR)]).await? {
                return Ok(());
            }
        }
    }

    async fn reports(&self) -> Result<Vec<SavedReport>> {
        let filter = self.log.subjects.documents(REPORT, &[]);
        let (documents, state) = tokio::try_join!(self.log.all_documents::<Report>(&filter), self.log.state())?;
        let mut found: Vec<_> = documents.into_iter().filter_map(|document| document.content).collect();
        found.sort_by_key(|report| (std::cmp::Reverse(report.reported_at), report.service));
        let saved = found.into_iter().map(|Report { service, started_at, reported_at, text }| {
            SavedReport::new(service, (started_at, reported_at), between(reported_at, state.now), text)
        });
        Ok(saved.collect())
    }
}
