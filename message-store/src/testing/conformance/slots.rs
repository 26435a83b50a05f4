//! Rules of the leases of elastic consumer groups: who owns a slot, and for how long.

use std::time::Duration;

use super::{Rule, Subject};
use crate::store::{GroupRecord, Leases, Membership, SlotRecord, SlotSave};
use crate::{Error, History, Json, MessageStore};

pub(super) const GROUP: &str = "account:command+position-workers";
/// Longer than any rule takes.
pub(super) const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(1);

/// The leases of a store, if it has any.
pub(super) fn leases_of(store: &dyn MessageStore) -> Option<&dyn Leases> {
    let leases = store.leases();
    if leases.is_none() {
        println!("not checked: leases: the store has none");
    }
    leases
}

pub(super) fn progress(number: i64) -> Json {
    Json::encode(&number).unwrap()
}

/// A group of three slots, with the progress 10, 20 and 30.
pub(super) async fn create(leases: &dyn Leases) {
    leases.create_group(GROUP, [10, 20, 30].map(progress).into()).await.unwrap();
}

/// A member with a lease.
pub(super) async fn join(leases: &dyn Leases, name: &str) -> Membership {
    let member = Membership::new(GROUP, name);
    assert!(leases.renew(&member, LONG, true).await.unwrap());
    member
}

pub(super) async fn slots(leases: &dyn Leases) -> Vec<SlotRecord> {
    leases.group(GROUP).await.unwrap().slots
}

/// A member that owns all slots.
pub(super) async fn owner(leases: &dyn Leases, name: &str) -> (Membership, Vec<SlotRecord>) {
    let member = join(leases, name).await;
    let claimed = leases.claim(&member, &slots(leases).await).await.unwrap();
    assert_eq!(claimed.len(), 3);
    (member, claimed)
}

/// Waits until the member's lease has ended.
pub(super) async fn expire(leases: &dyn Leases, member: &Membership) {
    assert!(leases.renew(member, SHORT, true).await.unwrap());
    while leases.group(GROUP).await.unwrap().members.iter().any(|other| other.id == member.id) {
        tokio::time::sleep(SHORT).await;
    }
}

fn numbers(slots: &[SlotRecord]) -> Vec<u16> {
    slots.iter().map(|slot| slot.number).collect()
}

/// The save of a slot's progress as 99.
fn save_of(slot: &SlotRecord) -> SlotSave {
    SlotSave::new(slot.number, slot.epoch, progress(99))
}

fn saved_in(group: &[SlotRecord]) -> Vec<i64> {
    group.iter().map(|slot| slot.progress.decode().unwrap()).collect()
}

