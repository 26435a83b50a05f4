//! The protections: functions that keep a command from being lost and from having two effects. A test replaces one of
//! them by a wrong one, to show that the test notices. [`crate::testing`] has the wrong ones.

use std::time::Duration;

use super::behaviour::Behaviour;
use super::command_status::{CommandStatus, Evidence, LookUp, classify};
use super::contention::Contention;
use super::received_command::ReceivedCommand;
use crate::derived_id;
use crate::derived_id::DeriveId;
use crate::entity::Loaded;
use crate::intents::Intent;
use crate::store::{Condition, LookedThrough, Query};
use crate::{History, Message, Version};

/// The protections of a [`Runtime`](super::runtime::Runtime).
pub(crate) struct Protections<B: Behaviour> {
    /// The intent that the runtime reserves for a command.
    pub(crate) intent: fn(&B::Input) -> Option<Intent>,
    /// The query that the runtime holds a command to.
    pub(crate) unless: fn(&B::State, &B::Input) -> Option<Query>,
    /// The condition of a decision on the messages that were found.
    pub(crate) hold: fn(Query, &LookedThrough) -> Option<Condition>,
    /// Classifies a command as new, late or processed, or asks for a look-up.
    pub(crate) classify: fn(&Evidence<'_>) -> Result<CommandStatus, LookUp>,
    /// Derives the id of an event.
    pub(crate) derive_id: DeriveId,
    /// Whether a decision to write nothing counts: whether the entity was current, in the given history of the store.
    pub(crate) is_current: fn(&Loaded<B::State>, History) -> bool,
    /// Replaces the command by the copy that a first hop has written.
    pub(crate) replace: fn(&mut ReceivedCommand<'_>, Message),
    /// The pause after an attempt on this version has failed. `None` ends the attempts.
    pub(crate) pause: fn(&mut Contention, Version) -> Option<Duration>,
}

impl<B: Behaviour> Protections<B> {
    /// All protections are on.
    pub(crate) const ALL: Self = Self {
        intent: B::intent,
        unless: B::unless,
        hold: |query, looked_through| Some(query.after(looked_through.clone())),
        classify,
        derive_id: derived_id,
        is_current: Loaded::is_current_in,
        replace: |received, copy| received.replace_by(copy),
        pause: Contention::pause,
    };
}
