//! Timers: ids that others have, times at the ends, and messages that are archived or erased after they fired.

use std::time::Duration;

use message_store::entity::Projection;
use message_store::handling::{ProcessHandler, ProcessManager, Reaction};
use message_store::operations::Erasing;
use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::{Store, archive};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Received {
    Place {},
    PaymentDue {},
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Placed {},
    Reminded {},
}
#[derive(Serialize)]
enum ToStock {
    Reserve { item: u32 },
}
#[derive(Clone, Debug, Default)]
struct Order {
    placed: u32,
    reminded: u32,
}
impl Projection for Order {
    const CATEGORY: &'static str = "order";
    type Event = Event;
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Placed {} => self.placed += 1,
            Event::Reminded {} => self.reminded += 1,
        }
    }
}
impl ProcessManager for Order {
    type Message = Received;
    fn process_id(message: &Message, _: &Received) -> Option<String> {
        message.stream.cardinal_id().map(str::to_owned)
    }
    fn react(&self, received: &Received) -> Reaction<Event> {
        match received {
            Received::Place {} => Reaction::event(Event::Placed {})
                .send("stock:command", "7", &ToStock::Reserve { item: 7 })
                .timer("payment", Due::After(Duration::ZERO), "order:command", "1", &Received::PaymentDue {}),
            Received::PaymentDue {} => Reaction::event(Event::Reminded {}),
        }
    }
}

async fn place(store: &Store) -> Message {
    put(store, "order:command-1", "Place", "{}", "{}").await
}

async fn waiting(store: &Store) -> usize {
    store.timers().unwrap().list(TimerQuery::new()).await.unwrap().len()
}

on_both_stores! {
    async fn a_timer_whose_id_another_message_has_is_set_or_refused_but_not_lost(store) {
        let place = place(&store).await;
        let own = StreamName::new("order-1").unwrap();
        let to = StreamName::new("order:command-1").unwrap();
        let write = derived_id(place.id, "order", "", &own, 0);
        let id = derived_id(write, "order", "payment", &to, 0);
        // Another program has written a message with this id, elsewhere.
        let other = NewMessage::new("Other", Json::NULL).with_id(id);
        store.append(Append::to(StreamName::new("foreign-1").unwrap()).message(other).into()).await.unwrap();
        let reacted = ProcessHandler::<Order>::new(&store).react(&place).await;
        let set = waiting(&store).await;
        assert!(reacted.is_err() || set == 1, "{reacted:?}, and {set} timers wait: the process never hears of its time-out");
    }

    async fn a_timer_at_the_last_time_of_all_can_be_listed(store) {
        let key = |name: &str| TimerKey::new(StreamName::new("order-1").unwrap(), name);
        let to = StreamName::new("order:command-1").unwrap();
        let message = || NewMessage::new("T", Json::NULL);
        let timers = store.timers().unwrap();
        let set = TimerChange::set(key("never"), Due::At(Timestamp::MAX), to.clone(), message());
        timers.change(vec![set]).await.expect("it is set");
        let listed = timers.list(TimerQuery::new()).await;
        assert_eq!(listed.expect("all timers are listed").len(), 1);
    }

    async fn a_timer_that_is_moved_to_the_last_time_of_all_does_not_break_an_erasure(store) {
        let key = TimerKey::new(StreamName::new("order-1").unwrap(), "never");
        let to = StreamName::new("order:command-1").unwrap();
        let timers = store.timers().unwrap();
        let set = TimerChange::set(key.clone(), Due::After(Duration::from_mins(1)), to, NewMessage::new("T", Json::NULL));
        timers.change(vec![set]).await.unwrap();
        timers.change(vec![TimerChange::Move { key, due: Due::At(Timestamp::MAX) }]).await.expect("it is moved");
        Erasing::entity(&store, "customer-9").unwrap().run(|_| {}).await.expect("another entity can be erased");
    }

    async fn a_timer_at_a_time_that_has_long_passed_is_due_at_once(store) {
        let key = TimerKey::new(StreamName::new("order-1").unwrap(), "now");
        let to = StreamName::new("order:command-1").unwrap();
        let set = TimerChange::set(key, Due::At(Timestamp::MIN), to, NewMessage::new("T", Json::NULL));
        store.timers().unwrap().change(vec![set]).await.expect("a time that has passed is due at once");
        assert_eq!(fire_timers(&*store).await, 1);
    }

    async fn a_timer_before_the_common_era_is_due_at_once(store) {
        let key = TimerKey::new(StreamName::new("order-1").unwrap(), "now");
        let to = StreamName::new("order:command-1").unwrap();
        let set = TimerChange::set(key, Due::At(Timestamp::UNIX_EPOCH), to, NewMessage::new("T", Json::NULL));
        store.timers().unwrap().change(vec![set]).await.expect("a time that has passed is due at once");
        assert_eq!(fire_timers(&*store).await, 1);
    }

    async fn a_reaction_that_comes_again_after_all_was_fired_and_archived_does_nothing(store) {
        let place = place(&store).await;
        let handler = || ProcessHandler::<Order>::new(&store);
        assert!(matches!(handler().react(&place).await.unwrap(), Outcome::Handled { .. }));
        assert_eq!(fire_timers(&*store).await, 1);
        let due = messages_of(&store, "order:command").await.pop().unwrap();
        assert!(matches!(handler().react(&due).await.unwrap(), Outcome::Handled { .. }));
        // Later messages, so that the earlier ones may move.
        for (stream, message_type) in [("order:command-1", "Later"), ("stock:command-7", "Later")] {
            put(&store, stream, message_type, "{}", "{}").await;
        }
        for category in ["order", "order:command", "stock:command"] {
            archive(&store, category).await;
        }
        for message in [&place, &due, &place] {
            let again = handler().react(message).await.unwrap();
            assert!(matches!(again, Outcome::AlreadyProcessed { .. }), "{again:?}");
        }
        assert_eq!((waiting(&store).await, fire_timers(&*store).await), (0, 0));
        assert_eq!(messages_of(&store, "order").await.len(), 2);
        assert_eq!(messages_of(&store, "stock:command").await.len(), 2);
        // And after all was erased.
        for entity in ["order-1", "order:command-1", "stock:command-7"] {
            Erasing::entity(&store, entity).unwrap().run(|_| {}).await.unwrap();
        }
        for message in [&place, &due] {
            let again = handler().react(message).await.unwrap();
            assert!(matches!(again, Outcome::AlreadyProcessed { .. }), "{again:?}");
        }
        assert_eq!(waiting(&store).await, 0);
        assert_eq!(messages_of(&store, "order").await.len(), 2);
    }

    async fn two_timers_of_one_name_in_one_reaction_leave_the_second(store) {
        let key = TimerKey::new(StreamName::new("order-1").unwrap(), "a");
        let to = StreamName::new("order:command-1").unwrap();
        let set = |name: &str| TimerChange::set(key.clone(), Due::After(Duration::ZERO), to.clone(), NewMessage::new(name, Json::NULL));
        let event = Append::to(StreamName::new("order-1").unwrap()).message(NewMessage::new("E", Json::NULL));
        let request = AppendRequest::from(event).timer(set("First")).timer(TimerChange::Cancel { key: key.clone() }).timer(set("Second"));
        store.append(request.clone()).await.unwrap();
        assert!(store.append(request).await.unwrap().already_written);
        assert_eq!(fire_timers(&*store).await, 1);
        assert_eq!(messages_of(&store, "order:command").await[0].message_type, "Second");
    }
}

