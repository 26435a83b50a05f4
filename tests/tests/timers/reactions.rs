//! Timers of process managers and handlers: they are set exactly if the reaction is written.

use std::sync::Arc;
use std::time::Duration;

use message_store::entity::Projection;
use message_store::handling::{Context, ProcessHandler, ProcessManager, Reaction};
use message_store::operations::Transfer;
use message_store::store::{Due, Timer, TimerChange, TimerKey, TimerQuery};
use message_store::testing::{FaultyStore, PlantedBug, fire_timers};
use message_store::{
    Append, AppendRequest, Category, Json, Message, MessageStore, NewMessage, Outcome, StreamName, connect,
};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

const COMMANDS: &str = "order:command";
const HOUR: Duration = Duration::from_hours(1);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Received {
    Place {},
    Remind {},
    Pay {},
    Wait {},
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Placed {},
    Reminded {},
    Paid {},
    Waited {},
}

/// An order that reminds of its payment after an hour, again and again.
#[derive(Clone, Default)]
struct Order {
    is_paid: bool,
    reminders: u32,
}

impl Projection for Order {
    const CATEGORY: &'static str = "order";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Paid {} => self.is_paid = true,
            Event::Reminded {} => self.reminders += 1,
            Event::Placed {} | Event::Waited {} => {}
        }
    }
}

impl ProcessManager for Order {
    type Message = Received;

    fn process_id(message: &Message, _: &Received) -> Option<String> {
        message.stream.cardinal_id().map(str::to_owned)
    }

    fn react(&self, received: &Received) -> Reaction<Event> {
        let remind = |reaction: Reaction<Event>| {
            reaction.timer("reminder", Due::After(HOUR), COMMANDS, "1", &Received::Remind {})
        };
        match received {
            Received::Place {} => remind(Reaction::event(Event::Placed {})),
            Received::Remind {} if !self.is_paid => remind(Reaction::event(Event::Reminded {})),
            Received::Remind {} => Reaction::none(),
            Received::Pay {} => Reaction::event(Event::Paid {}).cancel_timer("reminder"),
            Received::Wait {} => Reaction::event(Event::Waited {}).move_timer("reminder", Due::After(3 * HOUR)),
        }
    }
}

