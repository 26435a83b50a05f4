//! Rules of read models: each message is applied once, versions are built beside one another, and effects happen once.

use std::sync::Arc;

use async_trait::async_trait;

use super::fences::fenced_by_an_owner;
use super::given::{append_one, category, numbered};
use super::{Rule, Subject};
use crate::store::{
    Advanced, OnApplyFailure, ReadModel, ReadModels, SqlTransaction, SqlValue, Update, VersionState,
};
use crate::{Error, GlobalPosition, Message, MessageStore, Place, Result, Source};

/// The read models of a store, if it has any.
fn read_models_of(store: &dyn MessageStore) -> Option<&dyn ReadModels> {
    let read_models = store.read_models();
    if read_models.is_none() {
        println!("not checked: read models: the store has none");
    }
    read_models
}

/// Lists the numbers of its messages, in the order in which it applies them. Readers see the view `numbers`. Its effect is
/// a row in `numbers_said`.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    version: u32,
    /// The number that cannot be applied.
    fails_at: Option<i64>,
}

fn numbers(version: u32) -> Arc<dyn ReadModel> {
    Arc::new(Numbers { version, fails_at: None })
}

fn failing_at(number: i64) -> Arc<dyn ReadModel> {
    Arc::new(Numbers { version: 1, fails_at: Some(number) })
}

#[async_trait]
impl ReadModel for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let table = format!("CREATE TABLE numbers_{} (place BIGINT NOT NULL, number BIGINT NOT NULL)", self.version);
        transaction.execute(&table, &[]).await?;
        transaction.execute("CREATE TABLE IF NOT EXISTS numbers_said (number BIGINT NOT NULL)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let number: i64 = message.decode_data()?;
        let insert = format!(
            "INSERT INTO numbers_{0} (place, number) SELECT count(*), CAST($1 AS bigint) FROM numbers_{0}",
            self.version
        );
        transaction.execute(&insert, &[number.into()]).await?;
        if self.fails_at == Some(number) { Err("a planted failure".into()) } else { Ok(()) }
    }

    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let number: i64 = message.decode_data()?;
        transaction.execute("INSERT INTO numbers_said (number) VALUES ($1)", &[number.into()]).await?;
        Ok(())
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute("DROP VIEW IF EXISTS numbers", &[]).await?;
        let view = format!(
            "CREATE VIEW numbers AS SELECT place, number, CAST({0} AS bigint) AS version FROM numbers_{0}",
            self.version
        );
        transaction.execute(&view, &[]).await?;
        Ok(())
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        transaction.execute(&format!("DROP TABLE numbers_{version}"), &[]).await?;
        Ok(())
    }
}

