//! After a move to another store: archives, tags, timers, erased messages.

use std::time::Duration;

use message_store::entity::Projection;
use message_store::handling::{ProcessHandler, ProcessManager, Reaction};
use message_store::operations::{Erasing, Transfer};
use message_store::store::{Due, QueryItem, TimerQuery};
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::{member, messages_of, put, send_deposits};
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
#[derive(Clone, Debug, Default)]
struct Order;
impl Projection for Order {
    const CATEGORY: &'static str = "order";
    type Event = Event;
    fn apply(&mut self, _: &Event) {}
}
impl ProcessManager for Order {
    type Message = Received;
    fn process_id(message: &Message, _: &Received) -> Option<String> {
        message.stream.cardinal_id().map(str::to_owned)
    }
    fn react(&self, received: &Received) -> Reaction<Event> {
        match received {
            Received::Place {} => Reaction::event(Event::Placed {}).timer(
                "payment",
                Due::After(Duration::ZERO),
                "order:command",
                "1",
                &Received::PaymentDue {},
            ),
            Received::PaymentDue {} => Reaction::event(Event::Reminded {}),
        }
    }
}

async fn copy(from: &Store, to: &Store, categories: &[&str]) -> u64 {
    let mut written = 0;
    for category in categories {
        let copied = Transfer::new(from, to).copy(&Category::new(*category).unwrap(), |_| {}).await.unwrap();
        assert_eq!(copied.messages, copied.verified);
        written += copied.written;
    }
    written
}

on_both_stores! {
    async fn copies_that_were_archived_and_erased_in_the_new_store_are_known(store) {
        let old = connect("sqlite::memory:").await.unwrap();
        let commands = send_deposits(&old, "account:command", "1", 6).await;
        for command in &commands[..4] {
            let _ = member(&old, None).carry_out(command).await.unwrap();
        }
        let categories = ["account", "account:command"];
        assert_eq!(copy(&old, &store, &categories).await, 10);
        for category in categories {
            archive(&store, category).await;
        }
        archive(&old, "account:command").await;
        assert_eq!(copy(&old, &store, &categories).await, 0);
        Erasing::entity(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        Erasing::entity(&old, "account:command-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(copy(&old, &store, &categories).await, 0);
        for (number, command) in messages_of(&store, "account:command").await.iter().enumerate() {
            let outcome = member(&store, None).carry_out(command).await.unwrap();
            assert_eq!(matches!(outcome, Outcome::AlreadyProcessed { .. }), number < 4, "{number}: {outcome:?}");
        }
        assert_eq!(messages_of(&store, "account").await.len(), 6);
    }

    async fn a_copied_tag_makes_a_condition_fail(store) {
        let old = connect("sqlite::memory:").await.unwrap();
        let tag = Tag::new("email:ann").unwrap();
        let registered = NewMessage::new("Registered", Json::NULL).with_metadata(&Metadata::new().tag(tag.clone())).unwrap();
        old.append(Append::to(StreamName::new("user-1").unwrap()).message(registered).into()).await.unwrap();
        put(&old, "user-1", "Later", "{}", "{}").await;
        archive(&old, "user").await;
        copy(&old, &store, &["user"]).await;
        let append = Append::to(StreamName::new("user-2").unwrap()).message(NewMessage::new("X", Json::NULL));
        let request = AppendRequest::from(append).unless(QueryItem::of(Category::new("user").unwrap()).tag(tag));
        assert!(matches!(store.append(request).await, Err(Error::ConditionFailed { .. })));
    }

    async fn a_timer_that_fires_in_both_stores_has_one_reaction_in_the_new_one(store) {
        let old = connect("sqlite::memory:").await.unwrap();
        let place = put(&old, "order:command-1", "Place", "{}", "{}").await;
        let _ = ProcessHandler::<Order>::new(&old).react(&place).await.unwrap();
        copy(&old, &store, &["order", "order:command"]).await;
        assert_eq!(fire_timers(&*store).await, 1);
        // A service still runs on the old store.
        assert_eq!(fire_timers(&*old).await, 1);
        let due = messages_of(&old, "order:command").await.pop().unwrap();
        let _ = ProcessHandler::<Order>::new(&old).react(&due).await.unwrap();
        copy(&old, &store, &["order", "order:command"]).await;
        copy(&old, &store, &["order", "order:command"]).await;
        assert!(store.timers().unwrap().list(TimerQuery::new()).await.unwrap().is_empty());
        for message in messages_of(&store, "order:command").await {
            let outcome = ProcessHandler::<Order>::new(&store).react(&message).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
        }
        assert_eq!(messages_of(&store, "order:command").await.len(), 2);
        assert_eq!(messages_of(&store, "order").await.len(), 2);
    }
}
