//! What keeps a command from being lost and from taking effect twice: functions, each of which a test can replace by a
//! wrong one, to show that it would notice ([`crate::testing`] has the wrong ones).

use std::time::Duration;

use super::contention::Contention;
use super::delivery::{Delivery, DeriveId};
use super::standing::{Evidence, Look, Standing, standing};
use crate::derived_id;
use crate::entity::Recalled;
use crate::handling::Decider;
use crate::intents::Intent;
use crate::{History, Message, Version};

/// The protections of a [`CommandHandler`](crate::handling::CommandHandler).
pub(crate) struct Protections<D: Decider> {
    /// What the command has in common with others that want the same: it is reserved.
    pub(crate) intent: fn(&D::Command) -> Option<Intent>,
    /// New, late or processed.
    pub(crate) standing: fn(&Evidence<'_>) -> Result<Standing, Look>,
    /// The ids of events.
    pub(crate) derive_id: DeriveId,
    /// Whether a decision to write nothing counts on what was recalled, in the history that the store has now.
    pub(crate) is_current: fn(&Recalled<D>, History) -> bool,
    /// Puts a first hop's copy in the place of the command.
    pub(crate) replace: fn(&mut Delivery<'_>, Message),
    /// The pause before another attempt, after one on this version has failed.
    pub(crate) pause: fn(&mut Contention, Version) -> Option<Duration>,
}

impl<D: Decider> Protections<D> {
    /// All of them.
    pub(crate) const ALL: Self = Self {
        intent: D::intent,
        standing,
        derive_id: derived_id,
        is_current: Recalled::is_current_in,
        replace: |delivery, copy| delivery.replace_by(copy),
        pause: Contention::pause,
    };
}