/// A read model with this name, which does nothing.
struct Idle(&'static str);

#[async_trait]
impl ReadModel for Idle {
    fn name(&self) -> &str {
        self.0
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        Ok(())
    }
}

/// Appends messages with these numbers, each to a stream of its own.
async fn say(store: &dyn MessageStore, said: std::ops::Range<usize>) -> Vec<Place> {
    let mut places = Vec::new();
    for number in said {
        places.push(append_one(store, &format!("account-{number}"), numbered(number)).await);
    }
    places
}

async fn update(read_models: &dyn ReadModels, model: &Arc<dyn ReadModel>) -> usize {
    read_models.update(model, &category("account")).await.unwrap()
}

async fn to_the_end(read_models: &dyn ReadModels, model: &Arc<dyn ReadModel>, with: &Update) {
    loop {
        if let Advanced::AtEnd | Advanced::StandsBy = read_models.advance(model, with).await.unwrap() {
            return;
        }
    }
}

async fn integers(read_models: &dyn ReadModels, sql: &str) -> Vec<i64> {
    let rows = read_models.query(sql, &[]).await.unwrap();
    let integer = |value: SqlValue| match value {
        SqlValue::Integer(integer) => integer,
        other => panic!("{other:?} is no integer"),
    };
    rows.into_iter().flatten().map(integer).collect()
}

/// The numbers that readers see, in the order in which they were applied.
async fn seen(read_models: &dyn ReadModels) -> Vec<i64> {
    integers(read_models, "SELECT number FROM numbers ORDER BY place, number").await
}

/// The version that readers see.
async fn seen_version(read_models: &dyn ReadModels) -> Vec<i64> {
    integers(read_models, "SELECT DISTINCT version FROM numbers").await
}

/// The numbers that had effects, in order.
async fn said(read_models: &dyn ReadModels) -> Vec<i64> {
    integers(read_models, "SELECT number FROM numbers_said ORDER BY number").await
}

async fn states(read_models: &dyn ReadModels) -> Vec<(u32, VersionState)> {
    let versions = read_models.versions(Some("numbers")).await.unwrap();
    versions.into_iter().map(|version| (version.version, version.state)).collect()
}

contract! { $ read_models read_models_tests {
    async fn each_message_is_applied_once_in_the_order_of_the_positions(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let model = numbers(1);
        assert_eq!(read_models.begin(&model).await.unwrap(), VersionState::Serving);
        let places = say(&*store, 0..7).await;
        append_one(&*store, "other-1", numbered(100)).await;
        to_the_end(read_models, &model, &Update::of(&category("account")).limit(3)).await;
        assert_eq!(seen(read_models).await, [0, 1, 2, 3, 4, 5, 6]);
        assert!(read_models.versions(Some("numbers")).await.unwrap()[0].position >= places[6].global_position);
        say(&*store, 7..9).await;
        assert_eq!(update(read_models, &model).await, 2);
        assert_eq!(update(read_models, &model).await, 0);
        assert_eq!(seen(read_models).await, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    async fn updates_at_the_same_time_apply_each_message_once(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let model = numbers(1);
        let _ = read_models.begin(&model).await.unwrap();
        say(&*store, 0..12).await;
        let updates = (0..4).map(|_| {
            let (store, model) = (Arc::clone(&store), Arc::clone(&model));
            tokio::spawn(async move {
                let with = Update::of(&category("account")).limit(1);
                for _ in 0..12 {
                    // Contention is an answer, and passes.
                    let _ = store.read_models().unwrap().advance(&model, &with).await;
                }
            })
        });
        for update in updates.collect::<Vec<_>>() {
            update.await.unwrap();
        }
        while update(read_models, &model).await > 0 {}
        assert_eq!(seen(read_models).await, (0..12).collect::<Vec<_>>());
    }

    async fn messages_of_several_categories_are_applied_in_their_global_order(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let model = numbers(1);
        let _ = read_models.begin(&model).await.unwrap();
        for number in 0..6 {
            let name = if number % 2 == 0 { "transfer-1" } else { "account-1" };
            append_one(&*store, name, numbered(number)).await;
        }
        let with = Update::of(&category("account")).and(&category("transfer")).limit(4);
        to_the_end(read_models, &model, &with).await;
        assert_eq!(seen(read_models).await, [0, 1, 2, 3, 4, 5]);
    }

    async fn a_batch_with_a_message_that_fails_changes_nothing(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let _ = read_models.begin(&failing_at(2)).await.unwrap();
        say(&*store, 0..4).await;
        let failed = read_models.advance(&failing_at(2), &Update::of(&category("account"))).await;
        assert!(matches!(&failed, Err(Error::ReadModel { .. })), "{failed:?}");
        assert_eq!((seen(read_models).await, said(read_models).await), (vec![], vec![]));
        let version = read_models.versions(Some("numbers")).await.unwrap().remove(0);
        assert_eq!(version.position, GlobalPosition::ZERO);
        assert!(version.failure.is_some_and(|failure| failure.contains("a planted failure")));
        assert_eq!(update(read_models, &numbers(1)).await, 4);
        assert_eq!(seen(read_models).await, [0, 1, 2, 3]);
        assert_eq!(read_models.versions(Some("numbers")).await.unwrap()[0].failure, None);
    }

    async fn a_message_that_is_skipped_is_recorded(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let _ = read_models.begin(&failing_at(2)).await.unwrap();
        let places = say(&*store, 0..4).await;
        let with = Update::of(&category("account")).on_failure(OnApplyFailure::Skip);
        to_the_end(read_models, &failing_at(2), &with).await;
        assert_eq!(seen(read_models).await, [0, 1, 3]);
        let skipped = read_models.skipped("numbers").await.unwrap();
        assert_eq!(skipped.len(), 1);
        assert_eq!((skipped[0].version, skipped[0].message.global_position), (1, places[2].global_position));
        assert_eq!(skipped[0].message_type, "Numbered");
        assert!(skipped[0].error.contains("a planted failure"), "{}", skipped[0].error);
    }

    async fn a_higher_version_is_built_beside_the_one_that_serves(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let (first, second) = (numbers(1), numbers(2));
        let _ = read_models.begin(&first).await.unwrap();
        say(&*store, 0..25).await;
        assert_eq!(update(read_models, &first).await, 25);
        assert_eq!(read_models.begin(&second).await.unwrap(), VersionState::Building);
        let with = Update::of(&category("account")).limit(1);
        loop {
            assert_eq!(seen(read_models).await, (0..25).collect::<Vec<_>>());
            assert_eq!(seen_version(read_models).await, [1]);
            assert_eq!(states(read_models).await, [(1, VersionState::Serving), (2, VersionState::Building)]);
            if read_models.advance(&second, &with).await.unwrap() == Advanced::Switched {
                break;
            }
        }
        assert_eq!(seen(read_models).await, (0..25).collect::<Vec<_>>());
        assert_eq!(seen_version(read_models).await, [2]);
        assert_eq!(states(read_models).await, [(1, VersionState::StandsBy), (2, VersionState::Serving)]);
        assert_eq!(read_models.advance(&first, &with).await.unwrap(), Advanced::StandsBy);
    }

    async fn each_message_has_its_effects_once_whatever_versions_apply_it(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        for version in 1..=3 {
            let _ = read_models.begin(&numbers(version)).await.unwrap();
            let next = usize::try_from(version).unwrap() * 3;
            say(&*store, next - 3..next).await;
            // The version that serves until now has the effects.
            let _ = update(read_models, &numbers(version.saturating_sub(1).max(1))).await;
            let _ = update(read_models, &numbers(version)).await;
        }
        assert_eq!(seen(read_models).await, (0..9).collect::<Vec<_>>());
        assert_eq!(said(read_models).await, (0..9).collect::<Vec<_>>());
    }

    async fn after_a_position_was_set_back_messages_are_applied_again_without_effects(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let model = numbers(1);
        assert!(!read_models.set_position("numbers", GlobalPosition::ZERO).await.unwrap(), "it is not known");
        let _ = read_models.begin(&model).await.unwrap();
        say(&*store, 0..3).await;
        assert_eq!(update(read_models, &model).await, 3);
        assert!(read_models.set_position("numbers", GlobalPosition::ZERO).await.unwrap());
        say(&*store, 3..4).await;
        assert_eq!(update(read_models, &model).await, 4);
        assert_eq!(seen(read_models).await, [0, 1, 2, 0, 1, 2, 3]);
        assert_eq!(said(read_models).await, [0, 1, 2, 3]);
    }

    async fn a_version_before_can_serve_again(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        for version in [1, 2] {
            let _ = read_models.begin(&numbers(version)).await.unwrap();
            say(&*store, 0..1).await;
            let _ = update(read_models, &numbers(1)).await;
            let _ = update(read_models, &numbers(version)).await;
        }
        assert!(!read_models.switch_to("numbers", 9).await.unwrap());
        assert!(read_models.switch_to("numbers", 1).await.unwrap());
        assert_eq!(seen_version(read_models).await, [2], "until it has caught up");
        let _ = update(read_models, &numbers(1)).await;
        assert_eq!(seen_version(read_models).await, [1]);
        assert_eq!(read_models.begin(&numbers(2)).await.unwrap(), VersionState::StandsBy);
    }

    async fn a_version_that_was_dropped_is_gone(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        say(&*store, 0..1).await;
        for version in [1, 2] {
            let _ = read_models.begin(&numbers(version)).await.unwrap();
            let _ = update(read_models, &numbers(version)).await;
        }
        let refused = read_models.drop_version(&numbers(2), 2).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "it serves: {refused:?}");
        assert!(!read_models.drop_version(&numbers(2), 7).await.unwrap());
        assert!(read_models.drop_version(&numbers(2), 1).await.unwrap());
        assert!(read_models.query("SELECT number FROM numbers_1", &[]).await.is_err(), "its table is gone");
        assert_eq!(states(read_models).await, [(1, VersionState::Dropped), (2, VersionState::Serving)]);
        assert_eq!(read_models.begin(&numbers(1)).await.unwrap(), VersionState::Dropped);
        assert!(read_models.switch_to("numbers", 1).await.is_err());
    }

    async fn versions_are_found_by_the_name_of_their_model(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        assert_eq!(read_models.versions(None).await.unwrap(), []);
        for name in ["b", "a"] {
            let model: Arc<dyn ReadModel> = Arc::new(Idle(name));
            let _ = read_models.begin(&model).await.unwrap();
        }
        let names = async |name| {
            let versions = read_models.versions(name).await.unwrap();
            versions.into_iter().map(|version| version.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("a")).await, ["a"]);
        assert_eq!(names(Some("c")).await, [""; 0]);
        assert_eq!(names(None).await, ["a", "b"]);
    }

    async fn a_query_of_a_read_model_changes_nothing(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let _ = read_models.begin(&numbers(1)).await.unwrap();
        say(&*store, 0..2).await;
        assert_eq!(update(read_models, &numbers(1)).await, 2);
        for write in ["DELETE FROM numbers_1", "INSERT INTO numbers_1 VALUES (7, 7)", "DROP VIEW numbers"] {
            assert!(read_models.query(write, &[]).await.is_err(), "{write}");
        }
        assert_eq!(seen(read_models).await, [0, 1]);
        say(&*store, 2..3).await;
        assert_eq!(update(read_models, &numbers(1)).await, 1, "the store writes on");
    }

    async fn values_are_returned_as_they_were_given(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let cast = "SELECT CAST($1 AS bigint), CAST($2 AS double precision), CAST($3 AS text)";
        for values in [
            [SqlValue::Integer(i64::MAX), SqlValue::Float(-0.1), SqlValue::Text("Ä '; -- 😀".to_owned())],
            [SqlValue::Integer(i64::MIN), SqlValue::Float(1e300), SqlValue::Text(String::new())],
            [SqlValue::Null, SqlValue::Null, SqlValue::Null],
        ] {
            assert_eq!(read_models.query(cast, &values).await.unwrap(), [values]);
        }
    }

    async fn an_update_of_an_owner_that_has_lost_its_slot_changes_nothing(subject) {
        let store = subject.store();
        let Some(read_models) = read_models_of(&*store) else { return };
        let Some((owner, loser)) = fenced_by_an_owner(&*store).await else { return };
        let (model, accounts) = (numbers(1), category("account"));
        let _ = read_models.begin(&model).await.unwrap();
        say(&*store, 0..2).await;
        let refused = read_models.update_fenced(&model, &accounts, Some(&loser)).await;
        assert!(matches!(refused, Err(Error::SlotLost { .. })), "{refused:?}");
        assert_eq!((seen(read_models).await, said(read_models).await), (vec![], vec![]));
        assert_eq!(read_models.update_fenced(&model, &accounts, Some(&owner)).await.unwrap(), 2);
        assert_eq!(seen(read_models).await, [0, 1]);
    }
}}
