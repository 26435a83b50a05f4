//! `execute`, beside other writers.

use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::testing::FaultyStore;
use message_store::*;
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::{Store, archive};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Fill { amount: u64 },
    Spend { amount: u64 },
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Filled { amount: u64 },
    Spent { amount: u64 },
    Refused { amount: u64 },
}
#[derive(Clone, Debug, Default)]
struct Purse(u64);
impl Projection for Purse {
    const CATEGORY: &'static str = "purse";
    type Event = Event;
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Filled { amount } => self.0 += amount,
            Event::Spent { amount } => self.0 -= amount,
            Event::Refused { .. } => {}
        }
    }
}
impl Decider for Purse {
    type Command = Command;
    fn decide(&self, command: &Command) -> Vec<Event> {
        match *command {
            Command::Fill { amount } => vec![Event::Filled { amount }],
            Command::Spend { amount } if amount > self.0 => vec![Event::Refused { amount }],
            Command::Spend { amount } => vec![Event::Spent { amount }],
        }
    }
    fn is_refusal(event: &Event) -> bool {
        matches!(event, Event::Refused { .. })
    }
}

fn message(command: &Command) -> NewMessage {
    NewMessage::from_variant(command).unwrap()
}

on_both_stores! {
    /// Other programs copy metadata ("the origin alone is no proof, because another author may have copied the metadata").
    async fn an_event_of_another_program_with_copied_metadata_is_none_of_the_commands_events(store) {
        let purses = || CommandHandler::<Purse>::new(&store);
        let fill = message(&Command::Fill { amount: 10 });
        let first = purses().execute("1", fill.clone()).await.unwrap();
        assert_eq!((first.events.len(), first.is_refused), (1, false));
        let filled = messages_of(&store, "purse").await.remove(0);
        put(&store, "purse-1", "Refused", r#"{"amount":3}"#, filled.metadata.text()).await;
        let again = purses().execute("1", fill).await.unwrap();
        assert_eq!((again.events, again.is_refused), (first.events, false));
    }

    async fn a_command_whose_events_were_archived_is_executed_again(store) {
        let purses = || CommandHandler::<Purse>::new(&store);
        let (fill, spend) = (message(&Command::Fill { amount: 10 }), message(&Command::Spend { amount: 11 }));
        let _ = purses().execute("1", fill.clone()).await.unwrap();
        let _ = purses().execute("1", spend.clone()).await.unwrap();
        let _ = purses().execute("1", message(&Command::Fill { amount: 1 })).await.unwrap();
        assert_eq!(archive(&store, "purse").await, 2);
        assert_eq!(archive(&store, "purse:command").await, 2);
        let again = purses().execute("1", spend).await.unwrap();
        assert_eq!((again.events, again.is_refused), (vec![Event::Refused { amount: 11 }], true));
        assert_eq!(messages_of(&store, "purse").await.len(), 3);
        let state = purses().entities().fetch("1").await.unwrap();
        assert_eq!((state.state.0, state.version.position().unwrap().get()), (11, 2));
    }

    /// The caller's process ends at each step. The consumer, or the caller again, ends it.
    async fn a_caller_that_ends_at_any_step_has_one_effect(store) {
        for step in 0..8 {
            let purse = format!("p{step}");
            let faulty = FaultyStore::new(&store);
            faulty.die_after(step);
            let dying: Store = faulty.clone();
            let fill = message(&Command::Fill { amount: 10 });
            let handler = CommandHandler::<Purse>::new(&dying);
            tokio::select! {
                _ = handler.execute(&purse, fill.clone()) => {}
                () = faulty.has_died() => {}
            }
            let executed = CommandHandler::<Purse>::new(&store).execute(&purse, fill).await.unwrap();
            assert_eq!(executed.events, [Event::Filled { amount: 10 }], "{step}");
            let stream = StreamName::new(format!("purse-{purse}")).unwrap();
            assert_eq!(store.version(&stream).await.unwrap().position().unwrap().get(), 0);
        }
    }

    /// An id that is no cardinal id.
    async fn a_command_for_an_id_with_a_plus_is_refused_or_for_that_entity(store) {
        let executed = CommandHandler::<Purse>::new(&store).execute("7+x", message(&Command::Fill { amount: 10 })).await;
        if executed.is_ok() {
            let other = CommandHandler::<Purse>::new(&store).entities().fetch("7").await.unwrap();
            assert_eq!(other.state.0, 0, "another entity than the caller named was filled");
        }
    }

    /// "Both ways can run at the same time": a first hop has reserved the intent, and a second hop has carried out the copy.
    async fn another_command_with_an_intent_of_two_hops_gets_the_events_of_the_first(store) {
        use message_store::intents::{Intent, reserve};
        use message_store_tests::accounts::{Command, member, send};
        let once = |time: &str| Command::DepositOnce { deposit_id: "d".into(), amount: 7, time: time.into() };
        let first = send(&store, "account:command", "1", &once("noon")).await;
        let intent = Intent::new("accountTransaction", ["deposit", "d"]).ignoring(["time"]);
        let _ = reserve(&store, &intent, "1", &first).await.unwrap();
        let copy = messages_of(&store, "accountTransaction").await.remove(0);
        assert!(matches!(member(&store, None).carry_out(&copy).await.unwrap(), Outcome::Handled { .. }));
        let other = NewMessage::from_variant(&once("later")).unwrap();
        let executed = member(&store, None).execute("1", other).await.unwrap();
        assert!(matches!(executed.outcome, Outcome::Duplicate { .. }), "{:?}", executed.outcome);
        assert_eq!(executed.events.len(), 1, "those of the command with the same intent that came first");
    }
}

mod stock {
    use super::*;
    use message_store::handling::{ProcessHandler, ProcessManager, Reaction};
    use message_store::intents::Intent;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Command {
        Reserve { order: String },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        Reserved { order: String },
    }
    #[derive(Clone, Debug, Default)]
    struct Stock;
    impl Projection for Stock {
        const CATEGORY: &'static str = "stock";
        type Event = Event;
        fn apply(&mut self, _: &Event) {}
    }
    impl Decider for Stock {
        type Command = Command;
        fn decide(&self, Command::Reserve { order }: &Command) -> Vec<Event> {
            vec![Event::Reserved { order: order.clone() }]
        }
        fn intent(Command::Reserve { order }: &Command) -> Option<Intent> {
            Some(Intent::new("stock", [order]))
        }
    }
    #[derive(Clone, Debug, Default)]
    struct Order;
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum OrderEvent {
        Confirmed {},
    }
    impl Projection for Order {
        const CATEGORY: &'static str = "order";
        type Event = OrderEvent;
        fn apply(&mut self, _: &OrderEvent) {}
    }
    impl ProcessManager for Order {
        type Message = Event;
        fn process_id(_: &Message, Event::Reserved { order }: &Event) -> Option<String> {
            Some(order.clone())
        }
        fn react(&self, _: &Event) -> Reaction<OrderEvent> {
            Reaction::event(OrderEvent::Confirmed {})
        }
    }

    message_store_tests::on_both_stores! {
        /// The guide's own example has an event of this name.
        async fn a_reservation_is_not_taken_for_an_event_named_reserved(store) {
            let reserve = NewMessage::from_variant(&Command::Reserve { order: "7".into() }).unwrap();
            let _ = CommandHandler::<Stock>::new(&store).execute("1", reserve).await.unwrap();
            let orders = ProcessHandler::<Order>::new(&store);
            for message in messages_of(&store, "stock").await {
                let _ = orders.react(&message).await.unwrap();
            }
            assert_eq!(messages_of(&store, "order").await.len(), 1, "one reservation, one reaction");
        }
    }
}
