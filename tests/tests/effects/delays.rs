//! The delay buffer: several requests in a row, one release. Also the state that a job keeps between runs. Tests are
//! named after the numbers of the scenarios.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::handling::{DelayBuffer, DelayBug, Delayed, Keep};
use message_store::store::TimerQuery;
use message_store::testing::{FaultyStore, fire_timers};
use message_store::{
    Append, Error, ExpectedVersion, Json, Key, MessageStore, Metadata, NewMessage, StreamName, Version,
};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;

/// A store whose clock a test can advance, and a buffer with a delay of one minute.
fn buffered(store: &Arc<dyn MessageStore>, keep: Keep) -> (Arc<FaultyStore>, DelayBuffer) {
    let clock = FaultyStore::new(store);
    let shared: Arc<dyn MessageStore> = clock.clone();
    let buffer = DelayBuffer::new(&shared, "mail", Duration::from_mins(1), keep).unwrap();
    (clock, buffer)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sends five requests for one key, five seconds apart, and one more after the release. Returns the released messages.
async fn five_requests_and_a_later_one(store: &Arc<dyn MessageStore>, bug: Option<DelayBug>) -> Vec<String> {
    let (clock, mut buffer) = buffered(store, Keep::First);
    if let Some(bug) = bug {
        buffer = buffer.plant(bug);
    }
    let key = Key::new("welcome ann").unwrap();
    for number in 0..5 {
        let requested = buffer.put(&key, &stream(), &mail(&number.to_string())).await.unwrap();
        assert_eq!(requested, Delayed::Requested);
        clock.pass(seconds(5));
    }
    assert_eq!(fire_timers(&*clock).await, 0, "25 of 60 seconds have passed");
    clock.pass(seconds(60));
    assert!(fire_timers(&*clock).await >= 1);
    assert_eq!(fire_timers(&*clock).await, 0);
    assert_eq!(buffer.put(&key, &stream(), &mail("later")).await.unwrap(), Delayed::Requested);
    clock.pass(seconds(60));
    assert_eq!(fire_timers(&*clock).await, 1);
    let mut sent = sent(store).await;
    sent.sort();
    sent
}

fn mail(text: &str) -> NewMessage {
    NewMessage::new("SendMail", Json::encode(text).unwrap())
}

fn stream() -> StreamName {
    StreamName::new("mail:command-1").unwrap()
}

async fn sent(store: &Arc<dyn MessageStore>) -> Vec<String> {
    messages_of(store, "mail:command").await.iter().map(|message| message.decode_data().unwrap()).collect()
}

on_both_stores! {
    async fn a_released_message_has_the_metadata_of_its_request(store) {
        let (clock, buffer) = buffered(&store, Keep::First);
        let cause = put(&store, "account:command-1", "Deposit", "{}", r#"{"correlationStreamName":"case-7"}"#).await;
        let request = mail("with metadata").with_metadata(&Metadata::follow(&cause)).unwrap();
        let _ = buffer.put(&Key::new("a").unwrap(), &stream(), &request).await.unwrap();
        let _ = buffer.put(&Key::new("b").unwrap(), &stream(), &mail("without")).await.unwrap();
        clock.pass(seconds(60));
        assert_eq!(fire_timers(&*clock).await, 2);
        for message in messages_of(&store, "mail:command").await {
            let (metadata, text) = (message.decode_metadata(), message.decode_data::<String>().unwrap());
            let is_with = text == "with metadata";
            assert_eq!(metadata.correlation_stream_name.as_deref(), is_with.then_some("case-7"), "{text}");
            assert_eq!(metadata.follows(&cause, store.store_id()), is_with, "{text}");
        }
    }

    async fn a_message_that_was_requested_before_is_not_requested_again(store) {
        let (clock, buffer) = buffered(&store, Keep::First);
        let (key, request) = (Key::new("k").unwrap(), mail("once"));
        assert_eq!(buffer.put(&key, &stream(), &request).await.unwrap(), Delayed::Requested);
        assert_eq!(buffer.put(&key, &stream(), &request).await.unwrap(), Delayed::Repeated);
        clock.pass(seconds(60));
        assert_eq!(fire_timers(&*clock).await, 1);
        assert_eq!(buffer.put(&key, &stream(), &request).await.unwrap(), Delayed::Repeated);
        clock.pass(seconds(60));
        assert_eq!(fire_timers(&*clock).await, 0);
        assert_eq!(sent(&store).await, ["once"]);
    }

    async fn t49_five_requests_within_the_delay_are_one_release_and_a_later_one_is_another(store) {
        assert_eq!(five_requests_and_a_later_one(&store, None).await, ["0", "later"]);
    }

    async fn twin_when_keys_are_ignored_each_request_is_a_release(store) {
        let sent = five_requests_and_a_later_one(&store, Some(DelayBug::KeysIgnored)).await;
        assert_eq!(sent, ["0", "1", "2", "3", "4", "later"]);
    }

    async fn t29_an_hour_between_the_clocks_of_application_and_database_makes_no_difference(store) {
        for apart in [0, 60 * 60] {
            let ((clock, buffer), key) = (buffered(&store, Keep::First), Key::new(apart.to_string()).unwrap());
            clock.pass(seconds(apart));
            assert_eq!(buffer.put(&key, &stream(), &mail("text")).await.unwrap(), Delayed::Requested);
            assert_eq!(fire_timers(&*clock).await, 0, "{apart} s apart: nothing of its minute has passed");
            clock.pass(seconds(60));
            assert_eq!(fire_timers(&*clock).await, 1, "{apart} s apart");
        }
    }

    async fn the_latest_can_take_the_place_of_the_first_and_does_not_wait_longer(store) {
        let ((clock, buffer), key) = (buffered(&store, Keep::Latest), Key::new("status").unwrap());
        assert_eq!(buffer.put(&key, &stream(), &mail("old")).await.unwrap(), Delayed::Requested);
        clock.pass(seconds(50));
        assert_eq!(buffer.put(&key, &stream(), &mail("new")).await.unwrap(), Delayed::Requested);
        assert_eq!(buffer.put(&Key::new("other").unwrap(), &stream(), &mail("other")).await.unwrap(), Delayed::Requested);
        clock.pass(seconds(10));
        assert_eq!(fire_timers(&*clock).await, 1);
        assert_eq!(sent(&store).await, ["new"]);
    }

    async fn t50_a_release_whose_answer_is_lost_or_that_two_processes_make_is_one_release(store) {
        let (faulty, buffer) = buffered(&store, Keep::First);
        let _ = buffer.put(&Key::new("k").unwrap(), &stream(), &mail("once")).await.unwrap();
        faulty.pass(seconds(61));
        let timers = faulty.timers().unwrap();
        let due = timers.list(TimerQuery::new().due_within(Duration::ZERO)).await.unwrap();
        faulty.lose_answers(1);
        let fired = tokio::join!(timers.fire(&due), timers.fire(&due));
        assert!(fired.0.is_err() || fired.1.is_err(), "an answer is lost");
        assert_eq!(timers.fire(&due).await.unwrap(), 0);
        assert_eq!(sent(&store).await, ["once"]);
    }

    async fn requests_that_come_at_once_are_one(store) {
        let (clock, buffer) = buffered(&store, Keep::First);
        let buffer = Arc::new(buffer);
        let requests: Vec<_> = (0..8).map(|_| {
            let buffer = Arc::clone(&buffer);
            tokio::spawn(async move { buffer.put(&Key::new("k").unwrap(), &stream(), &mail("x")).await.unwrap() })
        }).collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), Delayed::Requested);
        }
        clock.pass(seconds(60));
        assert_eq!(fire_timers(&*clock).await, 1);
        assert_eq!(sent(&store).await, ["x"]);
    }

    async fn a_job_carries_its_state_from_run_to_run_with_what_it_writes(store) {
        // The state is the last message of its own stream. It is written with the effects of the run, at the version at
        // which it was read.
        async fn run(store: &Arc<dyn MessageStore>, fails: bool) -> Result<u64, Error> {
            let state = StreamName::new("job-invoices").unwrap();
            let last = store.last_message(&state, None).await?;
            let version = last.as_ref().map_or(Version::NO_STREAM, |last| Version::at(last.position));
            let seen: u64 = last.map_or(Ok(0), |last| last.decode_data())?;
            let invoice = NewMessage::new("Invoiced", Json::encode(&(seen + 1))?);
            let expected = if fails { ExpectedVersion::NoStream } else { version.into() };
            store.append(vec![
                Append::to(state).expecting(expected).message(NewMessage::new("Ran", Json::encode(&(seen + 1))?)),
                Append::to(StreamName::new("invoice-1")?).message(invoice),
            ].into()).await?;
            Ok(seen + 1)
        }
        assert_eq!(run(&store, false).await.unwrap(), 1);
        assert!(run(&store, true).await.is_err(), "a run that fails keeps the old state");
        assert_eq!(run(&store, false).await.unwrap(), 2);
        assert_eq!(store.version(&StreamName::new("invoice-1").unwrap()).await.unwrap().get(), 1);
        let clashing = tokio::join!(run(&store, false), run(&store, false));
        let went_through = [clashing.0, clashing.1].iter().filter(|run| run.is_ok()).count() as u64;
        assert_eq!(run(&store, false).await.unwrap(), 3 + went_through, "two runs at once do not share a state");
    }
}
