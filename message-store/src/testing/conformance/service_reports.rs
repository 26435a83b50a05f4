//! Rules of the reports of services: the last one of each, the latest first.

use crate::store::{SavedReport, ServiceReports};
use crate::{Json, MessageStore, Read, Uuid};

use super::{Rule, Subject};

/// The reports of a store, if it keeps any.
fn reports_of(store: &dyn MessageStore) -> Option<&dyn ServiceReports> {
    let reports = store.service_reports();
    if reports.is_none() {
        println!("not checked: the store keeps no reports of services");
    }
    reports
}

fn report(text: &str) -> Json {
    Json::encode(&[text]).unwrap()
}

contract! { $ service_reports service_reports_tests {
    async fn the_last_report_of_each_service_is_kept(subject) {
        let store = subject.store();
        let Some(reports) = reports_of(&*store) else { return };
        assert!(reports.reports().await.unwrap().is_empty());
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        for (service, text) in [(first, "a"), (second, "b"), (first, "\u{e9}'\"\\"), (second, "d")] {
            reports.save_report(service, &report(text)).await.unwrap();
        }
        let found: Vec<SavedReport> = reports.reports().await.unwrap();
        let found: Vec<(Uuid, bool)> =
            found.iter().map(|saved| (saved.service, saved.report.same_as(&report(if saved.service == first { "\u{e9}'\"\\" } else { "d" })))).collect();
        assert_eq!(found, [(second, true), (first, true)], "the latest first");
        assert!(store.read_all(Read::default()).await.unwrap().messages.is_empty(), "a report is no message");
    }

    async fn a_report_has_the_times_of_the_first_and_of_the_last(subject) {
        let store = subject.store();
        let Some(reports) = reports_of(&*store) else { return };
        let service = Uuid::now_v7();
        reports.save_report(service, &report("a")).await.unwrap();
        let first = reports.reports().await.unwrap().remove(0);
        assert_eq!(first.started_at, first.reported_at);
        while store.now().await.unwrap() <= first.reported_at {}
        reports.save_report(service, &report("b")).await.unwrap();
        let last = reports.reports().await.unwrap().remove(0);
        assert_eq!(last.started_at, first.started_at);
        assert!(last.reported_at > first.reported_at && last.reported_at <= store.now().await.unwrap());
        while store.now().await.unwrap() <= last.reported_at {}
        let later = reports.reports().await.unwrap().remove(0);
        assert!(later.age > std::time::Duration::ZERO && later.reported_at == last.reported_at, "{later:?}");
    }
}}
