//! Deciders: pure functions from a state and a command to events. Tests of a decider need no store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entity::Projection;
use crate::intents::Intent;
use crate::{Outcome, Upcaster};

/// A projection that also decides commands.
///
/// The runtime ([`CommandHandler`](crate::handling::CommandHandler)) loads the entity, recognises repeats, calls
/// `decide`, stamps the events and appends them. When another writer appends first, the runtime loads the entity and
/// decides again. So `decide` must have no side effects.
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
    /// An enum with one variant for each message type.
    type Command: DeserializeOwned + Send + Sync;

    /// The handler's name. The ids of the events are derived from it, and the events' metadata contains it. The default
    /// is the category's name: set another one if another decider or handler of the same commands has that name. Do not
    /// change it later: under another name, commands that were carried out are new.
    const NAME: &'static str = Self::CATEGORY;

    /// How commands of earlier forms are read ([`Upcaster`]). A command cannot be split. One that is dropped has the
    /// outcome [`Ignored`](Outcome::Ignored).
    const COMMAND_UPCASTERS: &'static [Upcaster] = &[];

    /// A field that the runtime adds to the data of each event: Eventide's `sequence`. Its value is the global position
    /// of the command, or of a command that was carried out before if that is higher. The library's own stamp is in the
    /// metadata, and does not depend on this field.
    const SEQUENCE_FIELD: Option<&'static str> = None;

    /// A field that the runtime adds to the data of each event: the time of the decision, as Eventide's
    /// `processedTime`.
    const PROCESSED_TIME_FIELD: Option<&'static str> = None;

    /// The new events: none, one or several. They are written in one append.
    ///
    /// If there are none and the command is delivered again, it is decided again. To make a refusal final, return an
    /// event.
    fn decide(&self, command: &Self::Command) -> Vec<Self::Event>;

    /// The new events for a late command, which arrives after commands of its origin that were sent later. The default
    /// is [`decide`](Self::decide). If the order of commands matters (`set to 100`, `set to 500`), refuse the command
    /// here, with an event.
    fn decide_late(&self, command: &Self::Command) -> Vec<Self::Event> {
        self.decide(command)
    }

    /// The new events for a command whose intent another command has reserved. The default is none. Return an event if
    /// the sender must be told. `repeat` is [`Outcome::Duplicate`] or [`Outcome::Conflict`].
    fn decide_repeat(&self, _command: &Self::Command, _repeat: &Outcome) -> Vec<Self::Event> {
        Vec::new()
    }

    /// Whether an event refuses its command, such as `WithdrawalRejected`. The caller of
    /// [`execute`](crate::handling::CommandHandler::execute) learns it.
    fn is_refusal(_event: &Self::Event) -> bool {
        false
    }

    /// The intent that the command shares with other messages that ask for the same thing. `None` means that each
    /// command is carried out. If the intent is invalid, for example because an id is empty, handling the command
    /// fails, and [`OnFailure`](crate::consumer::OnFailure) decides what happens next. To refuse such a command
    /// instead, return `None` here and an event from `decide`.
    fn intent(_command: &Self::Command) -> Option<Intent> {
        None
    }
}
