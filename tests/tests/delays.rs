//! The delay buffer: several requests in a row, one release. And what a job carries from run to run. Scenarios are named by their number.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use message_store::idempotence::{DelayBuffer, Delayed, Keep, Key};
use message_store::testing::FaultyStore;
use message_store::{Append, Error, ExpectedVersion, Json, MessageStore, NewMessage, StreamName, Version};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;

#[derive(Clone, Default)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn buffer(store: &Arc<dyn MessageStore>, clock: &Clock, keep: Keep) -> DelayBuffer {
    let clock = clock.clone();
    let buffer = DelayBuffer::new(store, "mail", Duration::from_mins(1), keep).unwrap();
    buffer.clock(move || Timestamp::from_second(1_800_000_000 + clock.0.load(Ordering::SeqCst)).unwrap())
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
    async fn t49_five_requests_within_the_delay_are_one_release_and_a_later_one_is_another(store) {
        let (clock, key) = (Clock::default(), Key::new("welcome ann").unwrap());
        let buffer = buffer(&store, &clock, Keep::First);
        for number in 0..5 {
            let expected = if number == 0 { Delayed::Waits } else { Delayed::Dropped };
            assert_eq!(buffer.put(&key, &stream(), &mail(&number.to_string())).await.unwrap(), expected);
            clock.pass(5);
        }
        assert_eq!(buffer.release().await.unwrap(), 0, "25 of 60 seconds have passed");
        clock.pass(40);
        assert_eq!(buffer.release().await.unwrap(), 1);
        assert_eq!(buffer.release().await.unwrap(), 0);
        assert_eq!(buffer.put(&key, &stream(), &mail("later")).await.unwrap(), Delayed::Waits);
        clock.pass(60);
        assert_eq!(buffer.release().await.unwrap(), 1);
        assert_eq!(sent(&store).await, ["0", "later"]);
    }

    async fn twin_without_the_buffer_each_request_is_a_message(store) {
        for number in 0..5 {
            store.append(vec![Append::to(stream()).message(mail(&number.to_string()))]).await.unwrap();
        }
        assert_eq!(sent(&store).await.len(), 5);
    }

    async fn the_latest_can_take_the_place_of_the_first_and_does_not_wait_longer(store) {
        let (clock, key) = (Clock::default(), Key::new("status").unwrap());
        let buffer = buffer(&store, &clock, Keep::Latest);
        assert_eq!(buffer.put(&key, &stream(), &mail("old")).await.unwrap(), Delayed::Waits);
        clock.pass(50);
        assert_eq!(buffer.put(&key, &stream(), &mail("new")).await.unwrap(), Delayed::Replaced);
        assert_eq!(buffer.put(&Key::new("other").unwrap(), &stream(), &mail("other")).await.unwrap(), Delayed::Waits);
        clock.pass(10);
        assert_eq!(buffer.release().await.unwrap(), 1);
        assert_eq!(sent(&store).await, ["new"]);
    }

    async fn t50_a_release_whose_answer_is_lost_or_that_two_processes_make_is_one_release(store) {
        let (clock, key) = (Clock::default(), Key::new("k").unwrap());
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let _ = buffer(&shared, &clock, Keep::First).put(&key, &stream(), &mail("once")).await.unwrap();
        clock.pass(60);
        faulty.lose_answers(1);
        let (one, other) = (buffer(&shared, &clock, Keep::First), buffer(&store, &clock, Keep::First));
        let released = tokio::join!(one.release(), other.release());
        assert!(released.0.unwrap() + released.1.unwrap() >= 1);
        assert_eq!(sent(&store).await, ["once"]);
    }

    async fn requests_that_come_at_once_are_one(store) {
        let clock = Clock::default();
        let buffer = Arc::new(buffer(&store, &clock, Keep::First));
        let requests: Vec<_> = (0..8).map(|_| {
            let buffer = Arc::clone(&buffer);
            tokio::spawn(async move { buffer.put(&Key::new("k").unwrap(), &stream(), &mail("x")).await.unwrap() })
        }).collect();
        let mut waits = 0;
        for request in requests {
            waits += usize::from(request.await.unwrap() == Delayed::Waits);
        }
        assert_eq!(waits, 1);
    }

    async fn a_job_carries_its_state_from_run_to_run_with_what_it_writes(store) {
        // The state is the last message of a stream of its own; it is written with the run's effects, at the version it was read at.
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
            ]).await?;
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
