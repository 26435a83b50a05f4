//! The division of the slots: what one member claims and releases, of the state that all members see.
//!
//! Problem: no member leads, and each decides by itself. Fix: each computes the same shares from the same state: the
//! shares differ by at most one slot, and the members that own most keep the larger ones. Why it settles: a member
//! releases a slot only if another one is short of it, and claims only up to its share. Why slots move little: a member
//! keeps what it owns up to its share, and releases the slots that have moved least.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::Uuid;
use crate::store::{GroupRecord, SlotRecord};

/// What a member does next.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) claim: Vec<SlotRecord>,
    /// The numbers of slots.
    pub(super) release: Vec<u16>,
    /// The member owns less than its share.
    pub(super) is_short: bool,
}

impl Plan {
    /// The plan of the member `own`. It is already releasing `releasing` of its slots.
    pub(super) fn of(group: &GroupRecord, own: Uuid, releasing: &[u16]) -> Self {
        let shares = shares(group);
        let share_of = |member: Uuid| shares.get(&member).copied().unwrap_or_default();
        let owned_by = |member: Uuid| group.slots.iter().filter(move |slot| slot.owner == Some(member));
        let free: Vec<&SlotRecord> = group.slots.iter().filter(|slot| slot.owner.is_none()).collect();
        let (owned, share) = (owned_by(own).count(), share_of(own));

        let wanted = share.saturating_sub(owned).min(free.len());
        // Members that claim at the same time begin at different places.
        let place = group.members.iter().position(|member| member.id == own).unwrap_or_default();
        let begin = free.len() * place / group.members.len().max(1);
        let claim = free.iter().cycle().skip(begin).take(wanted).map(|slot| (*slot).clone()).collect();

        let others = group.members.iter().filter(|member| member.id != own);
        let missing: usize = others.map(|member| share_of(member.id).saturating_sub(owned_by(member.id).count())).sum();
        let surplus = owned.saturating_sub(share).min(missing.saturating_sub(free.len()));
        let mut candidates: Vec<&SlotRecord> = owned_by(own).filter(|slot| !releasing.contains(&slot.number)).collect();
        candidates.sort_by_key(|slot| (slot.epoch, slot.number));
        let further = surplus.saturating_sub(releasing.len());
        let release = candidates.into_iter().take(further).map(|slot| slot.number).collect();
        Self { claim, release, is_short: owned < share }
    }
}

