//! A service reports what it does, so that other processes see it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::MessageStore;
use message_store::consumer::Consumer;
use message_store::service::{Service, ServiceReport};
use message_store::testing::FaultyStore;
use message_store_tests::accounts::{Command, member, send};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

async fn reports(store: &Store) -> Vec<ServiceReport> {
    let saved = store.service_reports().unwrap().reports().await.unwrap();
    saved.iter().map(|saved| ServiceReport::of(saved).unwrap()).collect()
}

/// Waits until the report of the only service is as wanted.
async fn until(store: &Store, is_wanted: impl Fn(&ServiceReport) -> bool) -> ServiceReport {
    loop {
        if let Some(found) = reports(store).await.into_iter().find(&is_wanted) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn service(store: &Store) -> Service {
    Service::new(store).name("accounts").report_every(Duration::from_millis(20))
}

on_both_stores! {
    async fn a_report_shows_the_consumers_with_their_outcomes_and_repeats(store) {
        let once = |id: &str| Command::DepositOnce { amount: 1, deposit_id: id.to_owned(), time: String::new() };
        let first = send(&store, "account:command", "1", &once("d1")).await;
        let again = send(&store, "account:command", "1", &once("d1")).await;
        let service = service(&store).consumer(Consumer::new("account:command", member(&store, None)));
        let handle = service.start().await.unwrap();
        let report = until(&store, |report| report.consumers[0].handled_through >= again.global_position.get()).await;
        assert_eq!((report.name.as_str(), report.process, report.is_ready), ("accounts", std::process::id(), true));
        let consumer = &report.consumers[0];
        assert_eq!(consumer.position_stream, "account:command+position");
        assert_eq!((consumer.outcomes["handled"], consumer.outcomes["duplicate"]), (1, 1));
        assert_eq!((consumer.repeats[0].id, consumer.repeats[0].original_id), (again.id, first.id));
        assert_eq!(report.connections.is_some(), store.describe().starts_with("postgres"));
        handle.stop();
        handle.ended().await.unwrap();
        let reports = reports(&store).await;
        assert!(reports.len() == 1 && reports[0].has_ended, "{reports:?}");
        assert_eq!(reports[0].reasons, ["it has ended"]);
    }

    async fn a_report_says_why_a_service_is_not_ready_and_why_it_ended(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let handle = service(&shared).consumer(Consumer::new("account:command", member(&shared, None))).start().await.unwrap();
        until(&store, |report| report.is_ready).await;
        // The report itself does not need what is away here.
        faulty.set_unavailable(true);
        let report = until(&store, |report| !report.is_ready).await;
        assert!(report.reasons[0].contains("account:command+position"), "{report:?}");
        assert!(report.consumers[0].outage.is_some());
        faulty.set_unavailable(false);
        until(&store, |report| report.is_ready).await;
        // An operator takes the position away.
        let positions = message_store::consumer::Positions::of(&store, "account:command").unwrap();
        // The consumer may save between the two calls. The operator then tries again.
        loop {
            let saved = positions.get(None, None).await.unwrap();
            match positions.set_by_force(&saved, message_store::consumer::MoveTo::End).await {
                Err(message_store::Error::PositionTaken { .. }) => {}
                set => {
                    set.unwrap();
                    break;
                }
            }
        }
        send(&store, "account:command", "1", &Command::Deposit { amount: 1 }).await;
        handle.ended().await.unwrap_err();
        let ended = until(&store, |report| report.has_ended).await;
        assert!(ended.reasons[0].contains("account:command+position"), "{ended:?}");
    }

    async fn a_service_reports_nothing_if_it_is_told_so(store) {
        let service = service(&store).report_every(None).consumer(Consumer::new("account:command", member(&store, None)));
        let handle = service.start().await.unwrap();
        handle.stop();
        handle.ended().await.unwrap();
        assert!(reports(&store).await.is_empty());
    }
}
