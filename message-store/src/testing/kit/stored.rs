//! Cases that begin with stored events of any version: are they still read rightly?

use std::fmt::Debug;
use std::marker::PhantomData;

use super::When;
use super::difference::assert_same;
use super::past::{run_apart, write_given};
use super::storage::{of_version, read};
use crate::entity::{EntityStore, Projection};
use crate::handling::Decider;
use crate::testing::golden::stored_message;
use crate::{NewMessage, connect};

/// Stored events of an entity.
#[derive(Debug)]
#[must_use = "say then_state(state), or when(command).then(events)"]
pub struct GivenStored<P> {
    messages: Vec<NewMessage>,
    projection: PhantomData<fn() -> P>,
}

/// Begins a case with the events of an entity as they are stored: the type, its version, and the data.
///
/// ```
/// # use message_store::Upcaster;
/// # use message_store::entity::Projection;
/// # use serde::Deserialize;
/// # #[derive(Deserialize)] enum Event { Deposited { amount: u64 } }
/// # #[derive(Clone, Debug, Default, PartialEq)] struct Account { balance: u64 }
/// # impl Projection for Account {
/// #     const CATEGORY: &'static str = "account";
/// #     type Event = Event;
/// #     const UPCASTERS: &'static [Upcaster] = &[
/// #         Upcaster::rename(("Paid", 1), ("Deposited", 1)),
/// #         Upcaster::upcast(("Deposited", 1), |fields| fields.rename("sum", "amount")),
/// #     ];
/// #     fn apply(&mut self, Event::Deposited { amount }: &Event) { self.balance += amount; }
/// # }
/// use message_store::testing::given_stored;
///
/// given_stored::<Account>(&[("Paid", 1, r#"{"sum":7}"#), ("Deposited", 2, r#"{"amount":3}"#)])
///     .then_state(Account { balance: 10 });
/// ```
pub fn given_stored<P: Projection>(events: &[(&str, u32, &str)]) -> GivenStored<P> {
    GivenStored { messages: events.iter().copied().map(of_version).collect(), projection: PhantomData }
}

impl<P: Projection> GivenStored<P> {
    /// Checks that they lead to this state, whether they are read from a store at once or one after another.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value)]
    pub fn then_state(self, expected: P)
    where
        P: Debug + PartialEq,
    {
        let messages = self.messages;
        let read = run_apart(move || async move {
            let mut states = Vec::new();
            for known in [None, Some(messages.len() / 2)] {
                let store = connect("sqlite::memory:").await.unwrap();
                let entities = EntityStore::<P>::new(&store);
                let stream = entities.stream("1").unwrap_or_else(|error| panic!("{error}"));
                write_given(&entities, &stream, &messages, known).await;
                let entity = entities.fetch("1").await.unwrap_or_else(|error| panic!("{error}"));
                states.push(entity.state.clone());
            }
            states
        });
        for state in read {
            assert_same(&state, &expected, "the state that the stored events lead to");
        }
    }
}

impl<D: Decider> GivenStored<D> {
    /// Sets the command that is decided on them.
    #[track_caller]
    pub fn when(self, command: D::Command) -> When<D> {
        let read = |message: &NewMessage| read::<D::Event>(&stored_message(message), D::UPCASTERS);
        let events = self.messages.iter().flat_map(read).collect();
        When { given: self.messages, events, others: Vec::new(), command }
    }
}
