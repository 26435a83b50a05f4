//! Rules of windows: the time for which a key is remembered, by the store's clock. If the machine was too slow for a
//! result, a rule is repeated with another key, so a slow machine fails no store.

use std::time::Duration;

use jiff::Timestamp;

use super::keys::{answer, claim, keys_of, nothing, take};
use super::{Rule, Subject};
use crate::store::{Claim, Deduplication, Window};
use crate::{MessageStore, Result};

const WINDOW: Duration = Duration::from_millis(300);
const TRIES: usize = 20;

/// A claim to a key with a short window.
pub(super) fn short(key: &str) -> Claim {
    Claim { window: Window::of(WINDOW).unwrap(), ..claim(key) }
}

fn sliding(key: &str) -> Claim {
    Claim { window: Window::of(WINDOW).unwrap().sliding(), ..claim(key) }
}

/// Waits until a window that began at an instant has ended.
pub(super) async fn wait_past(store: &dyn MessageStore, began: Timestamp) {
    while store.now().await.unwrap() <= began + WINDOW + Duration::from_millis(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Repeats a request for longer than a window, with short pauses. Returns whether the key was known each time. `None`
/// if a pause was longer than the window.
async fn is_known_throughout<F>(store: &dyn MessageStore, repeat: impl Fn() -> F) -> Option<bool>
where
    F: Future<Output = Result<bool>>,
{
    let began = store.now().await.unwrap();
    let mut last = began;
    while last <= began + WINDOW * 2 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let now = store.now().await.unwrap();
        let is_known = repeat().await.unwrap();
        if store.now().await.unwrap() >= last + WINDOW {
            return None;
        }
        if !is_known {
            return Some(false);
        }
        last = now;
    }
    Some(true)
}

async fn is_recorded(keys: &dyn Deduplication, claim: &Claim) -> Result<bool> {
    Ok(keys.record(claim).await?.is_some())
}

async fn is_taken(keys: &dyn Deduplication, claim: &Claim) -> Result<bool> {
    Ok(keys.append_once(claim, nothing(), answer("second")).await?.is_some())
}

contract! {$ windows windows_tests {
    async fn a_key_is_remembered_until_its_window_ends(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        for number in 0..TRIES {
            let claim = short(&format!("k{number}"));
            let began = store.now().await.unwrap();
            take(keys, &claim).await;
            tokio::time::sleep(WINDOW / 2).await;
            let is_recorded = is_recorded(keys, &claim).await.unwrap();
            if store.now().await.unwrap() < began + WINDOW {
                return assert!(is_recorded, "the window has not ended");
            }
        }
        panic!("the machine is too slow to tell");
    }

    async fn a_key_whose_window_has_ended_has_no_record(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &short("k")).await;
        wait_past(&*store, store.now().await.unwrap()).await;
        assert_eq!(keys.record(&short("k")).await.unwrap(), None);
    }

    async fn a_key_whose_window_has_ended_can_be_taken_again(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &short("k")).await;
        wait_past(&*store, store.now().await.unwrap()).await;
        assert!(take(keys, &claim("k")).await, "its window has ended");
        assert!(!take(keys, &claim("k")).await, "it was taken again");
    }

    /// The window begins when the key is taken.
    async fn a_window_is_not_prolonged_by_repeats(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &short("k")).await;
        let began = store.now().await.unwrap();
        while store.now().await.unwrap() <= began + WINDOW - Duration::from_millis(60) {
            is_recorded(keys, &short("k")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        wait_past(&*store, began).await;
        assert_eq!(keys.record(&short("k")).await.unwrap(), None);
    }

    async fn a_sliding_window_begins_anew_when_the_record_is_read(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        for number in 0..TRIES {
            let claim = sliding(&format!("k{number}"));
            take(keys, &claim).await;
            if let Some(is_known) = is_known_throughout(&*store, || is_recorded(keys, &claim)).await {
                return assert!(is_known, "the window has begun again");
            }
        }
        panic!("the machine is too slow to tell");
    }

    async fn a_sliding_window_begins_anew_when_an_append_is_repeated(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        for number in 0..TRIES {
            let claim = sliding(&format!("k{number}"));
            take(keys, &claim).await;
            if let Some(is_known) = is_known_throughout(&*store, || is_taken(keys, &claim)).await {
                return assert!(is_known, "the window has begun again");
            }
        }
        panic!("the machine is too slow to tell");
    }

    async fn a_sliding_window_ends_when_no_repeat_comes(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &sliding("k")).await;
        wait_past(&*store, store.now().await.unwrap()).await;
        assert_eq!(keys.record(&sliding("k")).await.unwrap(), None);
    }
}}
