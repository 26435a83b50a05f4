//! Effects: once for each message, whatever version applies it, and also when a position is set back.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use message_store::store::{Advanced, ReadModelBug, Update};
use message_store::{GlobalPosition, MessageStore};
use message_store_tests::on_both_stores;
use message_store_tests::sums::{Sums, account, batches, deposit, mails, read_models, seen};

type Store = Arc<dyn MessageStore>;

async fn advance(store: &Store, version: u32, with: &Update) {
    let model = Sums::version(version).shared();
    while read_models(store).advance(&model, with).await.unwrap() != Advanced::AtEnd {}
}

/// Version 1 serves up to 5, and the category goes on to 8. Version 2 is built and serves.
async fn mails_of_two_versions(store: &Store, with: &Update) -> Vec<i64> {
    deposit(store, 1..=5).await;
    advance(store, 1, &batches(2)).await;
    deposit(store, 6..=8).await;
    advance(store, 2, with).await;
    assert_eq!(seen(store).await, [36, 2]);
    mails(store).await
}

/// The position of version 1 is set back, because its tables are filled again. Version 2 replaces it meanwhile.
async fn mails_after_a_position_was_set_back(store: &Store, with: &Update) -> Vec<i64> {
    deposit(store, 1..=5).await;
    advance(store, 1, &batches(2)).await;
    assert!(read_models(store).set_position("sums", GlobalPosition::ZERO).await.unwrap());
    advance(store, 2, with).await;
    deposit(store, [6]).await;
    advance(store, 2, with).await;
    assert_eq!(seen(store).await, [21, 2]);
    mails(store).await
}

on_both_stores! {
    async fn each_message_has_its_effects_once_while_versions_change(store) {
        assert_eq!(mails_of_two_versions(&store, &batches(2)).await, (1..=8).collect::<Vec<_>>());
        // Back, and forth.
        for version in [1, 2] {
            assert!(read_models(&store).switch_to("sums", version).await.unwrap());
            deposit(&store, [i64::from(version) + 8]).await;
            advance(&store, version, &batches(2)).await;
        }
        assert_eq!(mails(&store).await, (1..=10).collect::<Vec<_>>());
    }

    async fn twin_with_effects_while_it_is_built_a_version_repeats_those_of_the_one_before(store) {
        let with = batches(1).plant(ReadModelBug::EffectsWhileBuilding);
        deposit(&store, 1..=3_000).await;
        advance(&store, 1, &batches(1_000)).await;
        let _ = read_models(&store).advance(&Sums::version(2).shared(), &with).await.unwrap();
        assert!(mails(&store).await.len() > 3_000);
    }

    async fn twin_when_a_build_passes_the_version_that_serves_effects_are_lost(store) {
        let with = batches(100).plant(ReadModelBug::BuildPassesServing);
        deposit(&store, 1..=2_005).await;
        advance(&store, 1, &batches(2_005)).await;
        deposit(&store, 2_006..=2_008).await;
        advance(&store, 2, &with).await;
        assert_eq!(mails(&store).await.len(), 2_005, "and not 2,008");
    }

    async fn a_position_that_is_set_back_repeats_no_effects(store) {
        assert_eq!(mails_after_a_position_was_set_back(&store, &batches(2)).await, (1..=6).collect::<Vec<_>>());
    }

    async fn twin_when_a_position_is_forgotten_its_effects_are_repeated(store) {
        let with = batches(2).plant(ReadModelBug::MarkForgotten);
        assert_eq!(mails_after_a_position_was_set_back(&store, &with).await.len(), 11);
    }

    async fn a_version_that_is_filled_again_in_place_repeats_no_effects(store) {
        let model = Sums::version(1).shared();
        deposit(&store, 1..=5).await;
        advance(&store, 1, &batches(2)).await;
        assert!(read_models(&store).set_position("sums", GlobalPosition::ZERO).await.unwrap());
        deposit(&store, [6]).await;
        read_models(&store).update(&model, &account()).await.unwrap();
        assert_eq!(mails(&store).await, (1..=6).collect::<Vec<_>>());
        assert_eq!(seen(&store).await, [36, 1], "its tables were not emptied: 15 twice, and 6");
    }
}
