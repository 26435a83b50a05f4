//! Rules of appends with a fence: only the slot's owner writes.

use super::given::{is_empty, to, types_in};
use super::slots::{create, expire, leases_of, owner};
use super::{Rule, Subject};
use crate::store::{Fence, Membership, SlotRecord};
use crate::{AppendRequest, Appended, Error, MessageStore, Result};

async fn append(store: &dyn MessageStore, member: &Membership, slot: &SlotRecord) -> Result<Appended> {
    let fence = Fence::new(member.clone(), slot.number, slot.epoch);
    store.append(AppendRequest::from(to("mail-1", &["Sent"])).fenced_by(fence)).await
}

/// The fences of a slot's owner, and of a member that has lost it. `None` if the store has no leases.
pub(super) async fn fenced_by_an_owner(store: &dyn MessageStore) -> Option<(Fence, Fence)> {
    let leases = leases_of(store)?;
    create(leases).await;
    let (loser, lost) = owner(leases, "a").await;
    expire(leases, &loser).await;
    let (owner, claimed) = owner(leases, "b").await;
    let fence = |member, slot: &SlotRecord| Fence::new(member, slot.number, slot.epoch);
    Some((fence(owner, &claimed[1]), fence(loser, &lost[1])))
}

fn is_lost(result: &Result<Appended>) -> bool {
    matches!(result, Err(Error::SlotLost { .. }))
}

contract! {$ fences fences_tests {
    async fn the_owner_of_a_slot_appends_with_its_fence(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        append(&*store, &member, &claimed[1]).await.unwrap();
        assert_eq!(types_in(&*store, "mail-1").await, ["Sent"]);
    }

    async fn an_earlier_owner_appends_nothing(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (first, claimed) = owner(leases, "a").await;
        expire(leases, &first).await;
        let (second, now) = owner(leases, "b").await;
        assert!(leases.renew(&first, super::slots::LONG, true).await.unwrap());
        // Its own epoch, and the present one.
        assert!(is_lost(&append(&*store, &first, &claimed[1]).await));
        assert!(is_lost(&append(&*store, &first, &now[1]).await));
        assert!(is_lost(&append(&*store, &second, &claimed[1]).await));
        assert!(is_empty(&*store, "mail-1").await);
    }

    async fn an_owner_appends_nothing_after_its_lease(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        expire(leases, &member).await;
        assert!(is_lost(&append(&*store, &member, &claimed[1]).await));
        assert!(is_empty(&*store, "mail-1").await);
    }

    async fn an_append_with_a_fence_keeps_the_rules_of_appends(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let fence = Fence::new(member, 0, claimed[0].epoch);
        let request = |version: i64| {
            let append = to("mail-1", &["Sent"]).expecting(super::given::version(version));
            AppendRequest::from(append).fenced_by(fence.clone())
        };
        let refused = store.append(request(3)).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        let first = AppendRequest::from(to("mail-1", &["Sent"])).fenced_by(fence.clone());
        let written = store.append(first.clone()).await.unwrap();
        let again = store.append(first).await.unwrap();
        assert_eq!((again.written, again.already_written), (written.written, true));
        store.append(request(0)).await.unwrap();
        assert_eq!(types_in(&*store, "mail-1").await, ["Sent", "Sent"]);
    }

    async fn a_store_without_leases_refuses_a_fence(subject) {
        let store = subject.store();
        if store.leases().is_some() {
            return;
        }
        let slot = SlotRecord::new(0, crate::Json::NULL);
        let refused = append(&*store, &Membership::new("g", "a"), &slot).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        assert!(is_empty(&*store, "mail-1").await);
    }
}}
