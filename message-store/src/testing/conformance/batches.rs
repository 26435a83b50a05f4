//! Rules of batches: their size, and how a reader continues.

use futures_util::TryStreamExt as _;

use super::given::{append_many, append_one, category, sized, stream};
use super::{Rule, Subject};
use crate::{DEFAULT_BATCH, Message, MessageStore, MessageStoreExt as _, Position, Read, Result, StreamRead};

/// The messages of one read of the stream, of the category and of all messages.
async fn read_once(store: &dyn MessageStore, limit: usize) -> [Vec<Message>; 3] {
    let read = Read::default().limit(limit);
    [
        store.read_stream(&stream("account-1"), StreamRead::default().limit(limit)).await.unwrap(),
        store.read_category(&category("account"), read.clone()).await.unwrap().messages,
        store.read_all(read).await.unwrap().messages,
    ]
}

fn assert_all_in_order(messages: Result<Vec<Message>>, count: usize) {
    let numbers: Vec<usize> = messages.unwrap().iter().map(|message| message.decode_data().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..count), "{} messages: {numbers:?}", numbers.len());
}

contract! {$ batches batches_tests {
    /// It has at least one message.
    async fn a_batch_ends_where_its_bytes_do(subject) {
        let store = subject.store();
        let half_a_message = store.limits().message_bytes / 2;
        let fitting = store.limits().batch_bytes / half_a_message;
        for _ in 0..fitting + 3 {
            append_one(&*store, "account-1", sized(half_a_message)).await;
        }
        for messages in read_once(&*store, DEFAULT_BATCH).await {
            assert!((1..=fitting + 1).contains(&messages.len()), "{} messages", messages.len());
        }
    }

    async fn a_batch_has_looked_no_further_than_its_bytes_reach(subject) {
        let store = subject.store();
        let half_a_message = store.limits().message_bytes / 2;
        let count = store.limits().batch_bytes / half_a_message + 3;
        for _ in 0..count {
            append_one(&*store, "account-1", sized(half_a_message)).await;
        }
        let account = category("account");
        let all: Vec<Message> = store.category_messages(&account, Read::default()).try_collect().await.unwrap();
        assert_eq!(all.len(), count, "the next batch has the messages that did not fit");
    }

    /// The limit applies even if the caller asks for more.
    async fn a_batch_holds_no_more_messages_than_the_limit(subject) {
        let store = subject.store();
        let limit = store.limits().batch_messages;
        append_many(&*store, "account-1", limit + 1).await;
        for messages in read_once(&*store, limit + 1).await {
            assert!((1..=limit).contains(&messages.len()), "{} messages", messages.len());
        }
    }

    /// The stream has more messages than one batch.
    async fn a_stream_of_messages_goes_on_over_batches(subject) {
        let store = subject.store();
        let count = DEFAULT_BATCH.min(store.limits().batch_messages) + 5;
        append_many(&*store, "account-1", count).await;
        let name = stream("account-1");
        assert_all_in_order(store.stream_messages(&name, Position::FIRST).try_collect().await, count);
    }

    /// A limit, and the bytes that a batch may have, end a batch before the stream ends.
    async fn a_batch_that_says_that_the_stream_ends_has_its_last_message(subject) {
        let store = subject.store();
        let half_a_message = store.limits().message_bytes / 2;
        let large = store.limits().batch_bytes / half_a_message + 3;
        for _ in 0..large {
            append_one(&*store, "account-1", sized(half_a_message)).await;
        }
        append_many(&*store, "account-2", 3).await;
        for (name, count) in [("account-1", large), ("account-2", 3)] {
            for read in [StreamRead::default(), StreamRead::backwards()] {
                for limit in [1, 2, count, count + 1] {
                    let read = read.clone().limit(limit);
                    let batch = store.read_stream_batch(&stream(name), read.clone()).await.unwrap();
                    let found = batch.messages.len();
                    assert!(found == count || !batch.is_end, "{found} of {count} of {name}");
                    let same = store.read_stream(&stream(name), read).await.unwrap();
                    assert!(same.iter().map(|message| message.id).eq(batch.messages.iter().map(|message| message.id)));
                }
            }
        }
        let behind = StreamRead::forwards_from(Position::new(3));
        let batch = store.read_stream_batch(&stream("account-2"), behind).await.unwrap();
        assert!(batch.messages.is_empty() && batch.is_end);
    }

    async fn a_stream_of_a_category_goes_on_over_batches(subject) {
        let store = subject.store();
        append_many(&*store, "account-1", 20).await;
        let account = category("account");
        assert_all_in_order(store.category_messages(&account, Read::default().limit(7)).try_collect().await, 20);
    }

    async fn a_stream_of_all_messages_goes_on_over_batches(subject) {
        let store = subject.store();
        append_many(&*store, "account-1", 20).await;
        assert_all_in_order(store.all_messages(Read::default().limit(7)).try_collect().await, 20);
    }
}}
