//! The delay buffer, when a message is delivered a second time.

use std::time::Duration;

use message_store::handling::{DelayBuffer, Delayed, Keep};
use message_store::store::TimerQuery;
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;

use super::archive;

fn mail(text: &str) -> NewMessage {
    NewMessage::new("SendMail", Json::encode(text).unwrap())
}

fn key() -> Key {
    Key::new("ann").unwrap()
}

fn to() -> StreamName {
    StreamName::new("mail:command-ann").unwrap()
}

on_both_stores! {
    /// "give it an id that is derived from it: then a second delivery of that message requests nothing"
    async fn a_second_delivery_of_an_earlier_request_does_not_replace_the_latest(store) {
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::Latest).unwrap();
        let (first, second) = (mail("first"), mail("second"));
        assert_eq!(buffer.put(&key(), &to(), &first).await.unwrap(), Delayed::Requested);
        assert_eq!(buffer.put(&key(), &to(), &second).await.unwrap(), Delayed::Requested);
        // The message that led to the first request is delivered again.
        let again = buffer.put(&key(), &to(), &first).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 1);
        let sent: Vec<_> = messages_of(&store, "mail:command").await.iter().map(|sent| sent.data.text().to_owned()).collect();
        assert_eq!(sent, [r#""second""#], "the latest request is released; the second delivery was {again:?}");
    }

    async fn a_second_delivery_of_a_dropped_request_is_no_new_request(store) {
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::First).unwrap();
        let (first, second) = (mail("first"), mail("second"));
        assert_eq!(buffer.put(&key(), &to(), &first).await.unwrap(), Delayed::Requested);
        assert_eq!(buffer.put(&key(), &to(), &second).await.unwrap(), Delayed::Requested);
        assert_eq!(fire_timers(&*store).await, 1);
        // The consumer's process was killed before it saved its position: both are delivered again.
        let again = [buffer.put(&key(), &to(), &first).await.unwrap(), buffer.put(&key(), &to(), &second).await.unwrap()];
        fire_timers(&*store).await;
        assert_eq!(messages_of(&store, "mail:command").await.len(), 1, "a second delivery requests nothing; it was {again:?}");
    }

    async fn a_second_delivery_of_a_replaced_request_after_the_release_is_no_new_request(store) {
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::Latest).unwrap();
        let (first, second) = (mail("first"), mail("second"));
        assert_eq!(buffer.put(&key(), &to(), &first).await.unwrap(), Delayed::Requested);
        assert_eq!(buffer.put(&key(), &to(), &second).await.unwrap(), Delayed::Requested);
        assert_eq!(fire_timers(&*store).await, 1);
        let again = [buffer.put(&key(), &to(), &first).await.unwrap(), buffer.put(&key(), &to(), &second).await.unwrap()];
        fire_timers(&*store).await;
        assert_eq!(messages_of(&store, "mail:command").await.len(), 1, "a second delivery requests nothing; it was {again:?}");
    }

    async fn a_released_request_that_was_archived_is_known(store) {
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::First).unwrap();
        let first = mail("first");
        assert_eq!(buffer.put(&key(), &to(), &first).await.unwrap(), Delayed::Requested);
        assert_eq!(fire_timers(&*store).await, 1);
        store.append(Append::to(to()).message(mail("direct")).into()).await.unwrap();
        assert_eq!(archive(&store, "mail:command").await, 1);
        assert_eq!(buffer.put(&key(), &to(), &first).await.unwrap(), Delayed::Repeated);
        assert!(store.timers().unwrap().list(TimerQuery::new()).await.unwrap().is_empty());
    }
}