contract! {$ slots slots_tests {
    async fn a_group_begins_in_its_first_epoch_without_owners(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let GroupRecord { members, slots } = leases.group(GROUP).await.unwrap();
        assert!(members.is_empty() && slots.iter().all(|slot| (slot.owner, slot.epoch) == (None, 0)));
        assert_eq!((numbers(&slots), saved_in(&slots)), (vec![0, 1, 2], vec![10, 20, 30]));
    }

    async fn a_group_that_was_not_created_is_empty(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        let GroupRecord { members, slots } = leases.group(GROUP).await.unwrap();
        assert!(members.is_empty() && slots.is_empty());
    }

    async fn a_group_is_created_once(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        leases.create_group(GROUP, vec![progress(7); 5]).await.unwrap();
        assert_eq!(saved_in(&slots(leases).await), [10, 20, 30]);
    }

    async fn groups_are_listed_in_order(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        for group in ["b", "a", "c"] {
            leases.create_group(group, vec![progress(0); 2]).await.unwrap();
        }
        assert_eq!(leases.groups().await.unwrap(), ["a", "b", "c"]);
    }

    async fn members_with_a_lease_are_listed_in_order(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (b, a) = (join(leases, "b").await, join(leases, "a").await);
        let members = leases.group(GROUP).await.unwrap().members;
        let shown: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.id)).collect();
        assert_eq!(shown, [("a", a.id), ("b", b.id)]);
        assert!(members.iter().all(|member| member.lease_left > LONG / 2 && member.lease_left <= LONG));
    }

    async fn a_member_shows_whether_it_wants_slots(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let member = join(leases, "a").await;
        for wants_slots in [true, false, true] {
            assert!(leases.renew(&member, LONG, wants_slots).await.unwrap());
            assert_eq!(leases.group(GROUP).await.unwrap().members[0].wants_slots, wants_slots);
        }
    }

    async fn a_name_belongs_to_one_member_with_a_lease(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let first = join(leases, "a").await;
        assert!(!leases.renew(&Membership::new(GROUP, "a"), LONG, true).await.unwrap());
        assert!(leases.renew(&Membership::new("another group", "a"), LONG, true).await.unwrap());
        assert_eq!(leases.group(GROUP).await.unwrap().members[0].id, first.id);
    }

    async fn a_name_is_free_after_the_lease(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let first = join(leases, "a").await;
        expire(leases, &first).await;
        let second = join(leases, "a").await;
        assert_eq!(leases.group(GROUP).await.unwrap().members[0].id, second.id);
        assert!(!leases.renew(&first, LONG, true).await.unwrap());
    }

    async fn a_claim_begins_a_new_epoch(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        assert!(claimed.iter().all(|slot| (slot.owner, slot.epoch) == (Some(member.id), 1)));
        assert_eq!(saved_in(&claimed), [10, 20, 30]);
        let now = slots(leases).await;
        assert!(now.iter().all(|slot| (slot.owner, slot.epoch) == (Some(member.id), 1)));
    }

    async fn a_slot_with_an_owner_cannot_be_claimed(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (first, _) = owner(leases, "a").await;
        let second = join(leases, "b").await;
        for other in [&second, &first] {
            assert!(leases.claim(other, &slots(leases).await).await.unwrap().is_empty());
        }
        assert!(slots(leases).await.iter().all(|slot| slot.owner == Some(first.id)));
    }

    async fn a_claim_of_one_slot_leaves_the_others(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let member = join(leases, "a").await;
        let claimed = leases.claim(&member, &slots(leases).await[1..2]).await.unwrap();
        assert_eq!(numbers(&claimed), [1]);
        let owners: Vec<_> = slots(leases).await.iter().map(|slot| slot.owner.is_some()).collect();
        assert_eq!(owners, [false, true, false]);
    }

    async fn a_slot_in_another_epoch_than_the_record_is_not_claimed(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let outdated = slots(leases).await;
        let (first, _) = owner(leases, "a").await;
        leases.leave(&first).await.unwrap();
        let second = join(leases, "b").await;
        assert!(leases.claim(&second, &outdated).await.unwrap().is_empty());
    }

    async fn a_member_without_a_lease_claims_nothing(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let member = join(leases, "a").await;
        expire(leases, &member).await;
        for member in [member, Membership::new(GROUP, "b")] {
            assert!(leases.claim(&member, &slots(leases).await).await.unwrap().is_empty());
        }
    }

    async fn slots_are_free_after_the_lease_of_their_owner(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (first, _) = owner(leases, "a").await;
        expire(leases, &first).await;
        assert!(slots(leases).await.iter().all(|slot| slot.owner.is_none()));
        let (second, claimed) = owner(leases, "b").await;
        assert!(claimed.iter().all(|slot| (slot.owner, slot.epoch) == (Some(second.id), 2)));
    }

    async fn an_owner_that_renews_an_ended_lease_keeps_its_slots(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        expire(leases, &member).await;
        assert!(leases.renew(&member, LONG, true).await.unwrap());
        assert!(slots(leases).await.iter().all(|slot| slot.owner == Some(member.id)));
        assert_eq!(leases.save(&member, vec![save_of(&claimed[0])], None).await.unwrap(), [0]);
    }

    async fn an_owner_saves_the_progress_of_its_slots(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let mut saved = leases.save(&member, vec![save_of(&claimed[2]), save_of(&claimed[0])], None).await.unwrap();
        saved.sort_unstable();
        assert_eq!(saved, [0, 2]);
        let now = slots(leases).await;
        assert_eq!(saved_in(&now), [99, 20, 99]);
        assert_eq!(now.iter().map(|slot| (slot.saves, slot.saved_at.is_some())).collect::<Vec<_>>(), [
            (1, true),
            (0, false),
            (1, true)
        ]);
        assert!(now.iter().all(|slot| (slot.owner, slot.epoch) == (Some(member.id), 1)));
    }

    async fn an_earlier_owner_saves_nothing(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (first, claimed) = owner(leases, "a").await;
        expire(leases, &first).await;
        owner(leases, "b").await;
        assert!(leases.renew(&first, LONG, true).await.unwrap());
        assert!(leases.save(&first, claimed.iter().map(save_of).collect(), None).await.unwrap().is_empty());
        assert_eq!(saved_in(&slots(leases).await), [10, 20, 30]);
    }

    async fn a_save_of_an_earlier_epoch_is_refused(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let releases = claimed.iter().map(|slot| SlotSave::release_of(slot.number, slot.epoch));
        assert_eq!(leases.save(&member, releases.collect(), None).await.unwrap().len(), 3);
        assert_eq!(leases.claim(&member, &slots(leases).await).await.unwrap().len(), 3);
        assert!(leases.save(&member, claimed.iter().map(save_of).collect(), None).await.unwrap().is_empty());
        assert_eq!(saved_in(&slots(leases).await), [10, 20, 30]);
    }

    async fn an_owner_saves_nothing_after_its_lease(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        expire(leases, &member).await;
        assert!(leases.save(&member, claimed.iter().map(save_of).collect(), None).await.unwrap().is_empty());
        assert_eq!(saved_in(&slots(leases).await), [10, 20, 30]);
    }

    async fn a_save_of_another_history_is_refused(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let other = History(store.history().0 + 1);
        let refused = leases.save(&member, vec![save_of(&claimed[0])], Some(other)).await;
        assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
        assert_eq!(saved_in(&slots(leases).await), [10, 20, 30]);
        let saved = leases.save(&member, vec![save_of(&claimed[0])], Some(store.history())).await;
        assert_eq!(saved.unwrap(), [0]);
    }

    async fn a_released_slot_is_free_with_its_last_progress(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let saves = vec![save_of(&claimed[0]).and_release(), SlotSave::release_of(1, 1)];
        assert_eq!(leases.save(&member, saves, None).await.unwrap().len(), 2);
        let now = slots(leases).await;
        assert_eq!(saved_in(&now), [99, 20, 30]);
        assert_eq!(now.iter().map(|slot| slot.owner).collect::<Vec<_>>(), [None, None, Some(member.id)]);
        let next = join(leases, "b").await;
        assert_eq!(numbers(&leases.claim(&next, &now).await.unwrap()), [0, 1]);
    }

    async fn a_member_that_leaves_releases_its_slots(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        leases.leave(&member).await.unwrap();
        let GroupRecord { members, slots } = leases.group(GROUP).await.unwrap();
        assert!(members.is_empty() && slots.iter().all(|slot| slot.owner.is_none()));
        assert!(leases.save(&member, claimed.iter().map(save_of).collect(), None).await.unwrap().is_empty());
        let (_, next) = owner(leases, "a").await;
        assert!(next.iter().all(|slot| slot.epoch == 2));
    }

    async fn an_operator_sets_the_progress_and_takes_the_slot_from_its_owner(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let change = vec![(claimed[1].clone(), progress(5))];
        assert!(leases.set_progress(GROUP, change).await.unwrap());
        let now = slots(leases).await;
        assert_eq!((saved_in(&now), now[1].owner), (vec![10, 5, 30], None));
        let saved = leases.save(&member, claimed.iter().map(save_of).collect(), None).await.unwrap();
        assert_eq!(saved.len(), 2);
        assert_eq!(saved_in(&slots(leases).await), [99, 5, 99]);
    }

    async fn an_operator_changes_nothing_by_an_outdated_record(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let before = slots(leases).await;
        let (member, claimed) = owner(leases, "a").await;
        let change = |slots: Vec<SlotRecord>| slots.into_iter().map(|slot| (slot, progress(5))).collect();
        assert!(!leases.set_progress(GROUP, change(before)).await.unwrap());
        assert_eq!(leases.save(&member, vec![save_of(&claimed[0])], None).await.unwrap(), [0]);
        assert!(!leases.set_progress(GROUP, change(claimed)).await.unwrap());
        let now = slots(leases).await;
        assert_eq!(saved_in(&now), [99, 20, 30]);
        assert!(now.iter().all(|slot| slot.owner == Some(member.id)));
    }

    async fn leases_apart_and_of_another_handle_are_the_same(subject) {
        let store = subject.store();
        let Some(leases) = leases_of(&*store) else { return };
        create(leases).await;
        let apart = leases.apart().await.unwrap();
        let (member, claimed) = owner(&*apart, "a").await;
        assert_eq!(leases.save(&member, vec![save_of(&claimed[0])], None).await.unwrap(), [0]);
        assert_eq!(saved_in(&slots(&*apart).await), [99, 20, 30]);
        match subject.reopen().await {
            Ok(reopened) => assert_eq!(saved_in(&slots(reopened.leases().unwrap()).await), [99, 20, 30]),
            Err(cannot) => cannot.say("another handle"),
        }
    }
}}
