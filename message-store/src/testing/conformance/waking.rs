//! Rules of wake-ups. The poll interval of these readers is an hour, so a reader that is woken soon was woken by a
//! message.

use std::time::Duration;

use super::given::{append, category, to};
use super::{Rule, Subject};
use crate::{Read, WakeUp};

const AN_HOUR: Duration = Duration::from_hours(1);

pub(super) async fn is_woken(subject: &dyn Subject, mut wake_up: WakeUp) -> bool {
    tokio::time::timeout(subject.patience(), wake_up.wait(AN_HOUR)).await.is_ok()
}

/// Whether a message of its category wakes a waiting reader.
async fn is_waiting_reader_woken(subject: &dyn Subject, mut wake_up: WakeUp) -> bool {
    // A store may wake a reader when it begins to listen. That wake-up must not end the wait that is tested.
    wake_up.wait(Duration::from_millis(100)).await;
    let store = subject.store();
    let write = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        append(&*store, "account-1", &["A"]).await;
    };
    tokio::join!(is_woken(subject, wake_up), write).0
}

contract! {$ waking waking_tests {
    async fn a_reader_of_a_category_that_waits_is_woken(subject) {
        if let Err(cannot) = subject.can_wake() {
            return cannot.say("waking a reader");
        }
        let wake_up = subject.store().wake_up(Some(&category("account"))).await.unwrap();
        assert!(is_waiting_reader_woken(subject, wake_up).await);
    }

    async fn a_reader_of_all_messages_that_waits_is_woken(subject) {
        if let Err(cannot) = subject.can_wake() {
            return cannot.say("waking a reader");
        }
        let wake_up = subject.store().wake_up(None).await.unwrap();
        assert!(is_waiting_reader_woken(subject, wake_up).await);
    }

    /// The reader asks for the wake-up before it reads, so a message between the read and the wait ends the wait.
    async fn a_message_written_before_the_wait_is_not_slept_through(subject) {
        if let Err(cannot) = subject.can_wake() {
            return cannot.say("waking a reader");
        }
        let store = subject.store();
        let wake_up = store.wake_up(Some(&category("account"))).await.unwrap();
        assert!(store.read_category(&category("account"), Read::default()).await.unwrap().messages.is_empty());
        append(&*store, "account-1", &["A"]).await;
        assert!(is_woken(subject, wake_up).await, "the reader slept through the message");
    }

    async fn an_append_wakes_the_readers_of_each_of_its_categories(subject) {
        if let Err(cannot) = subject.can_wake() {
            return cannot.say("waking a reader");
        }
        let store = subject.store();
        let mut wake_ups = Vec::new();
        // Two readers of one category, and one of another.
        for name in ["left", "left", "right"] {
            let mut wake_up = store.wake_up(Some(&category(name))).await.unwrap();
            wake_up.wait(Duration::from_millis(100)).await;
            wake_ups.push(wake_up);
        }
        store.append(vec![to("left-1", &["A"]), to("right-1", &["B"])].into()).await.unwrap();
        for wake_up in wake_ups {
            assert!(is_woken(subject, wake_up).await);
        }
    }

    /// The reader reads when it is woken, or after its poll interval.
    async fn a_message_from_another_process_is_found(subject) {
        let store = subject.store();
        let other = match subject.reopen().await {
            Ok(other) => other,
            Err(cannot) => return cannot.say("a message from another process"),
        };
        let account = category("account");
        let mut wake_up = store.wake_up(Some(&account)).await.unwrap();
        append(&*other, "account-1", &["A"]).await;
        let found = async {
            while store.read_category(&account, Read::default()).await.unwrap().messages.is_empty() {
                wake_up.wait(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(subject.patience(), found).await.expect("the message is never found");
    }
}}
