//! The reports of services: one row each.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use super::connection::Connection;
use super::failure::backend;
use super::row::get;
use crate::store::{Connections, HistoryChange, SavedReport, ServiceReports, StandbyReads};
use crate::{Json, Result};

const SAVE: &str = include_str!("sql/save_report.sql");
const REPORTS: &str = include_str!("sql/reports.sql");

#[async_trait]
impl ServiceReports for PostgresStore {
    async fn save_report(&self, service: Uuid, report: &Json) -> Result<()> {
        let save = async |connection: &mut Connection| {
            let saved = connection.execute(SAVE, &[&service, &report.text()]).await;
            saved.map_err(backend("saving the report of a service"))
        };
        self.pool.with(save).await.map(drop)
    }

    async fn reports(&self) -> Result<Vec<SavedReport>> {
        let read = async |connection: &mut Connection| {
            connection.query(REPORTS, &[]).await.map_err(backend("reading the reports of services"))
        };
        let rows = self.pool.with(read).await?;
        let saved = rows.iter().map(|row| {
            let (started_at, reported_at) = (get(row, 1)?, get(row, 2)?);
            let age = Duration::try_from_secs_f64(get(row, 3)?).unwrap_or_default();
            Ok(SavedReport::new(get(row, 0)?, (started_at, reported_at), age, Json::from_database(get(row, 4)?)))
        });
        saved.collect()
    }

    fn connections(&self) -> Option<Connections> {
        Some(self.pool.connections())
    }

    async fn standby_reads(&self) -> Option<StandbyReads> {
        match &self.standby {
            Some(standby) => Some(standby.report(&self.pool).await),
            None => None,
        }
    }

    fn history_change(&self) -> Option<HistoryChange> {
        self.histories.change()
    }
}
