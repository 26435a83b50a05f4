//! Versions: built beside the one that serves, switched, rolled back, given up.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use message_store::store::{Advanced, ReadModel, ReadModelBug, SqlTransaction, Update, VersionState};
use message_store::{Error, GlobalPosition, Message, MessageStore, Source, connect};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use message_store_tests::sums::{Fails, Sums, account, batches, deposit, mails, read_models, seen, states};

type Store = Arc<dyn MessageStore>;

async fn begin(store: &Store, version: u32) -> VersionState {
    read_models(store).begin(&Sums::version(version).shared()).await.unwrap()
}

async fn update(store: &Store, version: u32) -> usize {
    read_models(store).update(&Sums::version(version).shared(), &account()).await.unwrap()
}

async fn advance(store: &Store, version: u32, with: &Update) -> Advanced {
    read_models(store).advance(&Sums::version(version).shared(), with).await.unwrap()
}

fn state(version: u32, state: &str) -> (u32, String) {
    (version, state.to_owned())
}

/// Version 1 has applied 1 to 25. Readers look after each step of version 2. Returns what they see.
async fn seen_during_a_build(store: &Store, step: &Update) -> Vec<Vec<i64>> {
    deposit(store, 1..=24).await;
    update(store, 1).await;
    assert_eq!(begin(store, 2).await, VersionState::Building);
    let mut looks = vec![seen(store).await];
    deposit(store, [25]).await;
    update(store, 1).await;
    while advance(store, 2, step).await != Advanced::Switched {
        looks.push(seen(store).await);
    }
    looks.push(seen(store).await);
    looks
}

/// Six callers update both versions at the same time. Returns what readers see afterwards.
async fn sum_of_several(store: &Store, with: Update) -> Vec<i64> {
    deposit(store, 1..=60).await;
    begin(store, 1).await;
    let updating = (0..6).map(|number| {
        let (store, with) = (Arc::clone(store), with.clone());
        tokio::spawn(async move {
            for _ in 0..60 {
                let version = 1 + number % 2;
                let _ = read_models(&store).advance(&Sums::version(version).shared(), &with).await;
            }
        })
    });
    let updating = updating.collect::<Vec<_>>();
    deposit(store, 61..=80).await;
    for updating in updating {
        updating.await.unwrap();
    }
    while update(store, 1).await + update(store, 2).await > 0 {}
    seen(store).await
}

