//! Deciders: what a command means, given the state of its entity. Pure, and therefore quick to test.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Outcome;
use crate::entity::Projection;
use crate::intents::Intent;

/// An entity that carries out commands.
///
/// The runtime ([`CommandHandler`](crate::handling::CommandHandler)) loads the entity, tells repeats apart, calls
/// `decide`, stamps the events and appends them. When another writer came in between, it loads and decides again: so
/// `decide` must not do anything but decide.
///
/// ```
/// use message_store::handling::Decider;
/// use message_store::entity::Projection;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// enum Command { Withdraw { amount: u64 } }
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Withdrawn { amount: u64 }, WithdrawalRejected { amount: u64 } }
///
/// #[derive(Clone, Default)]
/// struct Account { balance: u64 }
///
/// impl Projection for Account {
///     const CATEGORY: &'static str = "account";
///     type Event = Event;
///     fn apply(&mut self, event: &Event) {
///         match event {
///             Event::Withdrawn { amount } => self.balance -= amount,
///             Event::WithdrawalRejected { .. } => {}
///         }
///     }
/// }
///
/// impl Decider for Account {
///     type Command = Command;
///     fn decide(&self, command: &Command) -> Vec<Event> {
///         match command {
///             Command::Withdraw { amount } if self.balance < *amount => vec![Event::WithdrawalRejected { amount: *amount }],
///             Command::Withdraw { amount } => vec![Event::Withdrawn { amount: *amount }],
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide commands",
    note = "implement `Projection` for it (its events) and `Decider` (its commands)"
)]
pub trait Decider: Projection<Event: Serialize> {
    /// The commands: an enum with a variant for each message type.
    type Command: DeserializeOwned + Send + Sync;

    /// The name that the ids of its events are derived from, and that its events carry: the name of its category,
    /// unless another decider or handler of the same commands has that. It belongs to what is stored: with another
    /// name, commands that were carried out are new.
    const NAME: &'static str = Self::CATEGORY;

    /// A field to be added to the data of each event: what Eventide's events show as `sequence`, the global position of
    /// the command, or of one that was carried out before, if that is higher. The toolkit's own stamp is in the
    /// metadata, and does not depend on it.
    const SEQUENCE_FIELD: Option<&'static str> = None;

    /// A field to be added to the data of each event, with the time it was decided at: Eventide's `processedTime`.
    const PROCESSED_TIME_FIELD: Option<&'static str> = None;

    /// The events that the command leads to: none, one or several, written together or not at all.
    ///
    /// A command that leads to none is decided again when it comes again. To make a refusal final, return an event.
    fn decide(&self, command: &Self::Command) -> Vec<Self::Event>;

    /// The events that a late command leads to: one that comes after commands of its origin that were sent after it.
    /// The same as ever, unless the order of commands matters (`set to 100`, `set to 500`): then refuse it here, with
    /// an event.
    fn decide_late(&self, command: &Self::Command) -> Vec<Self::Event> {
        self.decide(command)
    }

    /// The events that a repeat leads to: a command whose intent another command has reserved before. None, unless the
    /// sender is to be told. `repeat` is [`Outcome::Duplicate`] or [`Outcome::Conflict`].
    fn decide_repeat(&self, _command: &Self::Command, _repeat: &Outcome) -> Vec<Self::Event> {
        Vec::new()
    }

    /// What the command has in common with other messages that want the same thing done once, if there is such a thing.
    /// An intent that cannot be one (an empty id, say) is an error of the message, which ends or parks: answer `None`
    /// for it, and refuse it with an event.
    fn intent(_command: &Self::Command) -> Option<Intent> {
        None
    }
}
