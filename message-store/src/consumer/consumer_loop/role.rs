//! The role of a loop in an elastic group: what it learns from the others who work on the same slots.

use std::future::pending;
use std::sync::Arc;

use crate::consumer::groups::{Change, Keeper, OwnedSlots};
use crate::{Error, Message};

/// The role of a loop.
#[derive(Debug)]
pub(in crate::consumer) enum Role {
    /// The consumer is in no elastic group.
    Alone,
    /// The consumer of a member. Its keeper claims slots for it.
    Member { keeper: Keeper, owned: Arc<OwnedSlots> },
    /// The letter consumer of a member.
    Letters(Arc<OwnedSlots>),
}

/// News for a loop.
pub(super) enum News {
    Change(Change),
    /// The delivery of a letter has ended, so that a slot may be released.
    LetterDelivered,
    /// The last steps of letters that an earlier owner of their slots may have left undone.
    Resume(Vec<Message>),
}

impl Role {
    /// Waits for news.
    pub(super) async fn news(&mut self) -> News {
        match self {
            Self::Alone => pending().await,
            Self::Member { keeper, owned } => tokio::select! {
                biased;
                change = keeper.changes.recv() => News::Change(change.unwrap_or_else(|| {
                    Change::Ended(Error::backend("keeping the lease of a member", false, "its thread has ended"))
                })),
                () = owned.delivery_ends() => News::LetterDelivered,
            },
            Self::Letters(owned) => News::Resume(owned.to_resume().await),
        }
    }

    /// The name of a member.
    pub(in crate::consumer) fn member_name(&self) -> Option<String> {
        self.owned().map(|owned| owned.member().name.clone())
    }

    /// The slots of a member.
    pub(in crate::consumer) fn owned(&self) -> Option<&Arc<OwnedSlots>> {
        match self {
            Self::Member { owned, .. } => Some(owned),
            Self::Alone | Self::Letters(_) => None,
        }
    }
}
