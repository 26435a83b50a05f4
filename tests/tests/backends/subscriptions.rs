//! Subscriptions: each message once, in order, past the end, and on after an outage.
#![allow(missing_docs, clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use message_store::store::{Filter, Subscription};
use message_store::testing::FaultyStore;
use message_store::{Category, Error, Message, MessageStore, Result};
use message_store_tests::accounts::send_deposits;
use message_store_tests::on_both_stores;
use tokio::time::timeout;

type Store = Arc<dyn MessageStore>;
type Messages = Pin<Box<dyn Stream<Item = Result<Message>> + Send>>;

/// The time-out for messages that must come.
const COMES: Duration = Duration::from_mins(2);

fn commands() -> Category {
    Category::new("account:command").unwrap()
}

async fn next(messages: &mut Messages) -> Option<Result<Message>> {
    timeout(COMES, messages.next()).await.unwrap()
}

async fn positions(messages: &mut Messages, count: usize) -> Vec<i64> {
    let mut positions = Vec::new();
    for _ in 0..count {
        positions.push(next(messages).await.unwrap().unwrap().global_position.get());
    }
    positions
}

fn places(sent: &[Message]) -> Vec<i64> {
    sent.iter().map(|message| message.global_position.get()).collect()
}

on_both_stores! {
    async fn messages_are_returned_in_order_before_and_after_the_end(store) {
        let before = send_deposits(&store, "account:command", "1", 1_200).await;
        let mut messages: Messages = Box::pin(Subscription::to(&store, &commands()).messages());
        assert_eq!(positions(&mut messages, 1_200).await, places(&before));
        assert!(messages.next().now_or_never().is_none(), "it waits");
        for _ in 0..3 {
            let after = send_deposits(&store, "account:command", "2", 2).await;
            let _ = send_deposits(&store, "other:command", "2", 1).await;
            assert_eq!(positions(&mut messages, 2).await, places(&after));
        }
    }

    async fn a_subscription_begins_after_a_position_and_has_a_filter(store) {
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        let subscription = Subscription::to(&store, &commands()).after(sent[0].global_position);
        let mut messages: Messages = Box::pin(subscription.clone().messages());
        assert_eq!(positions(&mut messages, 2).await, places(&sent[1..]));
        let none = subscription.filter(Filter::default().message_types(["Withdraw"]));
        let mut messages: Messages = Box::pin(none.messages());
        assert!(timeout(Duration::from_millis(300), messages.next()).await.is_err());
    }

    async fn all_categories_are_returned_in_the_order_of_their_positions(store) {
        let mut messages: Messages = Box::pin(Subscription::to_all(&store).messages());
        let mut sent = Vec::new();
        for number in 0..5 {
            sent.extend(send_deposits(&store, &format!("c{number}:command"), "1", 1).await);
        }
        assert_eq!(positions(&mut messages, 5).await, places(&sent));
    }

    async fn after_an_error_it_goes_on_with_the_same_message(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        let subscription = Subscription::to(&shared, &commands()).poll_interval(Duration::from_millis(10));
        let mut messages: Messages = Box::pin(subscription.messages());
        faulty.set_unavailable(true);
        for _ in 0..3 {
            assert!(next(&mut messages).await.unwrap().unwrap_err().is_transient());
        }
        faulty.set_unavailable(false);
        assert_eq!(positions(&mut messages, 3).await, places(&sent));
        faulty.set_unavailable(true);
        assert!(next(&mut messages).await.unwrap().is_err());
        faulty.set_unavailable(false);
        let later = send_deposits(&store, "account:command", "1", 1).await;
        assert_eq!(positions(&mut messages, 1).await, places(&later));
    }

    async fn in_another_history_it_ends_with_an_error(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let _ = send_deposits(&store, "account:command", "1", 1).await;
        let mut messages: Messages = Box::pin(Subscription::to(&shared, &commands()).messages());
        positions(&mut messages, 1).await;
        faulty.change_history();
        let _ = send_deposits(&store, "account:command", "1", 1).await;
        let ended = next(&mut messages).await.unwrap();
        assert!(matches!(ended, Err(Error::HistoryChanged { .. })), "{ended:?}");
        assert!(next(&mut messages).await.is_none());
    }

    /// Wake-ups of the store are lost: the subscription polls.
    async fn without_wake_ups_it_polls(store) {
        let faulty = FaultyStore::new(&store);
        faulty.lose_wake_ups();
        let shared: Store = faulty.clone();
        let mut messages: Messages = Box::pin(Subscription::to(&shared, &commands()).messages());
        assert!(messages.next().now_or_never().is_none());
        let sent = send_deposits(&store, "account:command", "1", 1).await;
        assert_eq!(positions(&mut messages, 1).await, places(&sent));
    }
}