/// "a timer whose message cannot be written must not keep others from firing"
async fn beside_an_open_transaction(seconds: u64, targets: &[&str]) -> (usize, Vec<String>) {
    use message_store::postgres::PostgresStore;
    use message_store::service::Service;
    use message_store_tests::message_db;
    use message_store_tests::postgres::TestDatabase;
    let database = TestDatabase::create().await;
    let postgres = PostgresStore::open(database.url()).await.unwrap();
    let store: Store = connect(database.url()).await.unwrap();
    let mut client = message_db::connect(database.url(), None).await;
    let transaction = client.transaction().await.unwrap();
    let held = Append::to(StreamName::new("held-1").unwrap()).message(NewMessage::new("T", Json::NULL));
    postgres.append_within(&transaction, held).await.unwrap();
    for to in targets.iter().copied() {
        let key = TimerKey::new(StreamName::new("order-1").unwrap(), to);
        let to = StreamName::new(to).unwrap();
        let set = TimerChange::set(key, Due::After(Duration::ZERO), to, NewMessage::new("Due", Json::NULL));
        store.timers().unwrap().change(vec![set]).await.unwrap();
    }
    let service = Service::new(&store).start().await.unwrap();
    let begun = std::time::Instant::now();
    let mut fired = 0;
    while begun.elapsed() < Duration::from_secs(seconds) && fired < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fired = messages_of(&store, "free").await.len();
    }
    let problems = format!("{:?}", service.health());
    transaction.commit().await.unwrap();
    service.stop();
    let _ = service.ended().await;
    (fired, vec![problems])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn timers_for_other_categories_fire_while_a_transaction_of_the_author_holds_one() {
    let (fired, problems) = beside_an_open_transaction(90, &["held-1", "free-1", "free-2"]).await;
    assert_eq!(fired, 2, "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_timers_for_other_categories_alone_fire_while_a_transaction_of_the_author_holds_one() {
    let (fired, problems) = beside_an_open_transaction(90, &["free-1", "free-2"]).await;
    assert_eq!(fired, 2, "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "long"]
async fn long_timers_for_other_categories_fire_in_the_end_while_a_transaction_of_the_author_holds_one() {
    let (fired, problems) = beside_an_open_transaction(420, &["held-1", "free-1", "free-2"]).await;
    assert_eq!(fired, 2, "{problems:?}");
}
