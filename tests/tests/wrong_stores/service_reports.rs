//! Stores that mix up the reports of services.

use message_store::store::SavedReport;
use message_store::{Append, Json, NewMessage, Result, StreamName, Uuid};

use super::wrong::{Store, Wrong, service_reports};

wrong_stores! {
    EachReportIsOfANewService breaks [
        the_last_report_of_each_service_is_kept
        a_report_has_the_times_of_the_first_and_of_the_last
    ] {
        async fn save_report(&self, store: Store<'_>, _service: Uuid, report: &Json) -> Result<()> {
            service_reports(store).save_report(Uuid::now_v7(), report).await
        }
    }
    TheEarliestReportComesFirst breaks [the_last_report_of_each_service_is_kept] {
        async fn reports(&self, store: Store<'_>) -> Result<Vec<SavedReport>> {
            let mut reports = service_reports(store).reports().await?;
            reports.reverse();
            Ok(reports)
        }
    }
    AReportIsAMessage breaks [the_last_report_of_each_service_is_kept] {
        async fn save_report(&self, store: Store<'_>, service: Uuid, report: &Json) -> Result<()> {
            let message = NewMessage::new("Reported", report.clone());
            store.append(Append::to(StreamName::new("service-1")?).message(message).into()).await?;
            service_reports(store).save_report(service, report).await
        }
    }
    AServiceHasStartedWhenItReports breaks [a_report_has_the_times_of_the_first_and_of_the_last] {
        async fn reports(&self, store: Store<'_>) -> Result<Vec<SavedReport>> {
            let reports = service_reports(store).reports().await?;
            Ok(reports.into_iter().map(|report| changed!(report.clone(), started_at = report.reported_at)).collect())
        }
    }
    AReportHasNoAge breaks [a_report_has_the_times_of_the_first_and_of_the_last] {
        async fn reports(&self, store: Store<'_>) -> Result<Vec<SavedReport>> {
            let reports = service_reports(store).reports().await?;
            Ok(reports.into_iter().map(|report| changed!(report, age = std::time::Duration::ZERO)).collect())
        }
    }
}