on_both_stores! {
    async fn readers_see_the_old_version_until_the_new_one_has_caught_up(store) {
        let looks = seen_during_a_build(&store, &batches(1)).await;
        let (last, before) = looks.split_last().unwrap();
        assert_eq!(before[1..], [[325, 1], [325, 1]]);
        assert_eq!(*last, [325, 2]);
        assert_eq!(states(&store).await, [state(1, "standing by"), state(2, "serving")]);
        deposit(&store, [5]).await;
        assert_eq!((update(&store, 1).await, update(&store, 2).await), (0, 1), "the old one is updated no more");
        assert_eq!(seen(&store).await, [330, 2]);
    }

    async fn twin_a_switch_before_the_end_shows_an_older_state(store) {
        let looks = seen_during_a_build(&store, &batches(1).plant(ReadModelBug::SwitchedEarly)).await;
        assert_ne!(looks.last().unwrap(), &[325, 2]);
    }

    async fn the_first_version_of_a_model_serves_at_once_whatever_its_number(store) {
        assert_eq!(begin(&store, 3).await, VersionState::Serving);
        deposit(&store, [7]).await;
        assert_eq!(update(&store, 3).await, 1);
        assert_eq!(seen(&store).await, [7, 3]);
        // An earlier release starts. It changes nothing.
        assert_eq!(begin(&store, 1).await, VersionState::StandsBy);
        assert_eq!(update(&store, 1).await, 0);
        assert_eq!(states(&store).await, [state(3, "serving")]);
    }

    async fn versions_that_begin_at_the_same_time_begin_once(store) {
        deposit(&store, [1]).await;
        let beginning = (0..12).map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { begin(&store, 1 + number % 3).await })
        });
        for beginning in beginning.collect::<Vec<_>>() {
            let _ = beginning.await.unwrap();
        }
        let serving = states(&store).await.into_iter().filter(|(_, state)| state == "serving");
        assert_eq!(serving.count(), 1);
        while update(&store, 3).await > 0 {}
        assert_eq!(seen(&store).await, [1, 3]);
    }

    async fn a_version_that_is_built_stands_by_when_a_newer_one_begins(store) {
        deposit(&store, 1..=15).await;
        update(&store, 1).await;
        begin(&store, 2).await;
        let _ = advance(&store, 2, &batches(1)).await;
        begin(&store, 3).await;
        assert_eq!(advance(&store, 2, &batches(1)).await, Advanced::StandsBy);
        assert_eq!(update(&store, 3).await, 0, "all of it is part of the switch");
        assert_eq!(seen(&store).await, [120, 3]);
        assert_eq!(states(&store).await, [state(1, "standing by"), state(2, "standing by"), state(3, "serving")]);
    }

    async fn a_version_before_serves_again_after_it_was_built_further(store) {
        deposit(&store, 1..=3).await;
        update(&store, 1).await;
        update(&store, 2).await;
        deposit(&store, [4]).await;
        update(&store, 2).await;
        assert!(!read_models(&store).switch_to("sums", 9).await.unwrap());
        assert!(read_models(&store).switch_to("sums", 1).await.unwrap());
        assert_eq!(seen(&store).await, [10, 2], "until it has caught up");
        assert_eq!(update(&store, 2).await, 0);
        update(&store, 1).await;
        assert_eq!(seen(&store).await, [10, 1]);
        // The release that was rolled back starts again. It does not take over.
        assert_eq!(begin(&store, 2).await, VersionState::StandsBy);
        assert_eq!(update(&store, 2).await, 0);
        assert_eq!(seen(&store).await, [10, 1]);
    }

    async fn a_build_that_is_given_up_leaves_nothing_and_does_not_begin_again(store) {
        deposit(&store, 1..=15).await;
        update(&store, 1).await;
        begin(&store, 2).await;
        let _ = advance(&store, 2, &batches(1)).await;
        let any = Sums::version(1).shared();
        let refused = read_models(&store).drop_version(&any, 1).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
        assert!(!read_models(&store).drop_version(&any, 7).await.unwrap());
        for _ in 0..2 {
            assert!(read_models(&store).drop_version(&any, 2).await.unwrap());
        }
        assert!(read_models(&store).query("SELECT sum FROM sums_2", &[]).await.is_err(), "its table is gone");
        assert_eq!(begin(&store, 2).await, VersionState::Dropped);
        assert_eq!(advance(&store, 2, &batches(1)).await, Advanced::StandsBy);
        assert!(read_models(&store).switch_to("sums", 2).await.is_err());
        update(&store, 3).await;
        assert_eq!(seen(&store).await, [120, 3]);
    }

    async fn each_step_that_fails_leaves_what_was_before_and_can_be_done_again(store) {
        deposit(&store, 1..=3).await;
        update(&store, 1).await;
        let read_models = read_models(&store);
        let failing = |fails| Sums::version(2).failing(fails).shared();
        read_models.begin(&failing(Fails::Create)).await.unwrap_err();
        assert_eq!(states(&store).await, [state(1, "serving")]);
        for fails in [Fails::Apply(3), Fails::Panic(2), Fails::Switch] {
            let error = read_models.update(&failing(fails), &account()).await.unwrap_err();
            assert!(error.to_string().contains("planted"), "{error}");
            assert_eq!(states(&store).await, [state(1, "serving"), state(2, "building")]);
            assert_eq!(seen(&store).await, [6, 1]);
        }
        update(&store, 2).await;
        assert_eq!(seen(&store).await, [6, 2]);
        let failed = read_models.drop_version(&failing(Fails::Remove), 1).await.unwrap_err();
        assert!(failed.to_string().contains("planted"), "{failed}");
        assert_eq!(states(&store).await, [state(1, "standing by"), state(2, "serving")]);
        assert!(read_models.drop_version(&failing(Fails::Never), 1).await.unwrap());
    }

    async fn several_that_update_and_build_at_the_same_time_apply_each_message_once(store) {
        assert_eq!(sum_of_several(&store, batches(1)).await, [80 * 81 / 2, 2]);
    }

    async fn twin_without_a_look_at_the_position_a_batch_is_applied_again(store) {
        let sum = sum_of_several(&store, batches(1).plant(ReadModelBug::PositionUnchecked)).await;
        assert_ne!(sum, [80 * 81 / 2, 2]);
    }

    async fn twin_without_a_look_at_the_state_the_old_version_is_updated_on(store) {
        let with = batches(9).plant(ReadModelBug::StateUnchecked);
        deposit(&store, 1..=3).await;
        update(&store, 1).await;
        update(&store, 2).await;
        deposit(&store, [4]).await;
        assert_ne!(advance(&store, 1, &with).await, Advanced::StandsBy);
    }

    async fn a_query_can_change_nothing(store) {
        deposit(&store, [1]).await;
        update(&store, 1).await;
        for write in ["DELETE FROM sums_1", "DROP VIEW sums", "INSERT INTO mails (amount, version) VALUES (1, 1)"] {
            let refused = read_models(&store).query(write, &[]).await;
            assert!(refused.is_err(), "{write}");
        }
        assert_eq!(seen(&store).await, [1, 1]);
        deposit(&store, [2]).await;
        assert_eq!(update(&store, 1).await, 1, "the connection writes again");
    }

    async fn a_model_whose_version_is_stored_under_the_name_of_another_is_refused(store) {
        deposit(&store, [1]).await;
        let named: Arc<dyn ReadModel> = Arc::new(Named("sums@2"));
        assert_eq!(read_models(&store).begin(&named).await.unwrap(), VersionState::Serving);
        begin(&store, 1).await;
        let refused = read_models(&store).begin(&Sums::version(2).shared()).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }) && refused.to_string().contains("sums@2"), "{refused}");
    }
}

