//! Queries over dead letters: select, count, retry and discard in bulk, and edited retries.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use message_store::consumer::{ConsumerHandle, DeadLetters, LetterQuery, LetterState, OnFailure, WaitsFor};
use message_store::testing::FaultyStore;
use message_store::{Json, Message, MessageId, MessageStore, NewMessage};
use message_store_tests::accounts::{Command, balance, messages_of, send_deposits};
use message_store_tests::marked::Marked;
use message_store_tests::on_both_stores;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", None).unwrap()
}

async fn selected(letters: &DeadLetters, query: &LetterQuery) -> Vec<MessageId> {
    let found: Vec<_> = letters.select(query).try_collect().await.unwrap();
    assert_eq!(letters.count(query).await.unwrap(), found.len() as u64);
    found.iter().map(|letter| letter.message.id).collect()
}

/// Sends this many deposits to each of two accounts, of which all fail. Returns them, and the handler.
async fn all_fail(store: &Store, count: usize, policy: OnFailure) -> (Vec<Message>, Marked, ConsumerHandle) {
    let mut sent = send_deposits(store, "account:command", "1", count).await;
    sent.extend(send_deposits(store, "account:command", "2", count).await);
    let handler = Marked::new(store, None);
    for message in &sent {
        handler.fail(message);
    }
    let mut consumer = handler.start_with(store, policy, |consumer| consumer.max_attempts(1)).await;
    consumer.wait_for(sent.last().unwrap().global_position).await.unwrap();
    (sent, handler, consumer)
}

