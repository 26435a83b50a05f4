//! Rules of appends with a key: the key is taken and the messages are written atomically.

use super::given::{append, append_one, is_empty, message, sized, to, types_in};
use super::keys::{answer, claim, keys_of, take};
use super::{Rule, Subject};
use crate::{Append, AppendRequest, Error, ExpectedVersion, MessageStore};

/// Whether a refused append leaves the key free, and writes no message.
async fn leaves_the_key_free(store: &dyn MessageStore, refused: Append) {
    let Some(keys) = keys_of(store) else { return };
    let request = vec![to("other-1", &["X"]), refused];
    assert!(keys.append_once(&claim("k"), request.into(), answer("first")).await.is_err());
    assert!(is_empty(store, "other-1").await);
    assert_eq!(keys.record(&claim("k")).await.unwrap(), None);
    assert!(take(keys, &claim("k")).await);
}

/// Asserts that a request of an earlier history is refused, and that the key is free afterwards.
async fn leaves_the_key_free_in_another_history(store: &dyn MessageStore, request: AppendRequest) {
    let Some(keys) = keys_of(store) else { return };
    let earlier = store.history();
    if let Err(error @ Error::Unsupported { .. }) = store.rotate_store_id().await {
        return println!("not checked: a key in an earlier history: {error}");
    }
    let refused = keys.append_once(&claim("k"), request.in_history(earlier), answer("first")).await;
    assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
    assert!(take(keys, &claim("k")).await);
}

contract! {$ key_appends key_appends_tests {
    async fn an_append_with_a_free_key_writes_its_messages(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        let request = vec![to("account-1", &["A", "B"]), to("other-1", &["C"])];
        let seen = keys.append_once(&claim("k"), request.into(), answer("first")).await.unwrap();
        assert_eq!(seen, None);
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B"]);
        assert_eq!(types_in(&*store, "other-1").await, ["C"]);
    }

    async fn an_append_with_a_free_key_takes_it(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        keys.append_once(&claim("k"), to("account-1", &["A"]).into(), answer("first")).await.unwrap();
        assert!(!take(keys, &claim("k")).await);
    }

    async fn an_append_with_a_taken_key_writes_nothing(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        take(keys, &claim("k")).await;
        keys.append_once(&claim("k"), to("account-1", &["A"]).into(), answer("second")).await.unwrap();
        assert!(is_empty(&*store, "account-1").await);
    }

    /// The append is a repeat, so its expected version is stale by now.
    async fn an_append_with_a_taken_key_is_not_refused(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        for is_first in [true, false] {
            let append = to("account-1", &["A"]).expecting(ExpectedVersion::NoStream);
            let seen = keys.append_once(&claim("k"), append.into(), answer("first")).await.unwrap();
            assert_eq!(seen.is_none(), is_first);
        }
    }

    async fn an_append_that_its_version_refuses_leaves_the_key_free(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        leaves_the_key_free(&*store, to("account-1", &["B"]).expecting(ExpectedVersion::NoStream)).await;
    }

    async fn an_append_whose_id_is_taken_leaves_the_key_free(subject) {
        let store = subject.store();
        let first = message("A");
        append_one(&*store, "account-1", first.clone()).await;
        leaves_the_key_free(&*store, to("account-2", &[]).message(first)).await;
    }

    async fn an_append_that_is_invalid_or_too_large_leaves_the_key_free(subject) {
        let store = subject.store();
        leaves_the_key_free(&*store, to("account-1", &[""])).await;
        let Some(keys) = keys_of(&*store) else { return };
        let large = to("account-1", &[]).message(sized(store.limits().message_bytes + 1));
        assert!(keys.append_once(&claim("large"), large.into(), answer("first")).await.is_err());
        assert!(take(keys, &claim("large")).await);
    }

    async fn an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free(subject) {
        let store = subject.store();
        leaves_the_key_free_in_another_history(&*store, to("account-1", &["A"]).into()).await;
        assert!(is_empty(&*store, "account-1").await);
    }

    /// The answer was decided in the earlier history.
    async fn an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free(subject) {
        leaves_the_key_free_in_another_history(&*subject.store(), Vec::new().into()).await;
    }
}}