/// A read model with this name, which does nothing.
struct Named(&'static str);

#[async_trait]
impl ReadModel for Named {
    fn name(&self) -> &str {
        self.0
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        Ok(())
    }
}

/// A position that a release without versions has saved, with its tables.
async fn of_an_earlier_release(place: &AgeingStore) -> Store {
    let store = connect(&place.url()).await.unwrap();
    let second = deposit(&store, [1, 2]).await;
    let tables = "CREATE TABLE sums_1 (account TEXT PRIMARY KEY, sum BIGINT NOT NULL); \
                  CREATE TABLE mails (amount BIGINT NOT NULL, version BIGINT NOT NULL); \
                  INSERT INTO sums_1 VALUES ('1', 3); INSERT INTO mails VALUES (1, 1), (2, 1); \
                  CREATE VIEW sums AS SELECT account, sum, CAST(1 AS bigint) AS version FROM sums_1;";
    let position =
        |table: &str| format!("{tables} INSERT INTO {table} (name, global_position) VALUES ('sums', {second})");
    place.execute(&position("message_store.read_models"), &position("read_models")).await;
    store
}

async fn an_earlier_position(place: AgeingStore) {
    let store = of_an_earlier_release(&place).await;
    assert_eq!(states(&store).await, [state(1, "serving")]);
    deposit(&store, [3]).await;
    assert_eq!(update(&store, 1).await, 1);
    assert_eq!(begin(&store, 1).await, VersionState::Serving, "its tables are there");
    assert_eq!(seen(&store).await, [6, 1]);
    update(&store, 2).await;
    assert_eq!(seen(&store).await, [6, 2]);
    assert_eq!(mails(&store).await, [1, 2, 3]);
}

/// The new release is the first to start.
async fn an_earlier_position_that_a_second_version_finds(place: AgeingStore) {
    let store = of_an_earlier_release(&place).await;
    assert_eq!(begin(&store, 2).await, VersionState::Building);
    assert_eq!(states(&store).await, [state(1, "serving"), state(2, "building")]);
    // An updater of the earlier release moves its position.
    let third = deposit(&store, [3]).await;
    let moved = format!("UPDATE sums_1 SET sum = 6; UPDATE {{}} SET global_position = {third} WHERE name = 'sums'");
    let moved = |table: &str| moved.replace("{}", table);
    place.execute(&moved("message_store.read_models"), &moved("read_models")).await;
    update(&store, 2).await;
    assert_eq!(seen(&store).await, [6, 2]);
    assert!(read_models(&store).set_position("sums", GlobalPosition::ZERO).await.unwrap());
}

#[tokio::test]
async fn a_position_of_an_earlier_release_is_version_1_on_postgres() {
    an_earlier_position(AgeingStore::postgres().await).await;
    an_earlier_position_that_a_second_version_finds(AgeingStore::postgres().await).await;
}

#[tokio::test]
async fn a_position_of_an_earlier_release_is_version_1_on_sqlite() {
    an_earlier_position(AgeingStore::sqlite()).await;
    an_earlier_position_that_a_second_version_finds(AgeingStore::sqlite()).await;
}
