//! Read models: effects of skipped messages, rebuilds beside the archive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use message_store::store::{Advanced, OnApplyFailure, Update};
use message_store::*;
use message_store_tests::on_both_stores;
use message_store_tests::sums::{Fails, Sums, account, batches, deposit, mails, read_models, seen};

use super::Store;

async fn advance(store: &Store, model: Sums, with: &Update) {
    let model = model.shared();
    loop {
        match read_models(store).advance(&model, with).await.unwrap() {
            Advanced::AtEnd | Advanced::StandsBy => return,
            _ => {}
        }
    }
}

on_both_stores! {
    async fn a_message_that_the_old_version_has_skipped_is_applied_by_the_new_one_without_effects(store) {
        deposit(&store, 1..=5).await;
        let skipping = batches(2).on_failure(OnApplyFailure::Skip);
        advance(&store, Sums::version(1).failing(Fails::Apply(3)), &skipping).await;
        assert_eq!(mails(&store).await, [1, 2, 4, 5]);
        // The code is corrected and has a new version: that applies all messages.
        advance(&store, Sums::version(2), &batches(2)).await;
        deposit(&store, [6]).await;
        advance(&store, Sums::version(2), &batches(2)).await;
        assert_eq!(seen(&store).await, [21, 2]);
        let mut sent = mails(&store).await;
        sent.sort_unstable();
        assert_eq!(sent, [1, 2, 4, 5, 6]);
    }

    async fn a_version_is_built_from_zero_while_messages_move_to_the_archive(store) {
        deposit(&store, 1..=300).await;
        advance(&store, Sums::version(1), &batches(50)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let archiver = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    let now = store.now().await.unwrap();
                    // Version 1 may be behind what was just deposited.
                    let _ = message_store::operations::Archiving::of(&store, "account", now).unwrap().part(7).run(|_| {}).await;
                }
            }
        });
        let model = Sums::version(2).shared();
        let mut next = 301;
        loop {
            if read_models(&store).advance(&model, &batches(3)).await.unwrap() == Advanced::Switched { break }
            if next < 340 {
                deposit(&store, [next]).await;
                next += 1;
                advance(&store, Sums::version(1), &batches(1)).await;
            }
        }
        advance(&store, Sums::version(2), &batches(3)).await;
        stop.store(true, Ordering::SeqCst);
        archiver.await.unwrap();
        let sum: i64 = (1..next).sum();
        assert_eq!(seen(&store).await, [sum, 2]);
        assert_eq!(mails(&store).await, (1..next).collect::<Vec<_>>());
    }

    async fn a_version_that_skips_one_of_its_last_messages_is_switched_to(store) {
        deposit(&store, 1..=5).await;
        advance(&store, Sums::version(1), &batches(2)).await;
        let skipping = batches(2).on_failure(OnApplyFailure::Skip);
        let done = tokio::time::timeout(std::time::Duration::from_secs(20),
            advance(&store, Sums::version(2).failing(Fails::Apply(5)), &skipping)).await;
        assert!(done.is_ok(), "it goes round and round");
        assert_eq!(seen(&store).await, [10, 2]);
        assert_eq!(mails(&store).await, [1, 2, 3, 4, 5]);
    }
}

/// Version 1 reads one category; version 2 reads two, or the other one. A writer of the other category has drawn a low position and
/// commits after the switch.
async fn a_new_version_with_other_categories(of_version_1: &Update, of_version_2: &Update, is_open: bool) -> Vec<i64> {
    use message_store::postgres::PostgresStore;
    use message_store_tests::message_db;
    use message_store_tests::postgres::TestDatabase;
    use message_store_tests::sums::deposit_to;
    let database = TestDatabase::create().await;
    let postgres = PostgresStore::open(database.url()).await.unwrap();
    let mut client = message_db::connect(database.url(), None).await;
    let other: Store = connect(database.url()).await.unwrap();
    deposit(&other, [1]).await;
    let mut transaction = Some(client.transaction().await.unwrap());
    let message = NewMessage::new("Deposited", Json::encode(&10).unwrap());
    postgres
        .append_within(
            transaction.as_ref().unwrap(),
            Append::to(StreamName::new("transfer-1").unwrap()).message(message),
        )
        .await
        .unwrap();
    if !is_open {
        transaction.take().unwrap().commit().await.unwrap();
    }
    deposit(&other, [100]).await;
    advance(&other, Sums::version(1), of_version_1).await;
    let model = Sums::version(2).shared();
    let mut switched = false;
    for _ in 0..20 {
        switched |= read_models(&other).advance(&model, of_version_2).await.unwrap() == Advanced::Switched;
    }
    if let Some(transaction) = transaction {
        transaction.commit().await.unwrap();
    }
    advance(&other, Sums::version(1), of_version_1).await;
    for _ in 0..20 {
        switched |= read_models(&other).advance(&model, of_version_2).await.unwrap() == Advanced::Switched;
    }
    assert!(switched);
    deposit_to(&other, "account-1", [1000]).await;
    deposit_to(&other, "transfer-1", [1000]).await;
    for _ in 0..20 {
        let _ = read_models(&other).advance(&model, of_version_2).await.unwrap();
    }
    seen(&other).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_version_that_adds_a_category_misses_no_message_beside_an_open_transaction() {
    let both = Update::of(&account()).and(&Category::new("transfer").unwrap()).limit(100);
    assert_eq!(a_new_version_with_other_categories(&batches(100), &both, true).await, [2111, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_version_of_another_category_misses_no_message_beside_an_open_transaction() {
    let transfers = Update::of(&Category::new("transfer").unwrap()).limit(100);
    assert_eq!(a_new_version_with_other_categories(&batches(100), &transfers, true).await, [1010, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_a_new_version_with_other_categories_without_an_open_transaction() {
    let both = Update::of(&account()).and(&Category::new("transfer").unwrap()).limit(100);
    assert_eq!(a_new_version_with_other_categories(&batches(100), &both, false).await, [2111, 2]);
    let transfers = Update::of(&Category::new("transfer").unwrap()).limit(100);
    assert_eq!(a_new_version_with_other_categories(&batches(100), &transfers, false).await, [1010, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_a_new_version_with_the_same_categories_beside_an_open_transaction() {
    let both = Update::of(&account()).and(&Category::new("transfer").unwrap()).limit(100);
    assert_eq!(a_new_version_with_other_categories(&both, &both, true).await, [2111, 2]);
}
