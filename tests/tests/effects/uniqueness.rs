//! A rule that concerns other entities: of all users, one has an address. Commands that are repeated, late, or in conflict
//! have one effect.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use futures_util::future::join_all;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::store::{Query, QueryItem};
use message_store::testing::{FaultyStore, PlantedBug, given};
use message_store::{Append, Category, Message, MessageStore, Metadata, NewMessage, Outcome, StreamName, Tag};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Register { email: String },
    Release,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Registered { email: String },
    Released { email: String },
    Rejected { email: String, taken_by: String },
}

#[derive(Clone, Default)]
struct User {
    email: Option<String>,
}

fn tag(email: &str) -> Tag {
    Tag::new(format!("email:{email}")).unwrap()
}

impl Projection for User {
    const CATEGORY: &'static str = "user";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Registered { email } => self.email = Some(email.clone()),
            Event::Released { .. } => self.email = None,
            Event::Rejected { .. } => {}
        }
    }
}

impl Decider for User {
    type Command = Command;

    fn decide(&self, command: &Command) -> Vec<Event> {
        match (command, &self.email) {
            (Command::Register { email }, None) => vec![Event::Registered { email: email.clone() }],
            (Command::Release, Some(email)) => vec![Event::Released { email: email.clone() }],
            (Command::Register { .. }, Some(_)) | (Command::Release, None) => Vec::new(),
        }
    }

    fn unless(&self, command: &Command) -> Option<Query> {
        let (Command::Register { email }, None) = (command, &self.email) else { return None };
        let users = QueryItem::of(Category::new("user").unwrap());
        Some(users.types(["Registered", "Released"]).tag(tag(email)).into())
    }

    fn decide_matched(&self, command: &Command, found: &[Message]) -> Vec<Event> {
        let Command::Register { email } = command else { return Vec::new() };
        match found.last() {
            Some(last) if last.message_type == "Registered" => {
                let taken_by = last.stream.cardinal_id().unwrap_or_default().to_owned();
                vec![Event::Rejected { email: email.clone(), taken_by }]
            }
            _ => vec![Event::Registered { email: email.clone() }],
        }
    }

    fn tags(event: &Event) -> Vec<Tag> {
        match event {
            Event::Registered { email } | Event::Released { email } => vec![tag(email)],
            Event::Rejected { .. } => Vec::new(),
        }
    }

    fn is_refusal(event: &Event) -> bool {
        matches!(event, Event::Rejected { .. })
    }
}

fn register(email: &str) -> NewMessage {
    NewMessage::from_variant(&Command::Register { email: email.to_owned() }).unwrap()
}

fn users(store: &Store, bug: Option<PlantedBug>) -> CommandHandler<User> {
    let users = CommandHandler::new(store);
    match bug {
        Some(bug) => users.plant(bug),
        None => users,
    }
}

async fn send(store: &Store, user: &str, command: NewMessage) -> Message {
    let stream = StreamName::new(format!("user:command-{user}")).unwrap();
    store.append(Append::to(stream.clone()).message(command).into()).await.unwrap();
    store.last_message(&stream, None).await.unwrap().unwrap()
}

/// The types of all events of users.
async fn events(store: &Store) -> Vec<String> {
    messages_of(store, "user").await.into_iter().map(|message| message.message_type).collect()
}

fn count(events: &[String], message_type: &str) -> usize {
    events.iter().filter(|found| *found == message_type).count()
}

/// Users register one address at once, each in a process of its own. Returns the number of those that have it.
async fn at_once(store: &Store, email: &str, count_of_users: usize, bug: Option<PlantedBug>) -> usize {
    let before = count(&events(store).await, "Registered");
    let mut commands = Vec::new();
    for number in 0..count_of_users {
        commands.push(send(store, &format!("racer{number}.{email}"), register(email)).await);
    }
    let handled = commands.iter().map(|command| {
        let users = users(store, bug);
        async move { users.carry_out(command).await.unwrap() }
    });
    let _ = join_all(handled).await;
    let events = events(store).await;
    assert!(events.len() >= count_of_users);
    count(&events, "Registered") - before
}

/// An event that another program writes.
fn registered(user: &str, email: &str) -> Append {
    let event = NewMessage::from_variant(&Event::Registered { email: email.to_owned() }).unwrap();
    let event = event.with_metadata(&Metadata::new().tag(tag(email))).unwrap();
    Append::to(StreamName::new(format!("user-{user}")).unwrap()).message(event)
}

