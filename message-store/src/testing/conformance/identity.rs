//! A store's identity.

use super::{Subject, append, types_in};

/// What was acknowledged is there.
pub async fn a_store_keeps_its_identity_and_its_messages_when_it_is_opened_again(subject: &impl Subject) {
    let store = subject.store();
    append(&*store, "account-1", &["A"]).await;
    let Some(again) = subject.reopen().await else { return };
    assert_eq!(again.store_id(), store.store_id());
    assert_eq!(types_in(&*again, "account-1").await, ["A"]);
}

/// For this handle and for whoever opens the store later.
pub async fn rotation_gives_another_identity(subject: &impl Subject) {
    let store = subject.store();
    let before = store.store_id();
    let after = store.rotate_store_id().await.unwrap();
    assert_ne!(before, after);
    assert_eq!(store.store_id(), after);
    if let Some(again) = subject.reopen().await {
        assert_eq!(again.store_id(), after);
    }
}
