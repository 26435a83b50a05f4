//! The first progress of an elastic group's slots.
//!
//! Problem: a consumer, or a group of a fixed size, becomes an elastic group, and no message may be lost. Fix: the group
//! begins where the consumers of its identifier have stopped, and takes their positions over. Why nothing is lost: each
//! slot begins at the lowest position of the members that have handled its entities. Messages that were handled are
//! recognised.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::consumer::PlantedBug;
use crate::consumer::outages::Outages;
use crate::consumer::pace::Pace;
use crate::consumer::position_store::{PositionStore, Progress, identifier_in, last_own_save, position_streams};
use crate::store::{Leases, StepStream};
use crate::{Error, GlobalPosition, Json, MessageStore, Result, StreamName};

/// The consumers with the group's identifier that ran before it.
#[derive(Default)]
struct Before {
    /// The progress of each member. A consumer without a group is the only member of its own.
    members: BTreeMap<u16, Progress>,
    saved_last: Option<Timestamp>,
}

/// Creates the group of a consumer's members, if it was never created.
///
/// # Errors
/// [`Error::Invalid`] if the group has another number of slots; the store's errors.
pub(in crate::consumer) async fn create_group(
    store: &Arc<dyn MessageStore>,
    leases: &dyn Leases,
    positions: &StreamName,
    slots: u16,
    pace: &Pace,
    outages: &Outages,
) -> Result<()> {
    let group = positions.as_str();
    if slots == 0 {
        return Err(Error::invalid("elastic group", format!("{group} would have no slot, and handle nothing")));
    }
    if leases.group(group).await?.slots.is_empty() {
        let progress = first_progress(store, positions, slots, pace, outages).await?;
        leases.create_group(group, progress.iter().map(Json::encode).collect::<Result<_>>()?).await?;
    }
    let count = leases.group(group).await?.slots.len();
    if count != usize::from(slots) {
        let reason = format!("{group} has {count} slots, and this member wants {slots}. Their number cannot change");
        return Err(Error::invalid("elastic group", reason));
    }
    Ok(())
}

async fn first_progress(
    store: &Arc<dyn MessageStore>,
    positions: &StreamName,
    slots: u16,
    pace: &Pace,
    outages: &Outages,
) -> Result<Vec<Progress>> {
    let mut before: BTreeMap<u16, Before> = BTreeMap::new();
    let (identifier, _) = identifier_in(positions);
    for stream in position_streams(&**store, &positions.category()).await? {
        if identifier_in(&stream).0 != identifier {
            continue;
        }
        // The time of the own progress: a start of a group that ended half way took positions over, and these are no older.
        let counts = pace.planted.is(PlantedBug::TakeOversCount);
        let last = last_own_save(&StepStream::new(store, stream.clone()), counts).await?;
        let (_, member) = identifier_in(&stream);
        let taken = PositionStore::take_over(store, stream, pace, outages).await?;
        let (number, size) = member.map_or((0, 1), |member| (member.number(), member.size()));
        let of_size = before.entry(size).or_default();
        // A consumer without a group, and a group of one member, count as the same. The later one counts.
        if last >= of_size.saved_last || !of_size.members.contains_key(&number) {
            of_size.members.insert(number, taken.previous().clone());
        }
        of_size.saved_last = of_size.saved_last.max(last);
    }
    let never_run = Progress::stopped_at(GlobalPosition::ZERO);
    let latest = before.into_iter().max_by_key(|(_, before)| before.saved_last);
    Ok((0..slots)
        .map(|slot| latest.as_ref().map_or_else(|| never_run.clone(), |(size, before)| before.of(slot, slots, *size)))
        .collect())
}

impl Before {
    /// The progress of a slot, of `slots`, if this group had `size` members.
    fn of(&self, slot: u16, slots: u16, size: u16) -> Progress {
        // If the size divides the number of slots, all entities of a slot had one member.
        let members = if slots.is_multiple_of(size) { vec![slot % size] } else { (0..size).collect() };
        let of_member = |member: u16| {
            self.members.get(&member).cloned().unwrap_or_else(|| Progress::stopped_at(GlobalPosition::ZERO))
        };
        let progress: Vec<Progress> = members.into_iter().map(of_member).collect();
        let position = progress.iter().map(|progress| progress.position).min().unwrap_or(GlobalPosition::ZERO);
        Progress {
            handed_out_through: progress.iter().filter_map(|progress| progress.handed_out_through).max(),
            stopped: progress.iter().all(|progress| progress.stopped),
            ..Progress::at(position)
        }
    }
}
