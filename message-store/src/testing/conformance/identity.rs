//! A store's identity.

use super::{Subject, append, types_in};

contract! {$ identity identity_tests {
    /// What was acknowledged is there.
    async fn a_store_keeps_its_identity_and_its_messages_when_it_is_opened_again(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let again = match subject.reopen().await {
            Ok(again) => again,
            Err(cannot) => return cannot.say("opening the store again"),
        };
        assert_eq!(again.store_id(), store.store_id());
        assert_eq!(types_in(&*again, "account-1").await, ["A"]);
    }

    /// For this handle and for those that open the store later.
    async fn rotation_gives_another_identity(subject) {
        let store = subject.store();
        let before = store.store_id();
        let after = store.rotate_store_id().await.unwrap();
        assert_ne!(before, after);
        assert_eq!(store.store_id(), after);
        match subject.reopen().await {
            Ok(again) => assert_eq!(again.store_id(), after),
            Err(cannot) => cannot.say("opening the store again"),
        }
    }
}}
