//! Process managers: pure functions from a state and a message to a reaction. Tests of a process manager need no store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Reaction;
use crate::entity::Projection;
use crate::intents::Intent;
use crate::{Message, Outcome, Tag, Upcaster};

/// A process: it leads several entities through a case. Its state is projected from events of its own stream. It reacts
/// to messages of several categories, for example to commands for the process and to events of the entities.
///
/// The runtime ([`ProcessHandler`](super::ProcessHandler)) writes a reaction in one append: the process's own events, and
/// the messages for other streams. So either all of it happens, once, or none of it. When another message of the same
/// process is handled at the same time, the runtime loads the process and asks for its reaction again. So `react` must
/// have no side effects.
///
/// ```
/// use message_store::Message;
/// use message_store::entity::Projection;
/// use message_store::handling::{ProcessManager, Reaction};
/// use serde::{Deserialize, Serialize};
///
/// /// The messages to which the process reacts: its own command, and an event of accounts.
/// #[derive(Deserialize)]
/// #[serde(rename_all_fields = "camelCase")]
/// enum Received {
///     Transfer { transfer_id: String, from: String, to: String, amount: u64 },
///     Withdrawn { withdrawal_id: String },
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Initiated { to: String, amount: u64 }, Withdrawn {} }
///
/// #[derive(Serialize)]
/// #[serde(rename_all_fields = "camelCase")]
/// enum Command {
///     Withdraw { withdrawal_id: String, amount: u64 },
///     Deposit { deposit_id: String, amount: u64 },
/// }
///
/// #[derive(Clone, Default)]
/// struct Transfer { to: String, amount: u64, is_withdrawn: bool }
///
/// impl Projection for Transfer {
///     const CATEGORY: &'static str = "transfer";
///     type Event = Event;
///     fn apply(&mut self, event: &Event) {
///         match event {
///             Event::Initiated { to, amount } => (self.to, self.amount) = (to.clone(), *amount),
///             Event::Withdrawn {} => self.is_withdrawn = true,
///         }
///     }
/// }
///
/// impl ProcessManager for Transfer {
///     type Message = Received;
///
///     fn process_id(_: &Message, received: &Received) -> Option<String> {
///         match received {
///             Received::Transfer { transfer_id, .. } => Some(transfer_id.clone()),
///             // Other withdrawals belong to no transfer.
///             Received::Withdrawn { withdrawal_id } => withdrawal_id.strip_prefix("transfer/").map(str::to_owned),
///         }
///     }
///
///     fn react(&self, received: &Received) -> Reaction<Event> {
///         match received {
///             Received::Transfer { transfer_id, from, to, amount } if self.amount == 0 => {
///                 let withdraw = Command::Withdraw { withdrawal_id: format!("transfer/{transfer_id}"), amount: *amount };
///                 Reaction::event(Event::Initiated { to: to.clone(), amount: *amount })
///                     .send("account:command", from, &withdraw)
///             }
///             Received::Withdrawn { withdrawal_id } if !self.is_withdrawn => {
///                 let deposit = Command::Deposit { deposit_id: withdrawal_id.clone(), amount: self.amount };
///                 Reaction::event(Event::Withdrawn {}).send("account:command", &self.to, &deposit)
///             }
///             _ => Reaction::none(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    note = "implement `Projection` for it (its own events) and `ProcessManager` (the messages to which it reacts)"
)]
pub trait ProcessManager: Projection<Event: Serialize> {
    /// An enum with one variant for each message type, of all categories to whose messages the process reacts.
    type Message: DeserializeOwned + Send + Sync;

    /// The handler's name. The ids of the messages that it writes are derived from it, and their metadata contains it. The
    /// default is the category's name. Do not change it later: under another name, messages that were reacted to are new.
    const NAME: &'static str = Self::CATEGORY;

    /// How messages of earlier forms are read ([`Upcaster`]). A message cannot be split: read an event that its own
    /// component splits as one variant here. One that is dropped has the outcome [`Ignored`](Outcome::Ignored).
    const MESSAGE_UPCASTERS: &'static [Upcaster] = &[];

    /// The id of the process to which the message belongs. `None` if it belongs to none: then the outcome is
    /// [`Ignored`](Outcome::Ignored).
    ///
    /// The id can be a part of the message's content, or of its correlation
    /// ([`Message::correlation_id`]): what a process sends is correlated with the process's stream, unless
    /// the message that began the process had a correlation. The answer must be the same at each delivery.
    fn process_id(message: &Message, content: &Self::Message) -> Option<String>;

    /// The reaction to a message. If it is none and the message is delivered again, it is asked for again. A reaction that
    /// sends messages must have an own event, by which a repeat is recognised.
    fn react(&self, message: &Self::Message) -> Reaction<Self::Event>;

    /// The reaction to a late message, which arrives after messages of its origin that were sent later. The default is
    /// [`react`](Self::react).
    fn react_late(&self, message: &Self::Message) -> Reaction<Self::Event> {
        self.react(message)
    }

    /// The reaction to a message whose intent another message has reserved. The default is none. `repeat` is
    /// [`Outcome::Duplicate`] or [`Outcome::Conflict`].
    fn react_repeat(&self, _message: &Self::Message, _repeat: &Outcome) -> Reaction<Self::Event> {
        Reaction::none()
    }

    /// The tags of an own event, by which a query or an erasure finds it. The default is none. The runtime writes them into
    /// the metadata. Give a message that the process sends its tags with [`Reaction::send_message`].
    fn tags(_event: &Self::Event) -> Vec<Tag> {
        Vec::new()
    }

    /// The intent that the message shares with other messages that ask for the same thing. `None` means that each message
    /// is reacted to.
    fn intent(_message: &Self::Message) -> Option<Intent> {
        None
    }
}
