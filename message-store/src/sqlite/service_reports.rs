//! The reports of services: one row each. The writer's thread saves them, as parts of its transactions.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::SqliteStore;
use super::lease_changes::since;
use super::read::time_in;
use crate::store::{SavedReport, ServiceReports};
use crate::{Json, Result};

#[async_trait]
impl ServiceReports for SqliteStore {
    async fn save_report(&self, service: Uuid, report: &Json) -> Result<()> {
        self.writer.save_report(service, report.clone()).await
    }

    async fn reports(&self) -> Result<Vec<SavedReport>> {
        self.readers
            .read("reading the reports of services", |connection| {
                let now = Timestamp::now().as_microsecond();
                let mut statement = connection.prepare_cached(include_str!("sql/reports.sql"))?;
                let reports = statement.query_map([], |row| {
                    let (started_at, reported_at) = (time_in(1, row.get(1)?)?, time_in(2, row.get(2)?)?);
                    let age = since(now, row.get(2)?);
                    let report = Json::from_database(row.get(3)?);
                    Ok(SavedReport::new(Uuid::from_bytes(row.get(0)?), (started_at, reported_at), age, report))
                })?;
                reports.collect()
            })
            .await
    }
}