async fn send(store: &Store, message_type: &str) -> Message {
    put(store, "order:command-1", message_type, "{}", r#"{"correlationStreamName":"case-7"}"#).await
}

async fn waiting(store: &Store) -> Vec<Timer> {
    store.timers().unwrap().list(TimerQuery::new()).await.unwrap()
}

/// The types of the messages of the process, and of those that it received.
async fn types(store: &Store, category: &str) -> Vec<String> {
    messages_of(store, category).await.into_iter().map(|message| message.message_type).collect()
}

/// Places an order, and delivers the command again after its reminder has fired. Returns the number of reminders.
async fn reminders_after_a_repeat(store: &Store, bug: Option<PlantedBug>) -> usize {
    let clock = FaultyStore::new(store);
    let shared: Store = clock.clone();
    let orders = || match bug {
        Some(bug) => ProcessHandler::<Order>::new(&shared).plant(bug),
        None => ProcessHandler::<Order>::new(&shared),
    };
    let place = send(store, "Place").await;
    let _ = orders().react(&place).await.unwrap();
    clock.pass(HOUR);
    assert_eq!(fire_timers(&*clock).await, 1);
    let _ = orders().react(&place).await.unwrap();
    clock.pass(HOUR);
    fire_timers(&*clock).await;
    types(store, COMMANDS).await.iter().filter(|message_type| *message_type == "Remind").count()
}

on_both_stores! {
    async fn a_timer_is_set_with_the_reaction_and_its_message_follows_from_the_cause(store) {
        let clock = FaultyStore::new(&store);
        let shared: Store = clock.clone();
        let orders = ProcessHandler::<Order>::new(&shared);
        let place = send(&store, "Place").await;
        assert_eq!(orders.react(&place).await.unwrap(), Outcome::Handled { events: 1, late: false });
        assert_eq!(fire_timers(&*clock).await, 0);
        clock.pass(HOUR);
        assert_eq!(fire_timers(&*clock).await, 1);
        let remind = messages_of(&store, COMMANDS).await.pop().unwrap();
        let metadata = remind.decode_metadata();
        assert_eq!((remind.message_type.as_str(), remind.stream.as_str()), ("Remind", "order:command-1"));
        assert!(metadata.follows(&place, store.store_id()));
        assert_eq!(metadata.correlation_stream_name.as_deref(), Some("case-7"));
        // The process receives its own timer, and sets the next.
        assert_eq!(orders.react(&remind).await.unwrap(), Outcome::Handled { events: 1, late: false });
        assert_eq!(types(&store, "order").await, ["Placed", "Reminded"]);
        assert_eq!(waiting(&store).await.len(), 1);
    }

    async fn a_message_that_is_delivered_again_sets_no_second_timer(store) {
        assert_eq!(reminders_after_a_repeat(&store, None).await, 1);
    }

    async fn twin_without_sequences_it_sets_a_second_timer(store) {
        assert_eq!(reminders_after_a_repeat(&store, Some(PlantedBug::NoSequences)).await, 2);
    }

    async fn a_timer_is_moved_and_cancelled_by_later_reactions(store) {
        let clock = FaultyStore::new(&store);
        let shared: Store = clock.clone();
        let orders = ProcessHandler::<Order>::new(&shared);
        for message_type in ["Place", "Wait"] {
            let _ = orders.react(&send(&store, message_type).await).await.unwrap();
        }
        clock.pass(2 * HOUR);
        assert_eq!(fire_timers(&*clock).await, 0);
        let _ = orders.react(&send(&store, "Pay").await).await.unwrap();
        clock.pass(9 * HOUR);
        assert_eq!(fire_timers(&*clock).await, 0);
        assert!(waiting(&store).await.is_empty());
    }

    async fn a_reaction_whose_answer_is_lost_or_that_meets_another_writer_sets_its_timer_once(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let orders = ProcessHandler::<Order>::new(&shared);
        let rival = NewMessage::from_variant(&Event::Waited {}).unwrap();
        faulty.append_before([Append::to(StreamName::new("order-1").unwrap()).message(rival)]);
        faulty.lose_answers(1);
        let place = send(&store, "Place").await;
        assert_eq!(orders.react(&place).await.unwrap(), Outcome::Handled { events: 1, late: false });
        assert_eq!(types(&store, "order").await, ["Waited", "Placed"]);
        assert_eq!(waiting(&store).await.len(), 1);
    }

    async fn a_reaction_that_is_refused_sets_no_timer(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.refuse_appends(1);
        let place = send(&store, "Place").await;
        assert!(ProcessHandler::<Order>::new(&shared).react(&place).await.is_err());
        assert!(waiting(&store).await.is_empty() && types(&store, "order").await.is_empty());
    }

    async fn a_handler_sets_a_timer_with_its_write_once(store) {
        let cause = send(&store, "Place").await;
        let key = TimerKey::new(StreamName::new("mail-1").unwrap(), "again");
        let to = StreamName::new("mail:command-1").unwrap();
        let request = || {
            let sent = Append::to(StreamName::new("mail-1").unwrap()).message(NewMessage::new("Sent", Json::NULL));
            let again = NewMessage::new("SendAgain", Json::NULL);
            AppendRequest::from(sent).timer(TimerChange::set(key.clone(), Due::After(Duration::ZERO), to.clone(), again))
        };
        let write = async || Context::new(&store, "Mail", &cause).write("mail", request()).await.unwrap();
        assert_eq!(write().await, Outcome::Handled { events: 1, late: false });
        let listed = waiting(&store).await;
        assert!(matches!(write().await, Outcome::AlreadyProcessed { .. }));
        assert_eq!(waiting(&store).await.len(), 1);
        assert_eq!(fire_timers(&*store).await, 1);
        assert!(matches!(write().await, Outcome::AlreadyProcessed { .. }));
        assert!(waiting(&store).await.is_empty());
        let sent = messages_of(&store, "mail:command").await;
        assert_eq!((sent.len(), sent[0].id), (1, listed[0].id()));
        assert!(sent[0].decode_metadata().follows(&cause, store.store_id()));
    }

    async fn timers_move_with_their_category_to_another_store(store) {
        let target = connect("sqlite::memory:").await.unwrap();
        let orders = ProcessHandler::<Order>::new(&store);
        let _ = orders.react(&send(&store, "Place").await).await.unwrap();
        let mut transfer = Transfer::new(&store, &target);
        for category in ["order", COMMANDS] {
            transfer.copy(&Category::new(category).unwrap(), |_| {}).await.unwrap();
        }
        let (before, after) = (waiting(&store).await, waiting(&target).await);
        assert_eq!((after.len(), after[0].id(), after[0].due), (1, before[0].id(), before[0].due));
        // It fires in both, and is one message after another run.
        for side in [&store, &target] {
            let key = before[0].key.clone();
            side.timers().unwrap().change(vec![TimerChange::Move { key, due: Due::After(Duration::ZERO) }]).await.unwrap();
            assert_eq!(fire_timers(&**side).await, 1);
        }
        for category in ["order", COMMANDS] {
            transfer.copy(&Category::new(category).unwrap(), |_| {}).await.unwrap();
        }
        assert!(waiting(&target).await.is_empty());
        assert_eq!(types(&target, COMMANDS).await.iter().filter(|it| *it == "Remind").count(), 1);
    }
}
