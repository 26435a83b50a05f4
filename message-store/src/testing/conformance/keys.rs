//! Rules of keys: a key is taken once, and each repeat gets the first answer.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Cannot, Rule, Subject};
use crate::store::{Claim, Deduplication, Window};
use crate::{AppendRequest, Json, Key, MessageStore};

/// The store's keys. `None` if it has no keys.
pub(super) fn keys_of(store: &dyn MessageStore) -> Option<&dyn Deduplication> {
    let keys = store.deduplication();
    if keys.is_none() {
        Cannot("the store has no keys").say("taking a key");
    }
    keys
}

/// A claim to a key in the scope `webhook`, remembered for an hour.
pub(super) fn claim(key: &str) -> Claim {
    Claim {
        scope: "webhook".to_owned(),
        key: Key::new(key).unwrap(),
        fingerprint: format!("the fingerprint of {key}"),
        window: Window::of(Duration::from_hours(1)).unwrap(),
    }
}

pub(super) fn nothing() -> AppendRequest {
    Vec::new().into()
}

pub(super) fn answer(text: &str) -> Json {
    Json::encode(text).unwrap()
}

/// Takes a key without messages. Returns whether it was free.
pub(super) async fn take(keys: &dyn Deduplication, claim: &Claim) -> bool {
    keys.append_once(claim, nothing(), answer("first")).await.unwrap().is_none()
}

contract! {$ keys keys_tests {
    async fn a_key_that_was_never_taken_has_no_record(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        assert_eq!(keys.record(&claim("k")).await.unwrap(), None);
    }

    async fn a_key_is_taken_once(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        assert!(take(keys, &claim("k")).await, "the key was free");
        assert!(!take(keys, &claim("k")).await, "the key was taken");
    }

    async fn a_taken_key_is_recorded_with_the_first_answer(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        let record = keys.record(&claim("k")).await.unwrap().expect("a record");
        assert!(record.result.same_as(&answer("first")), "{record:?}");
    }

    async fn a_taken_key_is_recorded_with_the_first_fingerprint(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        let other = Claim { fingerprint: "another".to_owned(), ..claim("k") };
        take(keys, &other).await;
        assert_eq!(keys.record(&other).await.unwrap().unwrap().fingerprint, claim("k").fingerprint);
    }

    /// The time is that of the store's clock.
    async fn a_taken_key_is_recorded_with_the_time_at_which_it_was_taken(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        let before = store.now().await.unwrap();
        take(keys, &claim("k")).await;
        let after = store.now().await.unwrap();
        let at = keys.record(&claim("k")).await.unwrap().unwrap().at;
        assert!(before <= at && at <= after, "{at} is not between {before} and {after}");
    }

    async fn a_repeat_is_answered_with_the_first_record(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        let record = keys.record(&claim("k")).await.unwrap();
        let repeat = Claim { fingerprint: "another".to_owned(), ..claim("k") };
        assert_eq!(keys.append_once(&repeat, nothing(), answer("second")).await.unwrap(), record);
        assert_eq!(keys.record(&claim("k")).await.unwrap(), record);
    }

    async fn each_key_has_a_record_of_its_own(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        for key in ["k", "K", "k2"] {
            assert!(take(keys, &claim(key)).await, "{key} was free");
        }
        assert_eq!(keys.record(&claim("k2")).await.unwrap().unwrap().fingerprint, claim("k2").fingerprint);
    }

    async fn each_scope_has_keys_of_its_own(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        let elsewhere = Claim { scope: "web".to_owned(), ..claim("k") };
        assert_eq!(keys.record(&elsewhere).await.unwrap(), None);
        assert!(take(keys, &elsewhere).await, "the key was free there");
    }

    /// 16 callers take it at the same time.
    async fn of_callers_that_take_a_key_at_once_one_takes_it(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        let key = claim("k");
        let taken = join_all((0..16).map(|_| take(keys, &key))).await;
        assert_eq!(taken.iter().filter(|is_taken| **is_taken).count(), 1);
    }

    /// The store remembers keys, not the handle.
    async fn a_key_stays_taken_when_the_store_is_opened_again(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        let again = match subject.reopen().await {
            Ok(again) => again,
            Err(cannot) => return cannot.say("opening the store again"),
        };
        let Some(again) = keys_of(&*again) else { return };
        assert!(!take(again, &claim("k")).await);
    }
}}
