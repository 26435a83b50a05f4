//! Stores that keep the leases of groups wrongly.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use message_store::store::{GroupRecord, Leases, Membership, SlotRecord, SlotSave};
use message_store::{AppendRequest, Appended, Batch, Category, History, Json, Read, Result, Uuid};

use super::wrong::{Rights, Store, Wrong, leases, read_right};

/// As if each save named the present epochs of the slots.
async fn with_present_epochs(leases: Rights<'_>, group: &str, saves: &mut [SlotSave]) {
    let now = leases.group(group).await.unwrap().slots;
    for save in saves {
        save.epoch = now[usize::from(save.number)].epoch;
    }
}

/// A member with this id and a lease.
async fn with_lease(leases: Rights<'_>, member: &Membership) {
    let _ = leases.renew(member, Duration::from_hours(1), true).await.unwrap();
}

/// The request without its fence.
fn without_fence(request: &AppendRequest) -> AppendRequest {
    AppendRequest::from(request.appends().to_vec())
}

wrong_stores! {
    SlotsAreReadWithoutAFilter breaks [a_read_of_slots_returns_the_streams_of_these_slots] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, mut read: Read) -> Result<Batch> {
            read.filter.slots = None;
            read_right(store, category, read).await
        }
    }
    AGroupBeginsWithOwners breaks [
        a_group_begins_in_its_first_epoch_without_owners
        a_claim_of_one_slot_leaves_the_others
    ] {
        async fn group(&self, leases: Rights<'_>, group: &str) -> Result<GroupRecord> {
            let mut found = leases.group(group).await?;
            for slot in &mut found.slots {
                slot.owner = slot.owner.or((slot.epoch == 0).then(Uuid::nil));
            }
            Ok(found)
        }
    }
    AnUnknownGroupHasASlot breaks [a_group_that_was_not_created_is_empty] {
        async fn group(&self, leases: Rights<'_>, group: &str) -> Result<GroupRecord> {
            let mut found = leases.group(group).await?;
            if found.slots.is_empty() {
                found.slots.push(SlotRecord::new(0, Json::NULL));
            }
            Ok(found)
        }
    }
    AGroupIsCreatedAgain breaks [a_group_is_created_once] {
        async fn create_group(&self, leases: Rights<'_>, group: &str, progress: Vec<Json>) -> Result<()> {
            leases.create_group(group, progress.clone()).await?;
            let slots = leases.group(group).await?.slots.into_iter().zip(progress);
            let changed = slots.filter(|(slot, progress)| !slot.progress.same_as(progress));
            let changed: Vec<_> = changed.collect();
            if !changed.is_empty() {
                leases.set_progress(group, changed).await?;
            }
            Ok(())
        }
    }
    GroupsAreListedInAnyOrder breaks [groups_are_listed_in_order] {
        async fn groups(&self, leases: Rights<'_>) -> Result<Vec<String>> {
            Ok(leases.groups().await?.into_iter().rev().collect())
        }
    }
    MembersAreListedInAnyOrder breaks [members_with_a_lease_are_listed_in_order] {
        async fn group(&self, leases: Rights<'_>, group: &str) -> Result<GroupRecord> {
            let mut found = leases.group(group).await?;
            found.members.reverse();
            Ok(found)
        }
    }
    EveryMemberWantsSlots breaks [a_member_shows_whether_it_wants_slots] {
        async fn renew(&self, leases: Rights<'_>, member: &Membership, time: Duration, _: bool) -> Result<bool> {
            leases.renew(member, time, true).await
        }
    }
    ANameMayBeTakenTwice breaks [
        a_name_belongs_to_one_member_with_a_lease
        a_name_is_free_after_the_lease
    ] {
        async fn renew(&self, leases: Rights<'_>, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
            leases.renew(member, time, wants_slots).await.map(|_| true)
        }
    }
    ANameIsTakenForEver(Mutex<Vec<Membership>>) breaks [
        a_name_is_free_after_the_lease
        a_member_that_leaves_releases_its_slots
    ] {
        async fn renew(&self, leases: Rights<'_>, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
            let is_taken = {
                let mut taken = self.0.lock().unwrap();
                let is_taken = taken.iter().any(|other| {
                    (&other.group, &other.name) == (&member.group, &member.name) && other.id != member.id
                });
                taken.push(member.clone());
                is_taken
            };
            if is_taken { Ok(false) } else { leases.renew(member, time, wants_slots).await }
        }
    }
    AClaimShowsTheEpochBefore breaks [
        a_claim_begins_a_new_epoch
        slots_are_free_after_the_lease_of_their_owner
        an_owner_that_renews_an_ended_lease_keeps_its_slots
        an_owner_saves_the_progress_of_its_slots
        a_save_of_an_earlier_epoch_is_refused
        a_save_of_another_history_is_refused
        a_released_slot_is_free_with_its_last_progress
        a_member_that_leaves_releases_its_slots
        an_operator_sets_the_progress_and_takes_the_slot_from_its_owner
        an_operator_changes_nothing_by_an_outdated_record
        the_owner_of_a_slot_appends_with_its_fence
        an_append_with_a_fence_keeps_the_rules_of_appends
        an_append_keeps_its_condition_beside_a_fence
        an_update_of_an_owner_that_has_lost_its_slot_changes_nothing
    ] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            let claimed = leases.claim(member, slots).await?;
            Ok(claimed.into_iter().map(|slot| changed!(slot.clone(), epoch = slot.epoch - 1)).collect())
        }
    }
    AClaimTakesSlotsFromTheirOwners breaks [
        a_slot_with_an_owner_cannot_be_claimed
        a_slot_in_another_epoch_than_the_record_is_not_claimed
        a_released_slot_is_free_with_its_last_progress
    ] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            let owned: Vec<_> =
                slots.iter().filter(|slot| slot.owner.is_some()).map(|slot| (slot.clone(), slot.progress.clone())).collect();
            leases.set_progress(&member.group, owned).await?;
            let now = leases.group(&member.group).await?.slots;
            let wanted = now.into_iter().filter(|now| slots.iter().any(|slot| slot.number == now.number));
            leases.claim(member, &wanted.collect::<Vec<_>>()).await
        }
    }
    AClaimTakesAllSlots breaks [
        a_claim_of_one_slot_leaves_the_others
        a_slot_in_another_epoch_than_the_record_is_not_claimed
    ] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, _: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            let now = leases.group(&member.group).await?.slots;
            leases.claim(member, &now).await
        }
    }
    AClaimIgnoresTheEpoch breaks [a_slot_in_another_epoch_than_the_record_is_not_claimed] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            let now = leases.group(&member.group).await?.slots;
            let wanted = now.into_iter().filter(|now| slots.iter().any(|slot| slot.number == now.number));
            leases.claim(member, &wanted.collect::<Vec<_>>()).await
        }
    }
    AClaimNeedsNoLease breaks [a_member_without_a_lease_claims_nothing] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            with_lease(leases, member).await;
            leases.claim(member, slots).await
        }
    }
    SlotsStayWithOwnersWhoseLeaseHasEnded breaks [
        slots_are_free_after_the_lease_of_their_owner
        an_earlier_owner_saves_nothing
        a_save_of_an_earlier_epoch_is_refused
        a_released_slot_is_free_with_its_last_progress
        a_member_that_leaves_releases_its_slots
        an_earlier_owner_appends_nothing
        an_append_keeps_its_condition_beside_a_fence
        an_update_of_an_owner_that_has_lost_its_slot_changes_nothing
    ] {
        async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
            let unowned: Vec<_> = slots.iter().filter(|slot| slot.epoch == 0).cloned().collect();
            leases.claim(member, &unowned).await
        }
    }
    ARenewalAfterTheLeaseLosesTheSlots breaks [an_owner_that_renews_an_ended_lease_keeps_its_slots] {
        async fn renew(&self, leases: Rights<'_>, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
            let is_here = leases.group(&member.group).await?.members.iter().any(|other| other.id == member.id);
            if !is_here {
                leases.leave(member).await?;
            }
            leases.renew(member, time, wants_slots).await
        }
    }
    SavesAreForgotten breaks [
        an_owner_saves_the_progress_of_its_slots
        an_earlier_owner_saves_nothing
        a_save_of_an_earlier_epoch_is_refused
        an_owner_saves_nothing_after_its_lease
        a_save_of_another_history_is_refused
        a_released_slot_is_free_with_its_last_progress
        a_member_that_leaves_releases_its_slots
        an_operator_sets_the_progress_and_takes_the_slot_from_its_owner
        an_operator_changes_nothing_by_an_outdated_record
        leases_apart_and_of_another_handle_are_the_same
    ] {
        async fn save(&self, _: Rights<'_>, _: &Membership, saves: Vec<SlotSave>, _: Option<History>) -> Result<Vec<u16>> {
            Ok(saves.into_iter().map(|save| save.number).collect())
        }
    }
    AnyMemberSaves breaks [
        an_earlier_owner_saves_nothing
        a_save_of_an_earlier_epoch_is_refused
    ] {
        async fn save(&self, leases: Rights<'_>, member: &Membership, mut saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
            let now = leases.group(&member.group).await?;
            let Some(owner) = now.slots.iter().find_map(|slot| slot.owner) else { return Ok(Vec::new()) };
            with_present_epochs(leases, &member.group, &mut saves).await;
            leases.save(&changed!(member.clone(), id = owner), saves, history).await
        }
    }
    ASaveIgnoresTheHistory breaks [a_save_of_another_history_is_refused] {
        async fn save(&self, leases: Rights<'_>, member: &Membership, saves: Vec<SlotSave>, _: Option<History>) -> Result<Vec<u16>> {
            leases.save(member, saves, None).await
        }
    }
    ASaveIgnoresTheEpoch breaks [a_save_of_an_earlier_epoch_is_refused] {
        async fn save(&self, leases: Rights<'_>, member: &Membership, mut saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
            with_present_epochs(leases, &member.group, &mut saves).await;
            leases.save(member, saves, history).await
        }
    }
    ASaveNeedsNoLease breaks [
        an_owner_saves_nothing_after_its_lease
        a_member_that_leaves_releases_its_slots
    ] {
        async fn save(&self, leases: Rights<'_>, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
            with_lease(leases, member).await;
            leases.save(member, saves, history).await
        }
    }
    AReleaseKeepsTheSlot breaks [
        a_save_of_an_earlier_epoch_is_refused
        a_released_slot_is_free_with_its_last_progress
    ] {
        async fn save(&self, leases: Rights<'_>, member: &Membership, mut saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
            for save in &mut saves {
                save.is_release = false;
            }
            leases.save(member, saves, history).await
        }
    }
    AMemberThatLeavesStays breaks [a_member_that_leaves_releases_its_slots] {
        async fn leave(&self, _: Rights<'_>, _: &Membership) -> Result<()> {
            Ok(())
        }
    }
    AnOperatorLeavesTheSlotToItsOwner breaks [
        an_operator_sets_the_progress_and_takes_the_slot_from_its_owner
        an_operator_changes_nothing_by_an_outdated_record
    ] {
        async fn set_progress(&self, leases: Rights<'_>, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
            let found = leases.group(group).await?;
            for (slot, progress) in slots {
                let Some(owner) = found.members.iter().find(|member| Some(member.id) == slot.owner) else { continue };
                let member = changed!(Membership::new(group, &owner.name), id = owner.id);
                leases.save(&member, vec![SlotSave::new(slot.number, slot.epoch, progress)], None).await?;
            }
            Ok(true)
        }
    }
    AnOperatorsRecordMayBeOutdated breaks [an_operator_changes_nothing_by_an_outdated_record] {
        async fn set_progress(&self, leases: Rights<'_>, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
            let now = leases.group(group).await?.slots;
            let present = slots.into_iter().map(|(slot, progress)| (now[usize::from(slot.number)].clone(), progress));
            leases.set_progress(group, present.collect()).await
        }
    }
    /// Its heartbeats go to another database.
    LeasesApartAreOthers breaks [leases_apart_and_of_another_handle_are_the_same] {
        async fn apart(&self, _: Rights<'_>) -> Result<Arc<dyn Leases>> {
            let elsewhere = message_store::connect("sqlite::memory:").await?;
            leases(&*elsewhere).create_group("account:command+position-workers", vec![Json::NULL; 3]).await?;
            leases(&*elsewhere).apart().await
        }
    }
    FencesAreIgnored breaks [
        an_earlier_owner_appends_nothing
        an_owner_appends_nothing_after_its_lease
        an_append_keeps_its_condition_beside_a_fence
    ] {
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_fence(&request)).await
        }
    }
    AFenceNeedsNoLease breaks [an_owner_appends_nothing_after_its_lease] {
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            if let Some(fence) = request.fence() {
                with_lease(leases(store), &fence.member).await;
            }
            store.append(request).await
        }
    }
    NoFenceIsAccepted breaks [
        the_owner_of_a_slot_appends_with_its_fence
        an_append_with_a_fence_keeps_the_rules_of_appends
        an_append_keeps_its_condition_beside_a_fence
    ] {
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            match request.fence() {
                Some(fence) => Err(fence.lost()),
                None => store.append(request).await,
            }
        }
    }
    AFenceAllowsAnyVersion breaks [
        an_append_with_a_fence_keeps_the_rules_of_appends
        an_append_keeps_its_condition_beside_a_fence
    ] {
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let Some(fence) = request.fence().cloned() else { return store.append(request).await };
            let any = request.appends().iter().cloned().map(|append| append.expecting(message_store::ExpectedVersion::Any));
            store.append(AppendRequest::from(any.collect::<Vec<_>>()).fenced_by(fence)).await
        }
    }
    AStoreWithoutLeasesIgnoresFences breaks [a_store_without_leases_refuses_a_fence] {
        fn has_leases(&self) -> bool {
            false
        }
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_fence(&request)).await
        }
    }
}