async fn until_none_is_open(store: &Store) {
    timeout(COMES, async {
        while !letters(store).list().await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

on_both_stores! {
    async fn a_query_selects_by_entity_type_text_age_and_state(store) {
        let clock = FaultyStore::new(&store);
        let shared: Store = clock.clone();
        let (sent, _handler, consumer) = all_fail(&shared, 2, OnFailure::Hold).await;
        let _ = consumer.stop().await.unwrap();
        let ids: Vec<MessageId> = sent.iter().map(|message| message.id).collect();
        let letters = letters(&shared);
        let all = LetterQuery::default;
        let mut found = selected(&letters, &all()).await;
        found.sort();
        let mut expected = ids.clone();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(selected(&letters, &all().entity("1")).await, ids[..2]);
        assert_eq!(selected(&letters, &all().message_type("Deposit")).await.len(), 4);
        assert!(selected(&letters, &all().message_type("Withdraw")).await.is_empty());
        assert_eq!(selected(&letters, &all().entity("2").waiting_for(WaitsFor::Operator)).await, [ids[2]]);
        assert_eq!(selected(&letters, &all().entity("2").waiting_for(WaitsFor::EarlierMessage)).await, [ids[3]]);
        assert!(selected(&letters, &all().waiting_for(WaitsFor::Time)).await.is_empty());
        let failed = letters.show(ids[0]).await.unwrap().unwrap();
        let text = failed.error.clone();
        assert_eq!(selected(&letters, &all().containing(text).entity("1")).await, [ids[0]]);
        assert!(selected(&letters, &all().older_than(Duration::from_hours(1))).await.is_empty());
        let first = letters.list().await.unwrap().iter().map(|letter| letter.parked_at).min().unwrap();
        assert_eq!(selected(&letters, &all().since(first)).await.len(), 4);
        let later = first.checked_add(Duration::from_hours(1)).unwrap();
        assert!(selected(&letters, &all().since(later)).await.is_empty());
        clock.pass(Duration::from_hours(2));
        assert_eq!(selected(&letters, &all().older_than(Duration::from_hours(1))).await.len(), 4);
        assert!(letters.discard(&failed, "a bad message").await.unwrap());
        assert_eq!(selected(&letters, &all().closed()).await, [ids[0]]);
        assert_eq!(selected(&letters, &all()).await.len(), 3);
    }

    async fn a_bulk_retry_that_is_broken_off_goes_on_and_nothing_is_lost_or_done_twice(store) {
        for policy in [OnFailure::Park, OnFailure::Hold] {
            let before = balance(&store, "1").await + balance(&store, "2").await;
            let (sent, handler, consumer) = all_fail(&store, 40, policy).await;
            handler.mend();
            let letters = letters(&store);
            let (query, mut rounds) = (LetterQuery::default().waiting_for(WaitsFor::Operator), 0);
            timeout(COMES, async {
                loop {
                    rounds += 1;
                    // The call is dropped at another step each time.
                    let within = Duration::from_millis(rounds);
                    if timeout(within, letters.retry_all(&query)).await.is_ok() && letters.list().await.unwrap().is_empty() {
                        break;
                    }
                }
            })
            .await
            .unwrap();
            assert!(rounds > 1);
            until_none_is_open(&store).await;
            let after = balance(&store, "1").await + balance(&store, "2").await;
            assert_eq!(after - before, sent.len() as u64, "{policy:?}");
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn a_bulk_discard_discards_what_is_selected(store) {
        let (sent, handler, consumer) = all_fail(&store, 3, OnFailure::Park).await;
        handler.mend();
        let letters = letters(&store);
        assert_eq!(letters.discard_all(&LetterQuery::default().entity("1"), "a test").await.unwrap(), 3);
        assert_eq!(letters.discard_all(&LetterQuery::default().entity("1"), "a test").await.unwrap(), 0);
        assert_eq!(letters.retry_all(&LetterQuery::default()).await.unwrap(), 3);
        until_none_is_open(&store).await;
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (0, 3));
        let state = letters.show(sent[0].id).await.unwrap().unwrap().state;
        assert_eq!(state, LetterState::Discarded("a test".into()));
        let _ = consumer.stop().await.unwrap();
    }

    async fn an_edited_retry_is_a_new_message_that_names_the_letter_as_its_cause(store) {
        let (sent, _handler, consumer) = all_fail(&store, 1, OnFailure::Park).await;
        let letters = letters(&store);
        let letter = letters.show(sent[0].id).await.unwrap().unwrap();
        let metadata = message_store::Metadata::new().property("by", &"Ann").unwrap();
        let edited =
            || NewMessage::from_variant(&Command::Deposit { amount: 7 }).unwrap().with_metadata(&metadata).unwrap();
        let place = letters.retry_edited(&letter, edited()).await.unwrap().unwrap();
        assert_eq!(letters.retry_edited(&letter, edited()).await.unwrap(), None);
        let closed = letters.show(sent[0].id).await.unwrap().unwrap();
        assert_eq!(letters.retry_edited(&closed, edited()).await.unwrap(), None);
        timeout(COMES, async {
            while balance(&store, "1").await != 7 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let written = messages_of(&store, "account:command").await;
        let written = written.iter().find(|message| message.global_position == place.global_position).unwrap();
        assert_eq!(written.stream, sent[0].stream);
        assert_eq!(written.decode_metadata().properties["by"].text(), "\"Ann\"");
        let cause = written.decode_metadata().causation_message_stream_name.unwrap();
        assert!(cause.starts_with("account:command+deadLetter-1"), "{cause}");
        assert!(matches!(closed.state, LetterState::Discarded(why) if why.contains(&written.id.to_string())));
        let _ = consumer.stop().await.unwrap();
        assert_ne!(written.data, Json::NULL);
    }

    async fn a_letter_shows_each_delivery_that_failed(store) {
        let (sent, _handler, consumer) = all_fail(&store, 1, OnFailure::Park).await;
        let letters = letters(&store);
        for times in 1..=3 {
            let letter = timeout(COMES, async {
                loop {
                    let letter = letters.show(sent[0].id).await.unwrap().unwrap();
                    if letter.failures.len() == times { break letter; }
                    sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .unwrap();
            let attempts: Vec<u32> = letter.failures.iter().map(|failure| failure.attempts).collect();
            assert_eq!(attempts, (1..=u32::try_from(times).unwrap()).collect::<Vec<_>>());
            assert!(letter.failures.windows(2).all(|pair| pair[0].time <= pair[1].time));
            assert!(letters.retry(&letter).await.unwrap());
        }
        let _ = consumer.stop().await.unwrap();
    }
}