/// The number of slots that each member should own.
fn shares(GroupRecord { members, slots, .. }: &GroupRecord) -> BTreeMap<Uuid, usize> {
    let members: Vec<_> = members.iter().filter(|member| member.wants_slots).collect();
    let owned = |member: Uuid| slots.iter().filter(|slot| slot.owner == Some(member)).count();
    // Of members that own as many, the newest keeps the larger share: in a rolling replacement, the oldest leave first.
    let mut ranked: Vec<_> = members.iter().map(|member| (Reverse(owned(member.id)), Reverse(member.id))).collect();
    ranked.sort();
    let (each, larger) = (slots.len() / members.len().max(1), slots.len() % members.len().max(1));
    ranked.into_iter().enumerate().map(|(rank, (_, Reverse(id)))| (id, each + usize::from(rank < larger))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Json;
    use crate::store::MemberRecord;

    /// A group whose members see each other's changes at once.
    struct Group(GroupRecord);

    impl Group {
        fn new(slots: u16) -> Self {
            Self(GroupRecord::new(Vec::new(), (0..slots).map(|number| SlotRecord::new(number, Json::NULL)).collect()))
        }

        fn join(&mut self, name: &str) -> Uuid {
            let id = Uuid::now_v7();
            self.0.members.push(MemberRecord::new(name, id, Duration::from_secs(9), true));
            self.0.members.sort_by(|one, other| one.name.cmp(&other.name));
            id
        }

        fn leave(&mut self, id: Uuid) {
            self.0.members.retain(|member| member.id != id);
            for slot in self.0.slots.iter_mut().filter(|slot| slot.owner == Some(id)) {
                slot.owner = None;
            }
        }

        /// Lets all members act until none has a plan.
        fn settle(&mut self) {
            for _ in 0..100 {
                let mut is_settled = true;
                for own in self.0.members.iter().map(|member| member.id).collect::<Vec<_>>() {
                    let Plan { claim, release, .. } = Plan::of(&self.0, own, &[]);
                    is_settled &= claim.is_empty() && release.is_empty();
                    for slot in claim {
                        let slot = &mut self.0.slots[usize::from(slot.number)];
                        (slot.owner, slot.epoch) = (Some(own), slot.epoch + 1);
                    }
                    for number in release {
                        self.0.slots[usize::from(number)].owner = None;
                    }
                }
                if is_settled {
                    return;
                }
            }
            panic!("the group does not settle: {:?}", self.0);
        }

        fn counts(&self) -> Vec<usize> {
            let count = |id| self.0.slots.iter().filter(|slot| slot.owner == Some(id)).count();
            let mut counts: Vec<_> = self.0.members.iter().map(|member| count(member.id)).collect();
            counts.sort_unstable();
            counts
        }

        /// All moves of slots, and the most moves of one.
        fn moves(&self) -> (i64, i64) {
            let moves = || self.0.slots.iter().map(|slot| slot.epoch - 1);
            (moves().sum(), moves().max().unwrap_or_default())
        }
    }

    #[test]
    fn slots_are_divided_evenly_as_members_come_and_go() {
        let mut group = Group::new(64);
        let mut members = Vec::new();
        for (name, counts) in [("a", vec![64]), ("b", vec![32, 32]), ("c", vec![21, 21, 22]), ("d", vec![16; 4])] {
            members.push(group.join(name));
            group.settle();
            assert_eq!(group.counts(), counts);
        }
        group.leave(members[0]);
        group.settle();
        assert_eq!(group.counts(), [21, 21, 22]);
    }

    #[test]
    fn a_rolling_replacement_moves_a_slot_at_most_twice_on_average_and_three_times_at_most() {
        for is_new_first in [true, false] {
            let mut group = Group::new(64);
            let old: Vec<_> = ["a", "b", "c"].map(|name| group.join(name)).into();
            group.settle();
            for slot in &mut group.0.slots {
                slot.epoch = 1;
            }
            for (old, new) in old.into_iter().zip(["x", "y", "z"]) {
                if is_new_first {
                    group.join(new);
                    group.settle();
                    group.leave(old);
                } else {
                    group.leave(old);
                    group.settle();
                    group.join(new);
                }
                group.settle();
            }
            let (all, most) = group.moves();
            assert!(all <= 2 * 64 && most <= 3, "new members first: {is_new_first}: {all} {most}");
        }
    }

    #[test]
    fn more_members_than_slots_leave_some_without_a_slot() {
        let mut group = Group::new(2);
        for name in ["a", "b", "c"] {
            group.join(name);
        }
        group.settle();
        assert_eq!(group.counts(), [0, 1, 1]);
    }

    #[test]
    fn a_slot_is_released_only_if_another_member_is_short_of_it() {
        let mut group = Group::new(4);
        let first = group.join("a");
        group.settle();
        assert!(Plan::of(&group.0, first, &[]).release.is_empty());
        let second = group.join("b");
        // The slots that are free suffice for the other member.
        group.0.slots[0].owner = None;
        group.0.slots[1].owner = None;
        assert_eq!(Plan::of(&group.0, first, &[]), Plan { claim: Vec::new(), release: Vec::new(), is_short: false });
        let plan = Plan::of(&group.0, second, &[]);
        assert!(plan.claim.len() == 2 && plan.is_short);
    }

    #[test]
    fn a_member_that_is_about_to_leave_has_no_share() {
        let mut group = Group::new(4);
        let first = group.join("a");
        group.settle();
        let second = group.join("b");
        group.0.members.iter_mut().find(|member| member.id == first).unwrap().wants_slots = false;
        for slot in &mut group.0.slots[..3] {
            slot.owner = None;
        }
        assert_eq!(Plan::of(&group.0, first, &[]).claim.len(), 0);
        assert_eq!(Plan::of(&group.0, second, &[]).claim.len(), 3);
    }

    #[test]
    fn a_slot_that_is_being_released_counts_as_released() {
        let mut group = Group::new(4);
        let first = group.join("a");
        group.settle();
        group.join("b");
        assert_eq!(Plan::of(&group.0, first, &[]).release, [0, 1]);
        assert_eq!(Plan::of(&group.0, first, &[0]).release, [1]);
        assert!(Plan::of(&group.0, first, &[0, 1]).release.is_empty());
    }
}
