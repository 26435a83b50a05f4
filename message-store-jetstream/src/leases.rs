//! Leases of consumer groups: one document for each group, with its members and slots. The clock is the clock of the server
//! that leads the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message_store::store::{Fence, GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
use message_store::{Error, History, Json, MessageStore as _, Result, Timestamp, Uuid};
use serde::{Deserialize, Serialize};

use crate::batch::Entry;
use crate::deduplication::after;
use crate::documents::{Change, Document, WhenLost};
use crate::store::JetstreamStore;
use crate::subjects::Subjects;
use crate::write::Attempt;

const GROUP: &str = "group";

/// A group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    /// By name.
    members: BTreeMap<String, Member>,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Member {
    id: Uuid,
    until: Timestamp,
    wants_slots: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    owner: Option<Uuid>,
    epoch: i64,
    progress: Json,
    saves: i64,
    /// The last claim or release.
    changed_at: Timestamp,
    saved_at: Option<Timestamp>,
}

impl Group {
    /// The end of the lease of a member.
    fn until(&self, id: Uuid) -> Option<Timestamp> {
        self.members.values().find(|member| member.id == id).map(|member| member.until)
    }

    fn has_lease(&self, id: Uuid, now: Timestamp) -> bool {
        self.until(id).is_some_and(|until| until > now)
    }

    /// Forgets members whose leases have ended, unless a slot was theirs: each process may have a name of its own.
    fn forget_crashed(&mut self, now: Timestamp) {
        let Self { members, slots } = self;
        members.retain(|_, member| member.until > now || slots.iter().any(|slot| slot.owner == Some(member.id)));
    }

    /// The slots that a member owns in these epochs.
    fn owned_mut(&mut self, id: Uuid, number: u16, epoch: i64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(number)).filter(|slot| slot.owner == Some(id) && slot.epoch == epoch)
    }

    fn record(&self, number: u16, now: Timestamp) -> SlotRecord {
        let slot = &self.slots[usize::from(number)];
        let owner = slot.owner.filter(|&owner| self.has_lease(owner, now));
        let since = match slot.owner {
            // It is free since the lease of its owner ended.
            Some(lost) if owner.is_none() => {
                self.until(lost).map_or(slot.changed_at, |until| until.max(slot.changed_at))
            }
            _ => slot.changed_at,
        };
        let mut record = SlotRecord::new(number, slot.progress.clone());
        record.owner = owner;
        record.epoch = slot.epoch;
        record.saves = slot.saves;
        record.owned_or_free_for = between(since, now);
        record.saved_at = slot.saved_at;
        record
    }

    fn records(&self, now: Timestamp) -> Vec<SlotRecord> {
        (0..).take(self.slots.len()).map(|number| self.record(number, now)).collect()
    }
}

impl JetstreamStore {
    async fn load_group(&self, group: &str) -> Result<(Document<Group>, Timestamp)> {
        let subject = self.log.subjects.document(GROUP, &[group]);
        let (group, state) = tokio::try_join!(self.log.document::<Group>(subject), self.log.state())?;
        Ok((group, state.now))
    }

    /// Changes a group. `change` returns whether it has changed the content, and the result.
    async fn change_group<T>(
        &self,
        group: &str,
        when_lost: WhenLost,
        change: impl Fn(&mut Group, Timestamp) -> (bool, T),
    ) -> Result<T> {
        let mut attempts = Change::new("changing the leases of a group", when_lost);
        loop {
            let (document, now) = self.load_group(group).await?;
            let mut content = document.content.clone().unwrap_or_default();
            let (is_changed, result) = change(&mut content, now);
            if !is_changed || attempts.is_done(&self.log, &[document.replaced_by(&content)?]).await? {
                return Ok(result);
            }
        }
    }

    /// Adds the condition to an attempt that the owner of a fence still owns its slot.
    pub(crate) async fn require_slot(&self, attempt: &mut Attempt, fence: &Fence, now: Timestamp) -> Result<()> {
        let Fence { member: Membership { group, id, .. }, slot, epoch, .. } = fence;
        let document = self.log.document::<Group>(self.log.subjects.document(GROUP, &[group])).await?;
        let mut content = document.content.clone().unwrap_or_default();
        if !content.has_lease(*id, now) || content.owned_mut(*id, *slot, *epoch).is_none() {
            return Err(fence.lost());
        }
        attempt.require(document.subject, document.sequence, &self.log.subjects);
        Ok(())
    }
}

#[async_trait]
impl Leases for JetstreamStore {
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()> {
        let create = |group: &mut Group, now: Timestamp| {
            let is_new = group.slots.is_empty();
            if is_new {
                let slot = |progress: &Json| Slot {
                    owner: None,
                    epoch: 0,
                    progress: progress.clone(),
                    saves: 0,
                    changed_at: now,
                    saved_at: None,
                };
                group.slots = progress.iter().map(slot).collect();
            }
            (is_new, ())
        };
        self.change_group(group, WhenLost::Again, create).await
    }

