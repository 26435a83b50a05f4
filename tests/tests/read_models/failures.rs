//! Failures: a version stops before a message, or skips it and records that. A fault that passes by itself is waited out.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message_store::store::{Advanced, OnApplyFailure, ReadModel, ReadModelBug, SqlTransaction, Update};
use message_store::{Error, GlobalPosition, Message, MessageStore, Source, connect};
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::sums::{Fails, Sums, account, batches, deposit, mails, read_models, seen};

type Store = Arc<dyn MessageStore>;

async fn advance_to_the_end(store: &Store, model: &Arc<dyn ReadModel>, with: &Update) -> Result<(), Error> {
    loop {
        match read_models(store).advance(model, with).await? {
            Advanced::AtEnd | Advanced::StandsBy => return Ok(()),
            _ => {}
        }
    }
}

on_both_stores! {
    async fn a_version_stops_before_a_message_that_it_cannot_apply_and_says_so_to_all(store) {
        let last = deposit(&store, 1..=5).await;
        let failing = Sums::version(1).failing(Fails::Apply(4)).shared();
        let error = advance_to_the_end(&store, &failing, &batches(1)).await.unwrap_err();
        assert!(matches!(&error, Error::ReadModel { .. }) && error.to_string().contains("planted"), "{error}");
        assert_eq!(seen(&store).await, [6, 1]);
        let stopped = read_models(&store).wait_for("sums", last, Duration::from_hours(1)).await.unwrap_err();
        assert!(matches!(&stopped, Error::ReadModelStopped { failure, .. } if failure.contains("planted")), "{stopped}");
        // A release with the cause removed.
        advance_to_the_end(&store, &Sums::version(1).shared(), &batches(1)).await.unwrap();
        read_models(&store).wait_for("sums", last, Duration::ZERO).await.unwrap();
        assert_eq!(read_models(&store).versions(Some("sums")).await.unwrap()[0].failure, None);
    }

    async fn a_version_that_skips_records_the_message_and_goes_on(store) {
        deposit(&store, 1..=9).await;
        let failing = Sums::version(1).failing(Fails::Panic(4)).shared();
        for batch in [2, 100] {
            let skipping = batches(batch).on_failure(OnApplyFailure::Skip);
            advance_to_the_end(&store, &failing, &skipping).await.unwrap();
            assert_eq!(seen(&store).await, [41, 1], "45 without 4");
            assert_eq!(mails(&store).await, [1, 2, 3, 5, 6, 7, 8, 9]);
            let skipped = read_models(&store).skipped("sums").await.unwrap();
            assert_eq!(skipped.len(), 1);
            let place = skipped[0].message.clone();
            assert_eq!((skipped[0].version, place.position.get(), place.stream.as_str()), (1, 3, "account-1"));
            assert!(skipped[0].error.contains("it panicked: a planted panic"), "{}", skipped[0].error);
            let message = store.message(place.id).await.unwrap().unwrap();
            assert_eq!((message.global_position, &message.message_type), (place.global_position, &skipped[0].message_type));
        }
        // A new version applies it. The other version is dropped, with its record.
        let new = Sums::version(2).shared();
        advance_to_the_end(&store, &new, &batches(100)).await.unwrap();
        assert_eq!(seen(&store).await, [45, 2]);
        assert!(read_models(&store).drop_version(&new, 1).await.unwrap());
        assert_eq!(read_models(&store).skipped("sums").await.unwrap(), []);
    }

    async fn a_build_skips_too(store) {
        deposit(&store, 1..=9).await;
        advance_to_the_end(&store, &Sums::version(1).shared(), &batches(100)).await.unwrap();
        let failing = Sums::version(2).failing(Fails::Apply(4)).shared();
        for batch in [1, 100] {
            let skipping = batches(batch).on_failure(OnApplyFailure::Skip);
            advance_to_the_end(&store, &failing, &skipping).await.unwrap();
        }
        assert_eq!(seen(&store).await, [41, 2]);
        assert_eq!(read_models(&store).skipped("sums").await.unwrap().len(), 1);
    }

    async fn a_message_that_is_applied_again_is_no_longer_recorded_as_skipped(store) {
        deposit(&store, 1..=3).await;
        let skipping = batches(100).on_failure(OnApplyFailure::Skip);
        advance_to_the_end(&store, &Sums::version(1).failing(Fails::Apply(2)).shared(), &skipping).await.unwrap();
        assert!(read_models(&store).set_position("sums", GlobalPosition::ZERO).await.unwrap());
        assert_eq!(read_models(&store).skipped("sums").await.unwrap(), []);
    }

    async fn a_fault_that_passes_skips_nothing(store) {
        deposit(&store, 1..=3).await;
        assert_eq!(skipped_after_a_passing_fault(&store, &batches(100)).await, 0);
    }

    async fn twin_when_every_fault_skips_a_message_is_lost_to_an_outage(store) {
        deposit(&store, 1..=3).await;
        let with = batches(100).plant(ReadModelBug::PassingFaultsSkipped);
        assert_eq!(skipped_after_a_passing_fault(&store, &with).await, 1);
    }
}

/// Its code needs a service that is away at first.
struct Away(std::sync::atomic::AtomicBool);

#[async_trait]
impl ReadModel for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        if self.0.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(message_store::handling::Fault::passing("the service is away").into());
        }
        Ok(())
    }
}

async fn skipped_after_a_passing_fault(store: &Store, with: &Update) -> usize {
    let model: Arc<dyn ReadModel> = Arc::new(Away(true.into()));
    let skipping = with.clone().on_failure(OnApplyFailure::Skip);
    if let Err(error) = advance_to_the_end(store, &model, &skipping).await {
        assert!(error.is_transient(), "{error}");
        advance_to_the_end(store, &model, &skipping).await.unwrap();
    }
    read_models(store).skipped("away").await.unwrap().len()
}

/// Its author returns only the text of an error.
struct Texts(&'static str);

#[async_trait]
impl ReadModel for Texts {
    fn name(&self) -> &'static str {
        "texts"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        transaction.query(self.0, &[]).await.map(drop).map_err(|error| error.to_string().into())
    }
}

#[tokio::test]
async fn a_fault_that_passes_is_recognised_although_the_author_returns_a_text() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    deposit(&store, [1]).await;
    let skipping = Update::of(&account()).on_failure(OnApplyFailure::Skip);
    let passing = [
        "DO $$ BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$",
        "SELECT pg_terminate_backend(pg_backend_pid())::text",
    ];
    for sql in passing {
        let model: Arc<dyn ReadModel> = Arc::new(Texts(sql));
        let error = read_models(&store).advance(&model, &skipping).await.unwrap_err();
        assert!(error.is_transient(), "{sql}: {error}");
        assert_eq!(read_models(&store).skipped("texts").await.unwrap(), []);
    }
    let model: Arc<dyn ReadModel> = Arc::new(Texts("SELECT 1 / 0"));
    let _ = read_models(&store).advance(&model, &skipping).await.unwrap();
    assert_eq!(read_models(&store).skipped("texts").await.unwrap().len(), 1, "this one is final");
}
