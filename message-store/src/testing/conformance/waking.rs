//! Waiting for messages. No assertion depends on how long anything takes: a poll interval of an hour tells whether the bell
//! rang, because the test would not end without it.

use std::time::Duration;

use super::{Subject, append};
use crate::{Category, Read};

const AN_HOUR: Duration = Duration::from_hours(1);

/// In its category, and of any.
pub async fn a_reader_that_waits_is_woken(subject: &impl Subject) {
    let store = subject.store();
    let category = Category::new("account").unwrap();
    for of in [Some(&category), None] {
        let mut wake_up = store.wake_up(of).await.unwrap();
        // What rings when the listening begins is over before the wait that counts.
        wake_up.wait(Duration::from_millis(300)).await;
        let waiting = tokio::spawn(async move { wake_up.wait(AN_HOUR).await });
        append(&*store, "account-1", &["A"]).await;
        waiting.await.unwrap();
    }
}

/// The bell is asked for before the read; what comes between read and wait rings it.
pub async fn a_message_written_before_the_wait_is_not_slept_through(subject: &impl Subject) {
    let store = subject.store();
    let category = Category::new("account").unwrap();
    let mut wake_up = store.wake_up(Some(&category)).await.unwrap();
    assert!(store.read_category(&category, Read::default()).await.unwrap().messages.is_empty());
    append(&*store, "account-1", &["A"]).await;
    wake_up.wait(AN_HOUR).await;
    assert_eq!(store.read_category(&category, Read::default()).await.unwrap().messages.len(), 1);
}

/// By the bell or by the poll interval.
pub async fn a_message_from_another_process_is_found(subject: &impl Subject) {
    let store = subject.store();
    let Some(other) = subject.reopen().await else { return };
    let category = Category::new("account").unwrap();
    let mut wake_up = store.wake_up(Some(&category)).await.unwrap();
    append(&*other, "account-1", &["A"]).await;
    while store.read_category(&category, Read::default()).await.unwrap().messages.is_empty() {
        wake_up.wait(Duration::from_millis(50)).await;
    }
}
