//! Another message with the intent of a command that was carried out.

use std::fmt::Debug;

use serde::Serialize;

use super::When;
use super::difference::assert_same;
use super::past::run_apart;
use super::run::Run;
use super::storage::{message, survives_storage};
use super::way::as_decided;
use crate::handling::Decider;
use crate::{Message, NewMessage, Outcome};

impl<D> When<D>
where
    D: Decider,
    D::Command: Serialize + Debug + PartialEq,
    D::Event: Debug + PartialEq,
{
    /// Carries the command out, and checks that another message with its intent, `again`, is recognised as a repeat
    /// ([`Outcome::Duplicate`], or [`Outcome::Conflict`] if it says something else) and leads to these events: those of
    /// [`decide_repeat`](Decider::decide_repeat). Every case also checks that the repeat leads to the same events, once,
    /// when it is delivered twice, and in a process that has not carried out the command itself.
    ///
    /// ```
    /// # use message_store::intents::Intent;
    /// # use message_store::entity::Projection;
    /// # use message_store::handling::Decider;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Command { Deposit { deposit_id: String, amount: u64 } }
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Event { Deposited { amount: u64 } }
    /// # #[derive(Clone, Default)] struct Account;
    /// # impl Projection for Account {
    /// #     const CATEGORY: &'static str = "account";
    /// #     type Event = Event;
    /// #     fn apply(&mut self, _: &Event) {}
    /// # }
    /// # impl Decider for Account {
    /// #     type Command = Command;
    /// #     fn decide(&self, Command::Deposit { amount, .. }: &Command) -> Vec<Event> { vec![Event::Deposited { amount: *amount }] }
    /// #     fn intent(Command::Deposit { deposit_id, .. }: &Command) -> Option<Intent> {
    /// #         Some(Intent::new("deposit", [deposit_id.clone()]))
    /// #     }
    /// # }
    /// use message_store::testing::given;
    ///
    /// let deposit = || Command::Deposit { deposit_id: "7".into(), amount: 5 };
    /// given::<Account>([]).when(deposit()).then_repeat(deposit(), []);
    /// ```
    #[track_caller]
    #[allow(clippy::needless_pass_by_value)]
    pub fn then_repeat(self, again: D::Command, expected: impl IntoIterator<Item = D::Event>) {
        let expected: Vec<D::Event> = expected.into_iter().collect();
        survives_storage(&again, D::COMMAND_UPCASTERS);
        for event in &expected {
            survives_storage(event, D::UPCASTERS);
        }
        let (run, repeat) = (self.run(), message(&again, D::COMMAND_UPCASTERS));
        for (way, outcome, written) in run_apart(move || async move { run.every_repeat::<D>(repeat).await }) {
            assert!(
                matches!(outcome, Outcome::Duplicate { .. } | Outcome::Conflict { .. }),
                "{way}, {again:?} is no repeat of {:?}, but {outcome}: do both have the same intent (Decider::intent), \
                 and did the first write an event?",
                self.command,
            );
            assert_same(
                &as_decided::<D>(&written)[..],
                &expected,
                format!("{way}, what the repeat {again:?} leads to"),
            );
        }
    }
}

impl Run {
    /// Delivers a repeat in every way, after the command. Returns its outcome, and the events that were written for it.
    async fn every_repeat<D: Decider>(self, repeat: NewMessage) -> Vec<(&'static str, Outcome, Vec<Message>)> {
        let mut ran = Vec::new();
        for (way, times, is_apart) in
            [("delivered once", 1, false), ("delivered twice", 2, false), ("in another process", 1, true)]
        {
            let (outcome, written) = self.events_of_repeat::<D>(times, repeat.clone(), is_apart).await;
            ran.push((way, outcome, written));
        }
        ran
    }
}
