//! Changed messages, beside erasures and snapshots.

use std::sync::atomic::{AtomicBool, Ordering};

use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::operations::Erasing;
use message_store::*;
use message_store_tests::accounts::put;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

const RENAMED: &[Upcaster] = &[Upcaster::rename(("Paid", 1), ("Deposited", 1)), Upcaster::drop(("Pinged", 1))];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Deposited { amount: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Wallet {
    balance: u64,
    deposits: u64,
}

impl Projection for Wallet {
    const CATEGORY: &'static str = "wallet";
    type Event = Event;
    const UPCASTERS: &'static [Upcaster] = RENAMED;
    fn apply(&mut self, Event::Deposited { amount }: &Event) {
        self.balance += amount;
        self.deposits += 1;
    }
    fn apply_erased(&mut self, message_type: &str) {
        // The number of deposits needs no data.
        self.deposits += u64::from(message_type == "Deposited");
    }
}

static IGNORES: AtomicBool = AtomicBool::new(true);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Ignoring {
    balance: u64,
}

impl Projection for Ignoring {
    const CATEGORY: &'static str = "wallet";
    type Event = Event;
    fn ignores(message_type: &str) -> bool {
        IGNORES.load(Ordering::SeqCst) && message_type == "Audited"
    }
    fn apply(&mut self, Event::Deposited { amount }: &Event) {
        self.balance += amount;
    }
}

on_both_stores! {
    async fn the_last_message_of_a_type_is_found_under_its_earlier_name_also_if_it_was_erased(store) {
        let stream = StreamName::new("wallet-1").unwrap();
        put(&store, "wallet-1", "Paid", r#"{"amount":1}"#, "{}").await;
        let last = put(&store, "wallet-1", "Paid", r#"{"amount":2}"#, "{}").await;
        let found = async || store.last_message_as(&stream, "Deposited", RENAMED).await.unwrap().map(|found| found.id);
        assert_eq!(found().await, Some(last.id));
        Erasing::stream(&store, "wallet-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(found().await, Some(last.id), "a rename needs no data");
    }

    async fn an_erased_event_of_an_earlier_name_is_applied_as_one_of_todays(store) {
        put(&store, "wallet-1", "Paid", r#"{"amount":1}"#, "{}").await;
        put(&store, "wallet-1", "Deposited", r#"{"amount":2}"#, "{}").await;
        let deposits = async || EntityStore::<Wallet>::new(&store).fetch("1").await.unwrap().state.deposits;
        assert_eq!(deposits().await, 2);
        Erasing::stream(&store, "wallet-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(deposits().await, 2, "its type is known: it is a deposit by today's name");
    }

    async fn an_erased_event_of_an_unknown_type_is_an_error_as_before(store) {
        put(&store, "wallet-1", "Withdrawn", r#"{"amount":1}"#, "{}").await;
        let fetched = async || EntityStore::<Wallet>::new(&store).fetch("1").await.map(drop);
        assert!(matches!(fetched().await, Err(Error::UnknownEvent { .. })));
        Erasing::stream(&store, "wallet-1").unwrap().run(|_| {}).await.unwrap();
        assert!(matches!(fetched().await, Err(Error::UnknownEvent { .. })), "{:?}", fetched().await);
    }

    async fn an_erased_event_of_a_newer_version_is_an_error_as_before(store) {
        put(&store, "wallet-1", "Deposited", r#"{"amount":1}"#, r#"{"messageStore":{"typeVersion":9}}"#).await;
        let fetched = async || EntityStore::<Wallet>::new(&store).fetch("1").await.map(drop);
        assert!(matches!(fetched().await, Err(Error::NewerVersion { .. })));
        Erasing::stream(&store, "wallet-1").unwrap().run(|_| {}).await.unwrap();
        assert!(matches!(fetched().await, Err(Error::NewerVersion { .. })), "{:?}", fetched().await);
    }

    async fn a_filter_by_a_renamed_type_passes_erased_messages(store) {
        put(&store, "wallet-1", "Paid", r#"{"amount":1}"#, "{}").await;
        Erasing::stream(&store, "wallet-1").unwrap().run(|_| {}).await.unwrap();
        let read = Read::default().filter(Filter::default().message_types(["Deposited"]).widened_by(RENAMED));
        let batch = store.read_category(&Category::new("wallet").unwrap(), read).await.unwrap();
        assert_eq!(batch.messages.len(), 1);
    }
}

/// State by a snapshot is state by a replay. In one test, because of the static.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_type_that_is_no_longer_ignored_is_an_error_with_a_snapshot_too() {
    let store = message_store_tests::accounts::sqlite().await;
    put(&store, "wallet-1", "Deposited", r#"{"amount":1}"#, "{}").await;
    put(&store, "wallet-1", "Audited", "{}", "{}").await;
    let with = || EntityStore::<Ignoring>::new(&store).snapshots(SnapshotPolicy::every(1));
    let entities = with();
    entities.fetch("1").await.unwrap();
    entities.snapshots_written().await;
    // The next release does not ignore it.
    IGNORES.store(false, Ordering::SeqCst);
    let replayed = EntityStore::<Ignoring>::new(&store).fetch("1").await.map(drop);
    assert!(matches!(replayed, Err(Error::UnknownEvent { .. })), "{replayed:?}");
    let loaded = with().fetch("1").await.map(drop);
    assert!(matches!(loaded, Err(Error::UnknownEvent { .. })), "with a snapshot: {loaded:?}");
}
