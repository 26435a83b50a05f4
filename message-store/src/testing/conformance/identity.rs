//! Rules of a store's identity, and of its description.

use super::given::{append, types_in};
use super::{Cannot, Rule, Subject};
use crate::{Error, MessageStore, StoreId};

async fn rotated(store: &dyn MessageStore) -> Result<StoreId, Cannot> {
    match store.rotate_store_id().await {
        Ok(id) => Ok(id),
        Err(Error::Unsupported { .. }) => Err(Cannot("the store's identity cannot change")),
        Err(error) => panic!("{error}"),
    }
}

contract! {$ identity identity_tests {
    async fn a_store_keeps_its_identity_when_it_is_opened_again(subject) {
        match subject.reopen().await {
            Ok(again) => assert_eq!(again.store_id(), subject.store().store_id()),
            Err(cannot) => cannot.say("opening the store again"),
        }
    }

    /// Every acknowledged message is there.
    async fn a_store_keeps_its_messages_when_it_is_opened_again(subject) {
        append(&*subject.store(), "account-1", &["A"]).await;
        match subject.reopen().await {
            Ok(again) => assert_eq!(types_in(&*again, "account-1").await, ["A"]),
            Err(cannot) => cannot.say("opening the store again"),
        }
    }

    async fn rotation_gives_the_store_another_identity(subject) {
        let store = subject.store();
        let before = store.store_id();
        match rotated(&*store).await {
            Ok(after) => assert!(after != before && store.store_id() == after, "{before} became {after}"),
            Err(cannot) => cannot.say("another identity"),
        }
    }

    async fn an_identity_after_rotation_stays_when_the_store_is_opened_again(subject) {
        let after = match rotated(&*subject.store()).await {
            Ok(after) => after,
            Err(cannot) => return cannot.say("another identity"),
        };
        match subject.reopen().await {
            Ok(again) => assert_eq!(again.store_id(), after),
            Err(cannot) => cannot.say("opening the store again"),
        }
    }

    /// So a process forgets what it remembered of the earlier one.
    async fn rotation_begins_another_history(subject) {
        let store = subject.store();
        let before = store.history();
        match rotated(&*store).await {
            Ok(_) => assert_ne!(store.history(), before),
            Err(cannot) => cannot.say("another history"),
        }
    }

    async fn rotation_keeps_the_messages(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        match rotated(&*store).await {
            Ok(_) => assert_eq!(types_in(&*store, "account-1").await, ["A"]),
            Err(cannot) => cannot.say("another identity"),
        }
    }

    async fn a_store_describes_itself(subject) {
        assert!(!subject.store().describe().trim().is_empty());
    }

    /// The debug output of the store contains no password either.
    async fn a_description_holds_no_password(subject) {
        let password = match subject.password() {
            Ok(password) => password,
            Err(cannot) => return cannot.say("hiding a password"),
        };
        let store = subject.store();
        for text in [store.describe(), format!("{store:?}")] {
            assert!(!text.contains(&password), "{text}");
        }
    }
}}
