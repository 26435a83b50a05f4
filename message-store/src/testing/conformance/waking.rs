//! Waiting for messages. With a poll interval of an hour, a reader that is woken within a minute was woken by the message.

use std::time::Duration;

use super::{Subject, append};
use crate::{Category, Read, WakeUp};

/// Whether a reader with a poll interval of an hour is woken within a minute.
async fn is_woken(mut wake_up: WakeUp) -> bool {
    tokio::time::timeout(Duration::from_mins(1), wake_up.wait(Duration::from_hours(1))).await.is_ok()
}

contract! {$ waking waking_tests {
    /// In its category, and of any.
    async fn a_reader_that_waits_is_woken(subject) {
        let store = subject.store();
        let category = Category::new("account").unwrap();
        for of in [Some(&category), None] {
            let mut wake_up = store.wake_up(of).await.unwrap();
            // What wakes when the listening begins is over before the wait that counts.
            wake_up.wait(Duration::from_millis(300)).await;
            let waiting = tokio::spawn(is_woken(wake_up));
            append(&*store, "account-1", &["A"]).await;
            assert!(waiting.await.unwrap(), "the reader of {of:?} was not woken");
        }
    }

    /// The wake-up is asked for before the read; what comes between read and wait ends the wait.
    async fn a_message_written_before_the_wait_is_not_slept_through(subject) {
        let store = subject.store();
        let category = Category::new("account").unwrap();
        let wake_up = store.wake_up(Some(&category)).await.unwrap();
        assert!(store.read_category(&category, Read::default()).await.unwrap().messages.is_empty());
        append(&*store, "account-1", &["A"]).await;
        assert!(is_woken(wake_up).await, "the reader slept through the message");
        assert_eq!(store.read_category(&category, Read::default()).await.unwrap().messages.len(), 1);
    }

    /// By a wake-up or by the poll interval.
    async fn a_message_from_another_process_is_found(subject) {
        let store = subject.store();
        let other = match subject.reopen().await {
            Ok(other) => other,
            Err(cannot) => return cannot.say("a message from another process"),
        };
        let category = Category::new("account").unwrap();
        let mut wake_up = store.wake_up(Some(&category)).await.unwrap();
        append(&*other, "account-1", &["A"]).await;
        let found = async {
            while store.read_category(&category, Read::default()).await.unwrap().messages.is_empty() {
                wake_up.wait(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), found).await.expect("the message is never found");
    }
}}
