//! The share of a category that a consumer handles.

use std::sync::Arc;

use super::OwnedSlots;
use crate::consumer::PlantedBug;
use crate::store::Fence;
use crate::{GroupMember, Result, StreamName};

/// The streams whose messages a consumer handles.
#[derive(Clone, Debug)]
pub(in crate::consumer) enum Share {
    All,
    /// A member of a group of a fixed size.
    Member(GroupMember),
    /// The slots that a member of an elastic group owns now.
    Slots(Arc<OwnedSlots>),
}

impl Share {
    /// Whether the consumer handles the messages of a stream.
    pub(in crate::consumer) fn is_own(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Member(member) => stream.cardinal_hash().is_some_and(|hash| member.takes(hash)),
            Self::Slots(owned) => owned.is_own(stream),
        }
    }

    /// Whether the delivery of a letter of a message of this stream may begin.
    pub(in crate::consumer) fn may_begin(&self, stream: &StreamName) -> bool {
        match self {
            Self::All | Self::Member(_) => true,
            Self::Slots(owned) => owned.may_begin(stream),
        }
    }

    /// The fence of writes for a message of this stream. `None` if the consumer needs none.
    ///
    /// # Errors
    /// [`Error::SlotLost`](crate::Error::SlotLost) if the member does not own the stream's slot.
    pub(in crate::consumer) fn fence(&self, stream: &StreamName) -> Result<Option<Fence>> {
        match self {
            Self::All | Self::Member(_) => Ok(None),
            Self::Slots(owned) if owned.planted.is(PlantedBug::FencesLeftOut) => Ok(None),
            Self::Slots(owned) => owned.fence(stream).map(Some),
        }
    }

    /// The member's name, or its number and the size of the group.
    pub(in crate::consumer) fn member_name(&self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Member(member) => Some(format!("{}/{}", member.number(), member.size())),
            Self::Slots(owned) => Some(owned.member().name.clone()),
        }
    }
}