    async fn groups(&self) -> Result<Vec<String>> {
        let groups = self.log.all_documents::<Group>(&self.log.subjects.documents(GROUP, &[])).await?;
        let created =
            groups.into_iter().filter(|group| group.content.as_ref().is_some_and(|group| !group.slots.is_empty()));
        let mut names: Vec<_> = created.filter_map(|group| Subjects::name_of(&group.subject)).collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn group(&self, group: &str) -> Result<GroupRecord> {
        let (document, now) = self.load_group(group).await?;
        let group = document.content.unwrap_or_default();
        let slots = group.records(now);
        let member = |(name, member): (String, Member)| {
            let left = between(now, member.until);
            (!left.is_zero()).then(|| MemberRecord::new(name, member.id, left, member.wants_slots))
        };
        Ok(GroupRecord::new(group.members.into_iter().filter_map(member).collect(), slots))
    }

    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        let Membership { group, name, id, .. } = member;
        let renew = |group: &mut Group, now: Timestamp| {
            let is_taken = group.members.get(name).is_some_and(|other| other.id != *id && other.until > now);
            if is_taken {
                return (false, false);
            }
            if let Some(other) = group.members.get(name).filter(|other| other.id != *id).cloned() {
                release_all(group, other.id, other.until);
            }
            group.forget_crashed(now);
            group.members.insert(name.clone(), Member { id: *id, until: after(now, time), wants_slots });
            (true, true)
        };
        self.change_group(group, WhenLost::Again, renew).await
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        let Membership { group, id, .. } = member;
        let claim = |group: &mut Group, now: Timestamp| {
            let mut claimed = Vec::new();
            if !group.has_lease(*id, now) {
                return (false, claimed);
            }
            let mut is_changed = false;
            for wanted in slots {
                if usize::from(wanted.number) >= group.slots.len() {
                    continue;
                }
                let is_free = group.record(wanted.number, now).owner.is_none();
                let slot = &mut group.slots[usize::from(wanted.number)];
                if is_free && slot.epoch == wanted.epoch {
                    (slot.owner, slot.epoch, slot.changed_at) = (Some(*id), slot.epoch + 1, now);
                    is_changed = true;
                } else if slot.owner != Some(*id) || slot.epoch != wanted.epoch + 1 {
                    // (In the epoch after the record's, it was claimed by an attempt whose answer was lost.)
                    continue;
                }
                claimed.push(group.record(wanted.number, now));
            }
            (is_changed, claimed)
        };
        self.change_group(group, WhenLost::Again, claim).await
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
        if history.is_some_and(|history| history != self.history()) {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        let Membership { group, id, .. } = member;
        let save = |group: &mut Group, now: Timestamp| {
            let mut saved = Vec::new();
            if group.has_lease(*id, now) {
                for SlotSave { number, epoch, progress, is_release, .. } in &saves {
                    let Some(slot) = group.owned_mut(*id, *number, *epoch) else { continue };
                    if let Some(progress) = progress {
                        (slot.progress, slot.saved_at) = (progress.clone(), Some(now));
                        slot.saves += 1;
                    }
                    if *is_release {
                        (slot.owner, slot.changed_at) = (None, now);
                    }
                    saved.push(*number);
                }
            }
            (!saved.is_empty(), saved)
        };
        self.change_group(group, WhenLost::Again, save).await
    }

    async fn leave(&self, member: &Membership) -> Result<()> {
        let Membership { group, id, .. } = member;
        let leave = |group: &mut Group, now: Timestamp| {
            let count = group.members.len();
            group.members.retain(|_, member| member.id != *id);
            let is_released = release_all(group, *id, now);
            (is_released || group.members.len() < count, ())
        };
        self.change_group(group, WhenLost::Again, leave).await
    }

    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        let set = |group: &mut Group, now: Timestamp| {
            let is_same =
                |wanted: &SlotRecord, found: &Slot| (found.epoch, found.saves) == (wanted.epoch, wanted.saves);
            let is_unchanged = slots.iter().all(|(wanted, _)| {
                group.slots.get(usize::from(wanted.number)).is_some_and(|found| is_same(wanted, found))
            });
            if is_unchanged {
                for (wanted, progress) in &slots {
                    let slot = &mut group.slots[usize::from(wanted.number)];
                    (slot.owner, slot.epoch, slot.changed_at) = (None, slot.epoch + 1, now);
                    (slot.progress, slot.saves, slot.saved_at) = (progress.clone(), slot.saves + 1, Some(now));
                }
            }
            (is_unchanged && !slots.is_empty(), is_unchanged)
        };
        self.change_group(group, WhenLost::Tell, set).await
    }

    async fn apart(&self) -> Result<Arc<dyn Leases>> {
        Ok(Arc::new(self.connected_apart().await?))
    }
}

/// Releases all slots of a member.
fn release_all(group: &mut Group, id: Uuid, at: Timestamp) -> bool {
    let mut owned = group.slots.iter_mut().filter(|slot| slot.owner == Some(id)).peekable();
    let any = owned.peek().is_some();
    for slot in owned {
        (slot.owner, slot.changed_at) = (None, at.max(slot.changed_at));
    }
    any
}

/// The time from one to another. Zero if the clock was set back.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

impl Attempt {
    /// Adds the condition that the last record of a subject, or of those that a wildcard matches, is this one.
    pub(crate) fn require(&mut self, subject: String, sequence: u64, subjects: &Subjects) {
        let witness = subjects.document("witness", &[&Uuid::new_v4().simple().to_string()]);
        self.before.push(Entry::new(witness, "").while_last(subject, sequence).for_seconds(1));
    }
}