on_both_stores! {
    async fn an_address_that_another_user_has_is_refused_and_the_refusal_names_the_user(store) {
        let users = users(&store, None);
        let _ = users.execute("1", register("ann")).await.unwrap();
        let refused = users.execute("2", register("ann")).await.unwrap();
        assert_eq!(refused.events, [Event::Rejected { email: "ann".into(), taken_by: "1".into() }]);
        assert!(refused.is_refused);
        assert!(!users.execute("3", register("bob")).await.unwrap().is_refused);
    }

    async fn an_address_that_was_released_can_be_registered_again(store) {
        let users = users(&store, None);
        let _ = users.execute("1", register("ann")).await.unwrap();
        let _ = users.execute("1", NewMessage::from_variant(&Command::Release).unwrap()).await.unwrap();
        let again = users.execute("2", register("ann")).await.unwrap();
        assert_eq!(again.events, [Event::Registered { email: "ann".into() }]);
    }

    async fn of_32_users_that_register_one_address_at_once_one_has_it(store) {
        assert_eq!(at_once(&store, "ann", 32, None).await, 1);
    }

    async fn twin_without_the_condition_several_users_have_the_address(store) {
        assert!(at_once(&store, "ann", 32, Some(PlantedBug::NoCondition)).await > 1);
    }

    async fn of_16_users_that_register_a_released_address_at_once_one_has_it(store) {
        let users = users(&store, None);
        let _ = users.execute("1", register("ann")).await.unwrap();
        let _ = users.execute("1", NewMessage::from_variant(&Command::Release).unwrap()).await.unwrap();
        assert_eq!(at_once(&store, "ann", 16, None).await, 1);
    }

    async fn twin_if_decisions_on_matches_have_no_condition_several_users_have_a_released_address(store) {
        let users = users(&store, None);
        for round in 0.. {
            let (user, email) = (format!("owner{round}"), format!("ann{round}"));
            let _ = users.execute(&user, register(&email)).await.unwrap();
            let _ = users.execute(&user, NewMessage::from_variant(&Command::Release).unwrap()).await.unwrap();
            if at_once(&store, &email, 16, Some(PlantedBug::MatchesNotHeld)).await > 1 {
                break;
            }
        }
    }

    async fn a_command_that_is_delivered_again_is_not_refused_by_its_own_event(store) {
        let command = send(&store, "1", register("ann")).await;
        let (first, other) = (users(&store, None), users(&store, None));
        // The other process remembers the entity without its event.
        other.entities().fetch("1").await.unwrap();
        assert!(matches!(first.carry_out(&command).await.unwrap(), Outcome::Handled { events: 1, .. }));
        for again in [&first, &other, &users(&store, None)] {
            assert!(matches!(again.carry_out(&command).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        }
        let refused = send(&store, "2", register("ann")).await;
        assert!(matches!(other.carry_out(&refused).await.unwrap(), Outcome::Handled { events: 1, .. }));
        assert!(matches!(first.carry_out(&refused).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        assert_eq!(events(&store).await, ["Registered", "Rejected"]);
    }

    async fn a_command_whose_answer_was_lost_is_not_refused_by_its_own_event(store) {
        let command = send(&store, "1", register("ann")).await;
        let faulty = FaultyStore::new(&store);
        faulty.lose_answers(1);
        let outcome = users(&(Arc::clone(&faulty) as Store), None).carry_out(&command).await.unwrap();
        assert_eq!(faulty.answers_to_lose(), 0);
        assert!(matches!(outcome, Outcome::Handled { events: 1, .. }), "{outcome}");
        assert_eq!(events(&store).await, ["Registered"]);
    }

    async fn a_late_command_is_held_to_its_condition(store) {
        let late = send(&store, "2", register("ann")).await;
        let later = send(&store, "2", register("bob")).await;
        let release = send(&store, "2", NewMessage::from_variant(&Command::Release).unwrap()).await;
        let users = users(&store, None);
        let _ = users.execute("1", register("ann")).await.unwrap();
        for command in [&later, &release] {
            assert!(matches!(users.carry_out(command).await.unwrap(), Outcome::Handled { late: false, .. }));
        }
        for _ in 0..2 {
            let _ = users.carry_out(&late).await.unwrap();
        }
        assert_eq!(events(&store).await, ["Registered", "Registered", "Released", "Rejected"]);
    }

    async fn a_user_that_is_quicker_at_the_last_moment_has_the_address(store) {
        let command = send(&store, "1", register("ann")).await;
        let faulty = FaultyStore::new(&store);
        faulty.append_before([registered("2", "ann")]);
        let _ = users(&(faulty as Store), None).carry_out(&command).await.unwrap();
        assert_eq!(events(&store).await, ["Registered", "Rejected"]);
    }

    /// Each time, the decision is made again on the message that was written meanwhile.
    async fn a_command_whose_condition_fails_many_times_is_carried_out_in_the_end(store) {
        let command = send(&store, "1", register("ann")).await;
        let faulty = FaultyStore::new(&store);
        faulty.append_before((0..25).map(|number| registered(&format!("rival{number}"), "ann")));
        let outcome = users(&(faulty as Store), None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { events: 1, .. }), "{outcome}");
        let last = store.last_message(&StreamName::new("user-1").unwrap(), None).await.unwrap().unwrap();
        let Some(Event::Rejected { taken_by, .. }) = last.decode_variant().unwrap() else { panic!("{last:?}") };
        assert_eq!(taken_by, "rival24");
    }

    /// Another process has carried out another command of the user meanwhile. Its event matches.
    async fn the_event_of_another_command_of_the_user_is_found_as_the_users_own(store) {
        let (first, second) = (send(&store, "1", register("ann")).await, send(&store, "1", register("ann")).await);
        let (users, other) = (users(&store, None), users(&store, None));
        other.entities().fetch("1").await.unwrap();
        let _ = users.carry_out(&first).await.unwrap();
        assert_eq!(other.carry_out(&second).await.unwrap(), Outcome::Ignored);
        assert_eq!(events(&store).await, ["Registered"]);
    }
}

#[test]
fn the_kit_gives_the_events_of_other_entities() {
    let (ann, taken) = (|| "ann".to_owned(), |by: &str| Event::Rejected { email: "ann".into(), taken_by: by.into() });
    given::<User>([]).when(Command::Register { email: ann() }).then([Event::Registered { email: ann() }]);
    given::<User>([])
        .and_of("2", [Event::Registered { email: ann() }])
        .when(Command::Register { email: ann() })
        .then([taken("2")]);
    given::<User>([])
        .and_of("2", [Event::Registered { email: ann() }, Event::Released { email: ann() }])
        .and_of("3", [Event::Registered { email: "bob".into() }])
        .when(Command::Register { email: ann() })
        .then([Event::Registered { email: ann() }]);
}
