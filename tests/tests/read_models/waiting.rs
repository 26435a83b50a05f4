//! Waits for a position: a caller reads its own writes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::store::OnApplyFailure;
use message_store::{Error, GlobalPosition, connect};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use message_store_tests::sums::{Fails, Sums, account, batches, deposit, read_models, seen};

const COMES: Duration = Duration::from_mins(2);

on_both_stores! {
    async fn a_caller_waits_until_a_read_model_has_its_write(store) {
        let model = Sums::version(1).shared();
        let position = deposit(&store, [1, 2]).await;
        let behind = read_models(&store).wait_for("sums", position, Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(behind, Error::ReadModelBehind { reached: GlobalPosition::ZERO, .. }), "{behind}");
        assert!(behind.is_transient(), "a consumer waits it out");
        let waiting = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                read_models(&store).wait_for("sums", position, COMES).await.unwrap();
                seen(&store).await
            })
        };
        let _ = read_models(&store).advance(&model, &batches(1)).await.unwrap();
        assert!(!waiting.is_finished());
        read_models(&store).update(&model, &account()).await.unwrap();
        assert_eq!(waiting.await.unwrap(), [3, 1]);
        read_models(&store).wait_for("sums", position, Duration::ZERO).await.unwrap();
    }

    async fn a_caller_waits_for_the_version_that_serves(store) {
        let first = deposit(&store, 1..=3).await;
        read_models(&store).update(&Sums::version(1).shared(), &account()).await.unwrap();
        read_models(&store).begin(&Sums::version(2).shared()).await.unwrap();
        read_models(&store).wait_for("sums", first, Duration::ZERO).await.unwrap();
        let second = deposit(&store, [4]).await;
        let store_of_other = Arc::clone(&store);
        let waiting = tokio::spawn(async move {
            read_models(&store_of_other).wait_for("sums", second, COMES).await.unwrap();
            seen(&store_of_other).await
        });
        // The new version is built up to the position of the old one, and then goes on.
        read_models(&store).update(&Sums::version(2).shared(), &account()).await.unwrap();
        assert_eq!(waiting.await.unwrap(), [10, 2]);
    }

    async fn a_position_that_is_set_back_is_waited_for_again(store) {
        let model = Sums::version(1).shared();
        let position = deposit(&store, [1]).await;
        read_models(&store).update(&model, &account()).await.unwrap();
        assert!(read_models(&store).set_position("sums", GlobalPosition::ZERO).await.unwrap());
        let behind = read_models(&store).wait_for("sums", position, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(behind, Error::ReadModelBehind { .. }), "{behind}");
    }

    async fn a_skipped_message_keeps_no_caller_waiting(store) {
        let position = deposit(&store, [1]).await;
        let failing = Sums::version(1).failing(Fails::Apply(1)).shared();
        let _ = read_models(&store).advance(&failing, &batches(1).on_failure(OnApplyFailure::Skip)).await.unwrap();
        read_models(&store).wait_for("sums", position, Duration::ZERO).await.unwrap();
    }
}

/// The process that updates the read model is another one.
async fn from_another_process(place: AgeingStore) {
    let (store, other) = (connect(&place.url()).await.unwrap(), connect(&place.url()).await.unwrap());
    let position = deposit(&store, [1, 2]).await;
    let waiting = tokio::spawn(async move { read_models(&store).wait_for("sums", position, COMES).await });
    read_models(&other).update(&Sums::version(1).shared(), &account()).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_waits_for_an_updater_in_another_process() {
    from_another_process(AgeingStore::postgres().await).await;
    from_another_process(AgeingStore::sqlite()).await;
}
