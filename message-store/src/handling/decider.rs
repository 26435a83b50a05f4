//! Deciders: pure functions from a state and a command to events. Tests of a decider need no store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entity::Projection;
use crate::intents::Intent;
use crate::store::Query;
use crate::{Message, Outcome, Tag, Upcaster};

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

    /// A rule that concerns other entities: the messages that must not exist when the events of the command are written.
    /// The default is none. The store must have [conditions](crate::MessageStore::conditions).
    ///
    /// The runtime writes the events of [`decide`](Self::decide) on the condition that no message matches. If one does, it
    /// reads all messages that match, and calls [`decide_matched`](Self::decide_matched). `self` is the entity, so a command
    /// that changes nothing for other entities needs no condition. A query should name a tag or a cardinal id: without one,
    /// the store looks at all messages of the categories.
    ///
    /// ```
    /// # use message_store::entity::Projection;
    /// use message_store::handling::Decider;
    /// use message_store::store::{Query, QueryItem};
    /// use message_store::{Category, Message, Tag};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// enum Command { Register { email: String } }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// enum Event { Registered { email: String }, RegistrationRejected { email: String } }
    ///
    /// # #[derive(Clone, Default)]
    /// # struct User { is_registered: bool }
    /// # impl Projection for User {
    /// #     const CATEGORY: &'static str = "user";
    /// #     type Event = Event;
    /// #     fn apply(&mut self, event: &Event) { self.is_registered |= matches!(event, Event::Registered { .. }) }
    /// # }
    /// fn tag(email: &str) -> Option<Tag> {
    ///     Tag::new(format!("email:{}", email.to_lowercase())).ok()
    /// }
    ///
    /// impl Decider for User {
    ///     type Command = Command;
    ///
    ///     fn decide(&self, Command::Register { email }: &Command) -> Vec<Event> {
    ///         if self.is_registered || tag(email).is_none() {
    ///             return vec![Event::RegistrationRejected { email: email.clone() }];
    ///         }
    ///         vec![Event::Registered { email: email.clone() }]
    ///     }
    ///
    ///     /// Each registration has its address as a tag.
    ///     fn tags(event: &Event) -> Vec<Tag> {
    ///         match event {
    ///             Event::Registered { email } => tag(email).into_iter().collect(),
    ///             Event::RegistrationRejected { .. } => Vec::new(),
    ///         }
    ///     }
    ///
    ///     /// No user may have registered the address.
    ///     fn unless(&self, Command::Register { email }: &Command) -> Option<Query> {
    ///         let users = QueryItem::of(Category::new("user").ok()?).types(["Registered"]);
    ///         (!self.is_registered).then_some(users.tag(tag(email)?).into())
    ///     }
    ///
    ///     fn decide_matched(&self, Command::Register { email }: &Command, _: &[Message]) -> Vec<Event> {
    ///         vec![Event::RegistrationRejected { email: email.clone() }]
    ///     }
    /// }
    /// ```
    fn unless(&self, _command: &Self::Command) -> Option<Query> {
        None
    }

    /// The new events for a command for which messages match [`unless`](Self::unless): all of them, in the order of their
    /// global positions, also those of this entity. The default is none: the command is ignored. To make a refusal final,
    /// return an event.
    ///
    /// The events are written on the condition that no other message matches. If one was written meanwhile, the command is
    /// decided again with that message too. A late command is decided here as well.
    fn decide_matched(&self, _command: &Self::Command, _found: &[Message]) -> Vec<Self::Event> {
        Vec::new()
    }

    /// The tags of an event, by which a query finds it. The default is none. The runtime writes them into the metadata.
    fn tags(_event: &Self::Event) -> Vec<Tag> {
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
