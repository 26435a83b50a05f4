//! Erasures: killed half way, beside snapshots, timers, reservations.

use std::time::Duration;

use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::operations::Erasing;
use message_store::store::{Due, TimerChange, TimerChanged, TimerKey, TimerQuery};
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::{self, member, messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::Store;
use super::hooked::Hooked;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum PersonEvent {
    Named { name: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
}

impl Projection for Person {
    const CATEGORY: &'static str = "person";
    type Event = PersonEvent;
    fn apply(&mut self, PersonEvent::Named { name }: &PersonEvent) {
        self.name.clone_from(name);
    }
}

fn tagged(name: &str, tag: &str) -> NewMessage {
    let message = NewMessage::from_variant(&PersonEvent::Named { name: name.into() }).unwrap();
    message.with_metadata(&Metadata::new().tag(Tag::new(tag).unwrap())).unwrap()
}

fn cold(store: &Store) -> EntityStore<Person> {
    EntityStore::new(store).snapshots(SnapshotPolicy::every(1))
}

async fn name_of(store: &Store, id: &str) -> String {
    cold(store).fetch(id).await.unwrap().state.name.clone()
}

async fn two_people(store: &Store, second: &str) {
    for id in ["1", second] {
        let stream = StreamName::new(format!("person-{id}")).unwrap();
        store.append(Append::to(stream).message(tagged("Ann", "person:ann")).into()).await.unwrap();
        let entities = cold(store);
        assert_eq!(entities.fetch(id).await.unwrap().state.name, "Ann");
        entities.snapshots_written().await;
        let again = cold(store);
        again.fetch(id).await.unwrap();
        assert_eq!(again.snapshot_counts().used, 1, "there is a snapshot of {id}");
    }
}

/// A process that erases is killed after its first part, and another run ends what it has begun.
async fn killed_and_run_again(erasing: &Erasing) {
    let first = erasing.clone().part(1);
    let killed = tokio::spawn(async move { first.run(|_| panic!("killed")).await.map(drop) }).await;
    assert!(killed.is_err());
    let ended = erasing.clone().part(1).run(|_| {}).await.unwrap();
    assert!(ended.ended_at.is_some());
}

on_both_stores! {
    async fn control_a_whole_erasure_of_a_tag_removes_the_snapshots(store) {
        two_people(&store, "2").await;
        Erasing::tag(&store, "person:ann").unwrap().part(1).run(|_| {}).await.unwrap();
        assert_eq!(name_of(&store, "1").await, "");
        assert_eq!(name_of(&store, "2").await, "");
    }

    async fn an_erasure_of_a_tag_that_was_killed_and_run_again_leaves_no_data_in_snapshots(store) {
        two_people(&store, "2").await;
        let erasing = Erasing::tag(&store, "person:ann").unwrap();
        killed_and_run_again(&erasing).await;
        for message in messages_of(&store, "person").await {
            assert!(message.is_erased());
        }
        // An operator runs it once more, to be sure.
        erasing.run(|_| {}).await.unwrap();
        let replayed = EntityStore::<Person>::new(&store).fetch("1").await.unwrap().state.clone();
        assert_eq!(replayed.name, "");
        assert_eq!((name_of(&store, "1").await, name_of(&store, "2").await), (String::new(), String::new()));
    }

    async fn an_erasure_of_an_entity_that_was_killed_and_run_again_leaves_no_data_in_snapshots_of_its_streams(store) {
        // Its own stream is not the first that is erased.
        two_people(&store, "1+nick").await;
        let erasing = Erasing::entity(&store, "person-1").unwrap();
        // Killed after the second part, before the snapshots are removed.
        let first = erasing.clone().part(1);
        let killed = tokio::spawn(async move {
            let mut parts = 0;
            first.run(|_| { parts += 1; assert!(parts < 2, "killed") }).await.map(drop)
        }).await;
        assert!(killed.is_err());
        erasing.clone().part(1).run(|_| {}).await.unwrap();
        assert_eq!((name_of(&store, "1").await, name_of(&store, "1+nick").await), (String::new(), String::new()));
    }

    async fn an_erasure_of_a_tag_in_one_part_that_was_killed_before_its_end_leaves_no_data_in_snapshots(store) {
        two_people(&store, "2").await;
        let erasing = Erasing::tag(&store, "person:ann").unwrap();
        let first = erasing.clone();
        assert!(tokio::spawn(async move { first.run(|_| panic!("killed")).await.map(drop) }).await.is_err());
        let ended = erasing.run(|_| {}).await.unwrap();
        assert_eq!((ended.erased, ended.ended_at.is_some()), (2, true));
        assert_eq!((name_of(&store, "1").await, name_of(&store, "2").await), (String::new(), String::new()));
    }

    /// "Elements that are not strings are no tags": neither is an object.
    async fn a_message_whose_tags_are_no_list_has_no_tag_and_is_not_erased(store) {
        let other = put(&store, "note-1", "Noted", r#""keep me""#, r#"{"messageStore":{"tags":{"x":"person:ann"}}}"#).await;
        assert!(!message_store::store::QueryItem::of(other.category()).tag(Tag::new("person:ann").unwrap()).matches(&other));
        let ended = Erasing::tag(&store, "person:ann").unwrap().run(|_| {}).await.unwrap();
        let after = store.message(other.id).await.unwrap().unwrap();
        assert_eq!((ended.erased, after.data.text()), (0, r#""keep me""#));
    }

    /// The error of an earlier run of another tag stays apart.
    async fn a_late_command_whose_neighbours_were_archived_and_erased_is_carried_out(store) {
        let commands = accounts::send_deposits(&store, "account:command", "1", 5).await;
        for number in [0, 1, 3, 4] {
            let _ = member(&store, None).carry_out(&commands[number]).await.unwrap();
        }
        for category in ["account", "account:command"] {
            super::archive(&store, category).await;
        }
        Erasing::entity(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        let late = messages_of(&store, "account:command").await.remove(2);
        let outcome = member(&store, None).carry_out(&late).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { late: true, .. }), "{outcome:?}");
        let outcome = member(&store, None).carry_out(&late).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
        assert_eq!(messages_of(&store, "account").await.len(), 5);
    }

    async fn a_command_is_executed_again_after_it_and_its_events_were_erased(store) {
        let deposit = NewMessage::from_variant(&accounts::Command::Deposit { amount: 7 }).unwrap();
        let first = member(&store, None).execute("1", deposit.clone()).await.unwrap();
        assert_eq!(first.events.len(), 1);
        Erasing::entity(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        let again = member(&store, None).execute("1", deposit.clone()).await;
        let again = again.expect("its events are erased, and it was carried out");
        assert!(matches!(again.outcome, Outcome::AlreadyProcessed { .. }), "{:?}", again.outcome);
        Erasing::entity(&store, "account:command-1").unwrap().run(|_| {}).await.unwrap();
        let again = member(&store, None).execute("1", deposit).await.expect("both are erased");
        assert!(matches!(again.outcome, Outcome::AlreadyProcessed { .. }), "{:?}", again.outcome);
    }

    async fn another_command_with_an_erased_intent_is_executed(store) {
        let once = |time: &str| NewMessage::from_variant(&accounts::Command::DepositOnce {
            deposit_id: "d".into(), amount: 7, time: time.into() }).unwrap();
        let _ = member(&store, None).execute("1", once("noon")).await.unwrap();
        for category in ["account", "account:command", "accountTransaction"] {
            Erasing::entity(&store, &format!("{category}-1")).unwrap().run(|_| {}).await.unwrap();
        }
        let other = member(&store, None).execute("1", once("later")).await.expect("it is a duplicate");
        assert!(matches!(other.outcome, Outcome::Duplicate { .. }), "{:?}", other.outcome);
        assert_eq!(messages_of(&store, "account").await.len(), 1);
    }

    async fn a_timer_that_is_cancelled_while_its_stream_is_erased_stays_cancelled(store) {
        let (key, to) = (TimerKey::new(StreamName::new("order-1").unwrap(), "payment"), StreamName::new("order:command-1").unwrap());
        let message = NewMessage::new("PaymentDue", Json::parse(r#"{"name":"Ann"}"#).unwrap());
        let set = TimerChange::set(key.clone(), Due::After(Duration::ZERO), to, message);
        store.timers().unwrap().change(vec![set]).await.unwrap();
        let hooked = Hooked::new(&store);
        let cancel = TimerChange::Cancel { key };
        *hooked.after_list.lock().unwrap() = Some(Box::new(move |store| Box::pin(async move {
            // The order is paid meanwhile.
            assert_eq!(store.timers().unwrap().change(vec![cancel]).await.unwrap(), [TimerChanged::Cancelled]);
        })));
        let erased: Store = hooked;
        Erasing::entity(&erased, "order-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 0, "it was cancelled");
        assert!(messages_of(&store, "order:command").await.is_empty());
    }

    async fn a_timer_that_is_set_anew_while_its_stream_is_erased_is_not_replaced_by_the_old_one(store) {
        let (key, to) = (TimerKey::new(StreamName::new("order-1").unwrap(), "payment"), StreamName::new("order:command-1").unwrap());
        let (_old, new) = (NewMessage::new("First", Json::NULL), NewMessage::new("Second", Json::NULL));
        let set = |message: &NewMessage, due| TimerChange::set(key.clone(), due, to.clone(), message.clone());
        let old = NewMessage::new("First", Json::parse(r#"{"name":"Ann"}"#).unwrap());
        store.timers().unwrap().change(vec![set(&old, Due::After(Duration::ZERO))]).await.unwrap();
        let hooked = Hooked::new(&store);
        let change = set(&new, Due::After(Duration::from_hours(1)));
        *hooked.after_list.lock().unwrap() = Some(Box::new(move |store| Box::pin(async move {
            assert_eq!(store.timers().unwrap().change(vec![change]).await.unwrap(), [TimerChanged::Replaced]);
        })));
        let erased: Store = hooked;
        Erasing::entity(&erased, "order-1").unwrap().run(|_| {}).await.unwrap();
        let waiting = store.timers().unwrap().list(TimerQuery::new()).await.unwrap();
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].message.message_type, "Second", "the timer of the later reaction is lost");
        assert_eq!(fire_timers(&*store).await, 0);
    }

    async fn a_timer_that_is_moved_while_its_stream_is_erased_keeps_its_new_time(store) {
        let (key, to) = (TimerKey::new(StreamName::new("order-1").unwrap(), "payment"), StreamName::new("order:command-1").unwrap());
        let message = NewMessage::new("PaymentDue", Json::parse(r#"{"name":"Ann"}"#).unwrap());
        let set = TimerChange::set(key.clone(), Due::After(Duration::ZERO), to, message);
        store.timers().unwrap().change(vec![set]).await.unwrap();
        let hooked = Hooked::new(&store);
        let later = TimerChange::Move { key, due: Due::After(Duration::from_hours(1)) };
        *hooked.after_list.lock().unwrap() = Some(Box::new(move |store| Box::pin(async move {
            store.timers().unwrap().change(vec![later]).await.unwrap();
        })));
        let erased: Store = hooked;
        Erasing::entity(&erased, "order-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 0, "it was moved by an hour");
    }

    async fn a_subjects_tag_erases_the_data_that_its_reservation_repeats(store) {
        let command = NewMessage::from_variant(&GuestCommand::Book { reference: "r".into(), name: "Ann".into() }).unwrap();
        let command = command.with_metadata(&Metadata::new().tag(Tag::new("person:ann").unwrap())).unwrap();
        let executed = CommandHandler::<Guest>::new(&store).execute("1", command).await.unwrap();
        assert_eq!(executed.events.len(), 1);
        Erasing::tag(&store, "person:ann").unwrap().run(|_| {}).await.unwrap();
        let mut left = Vec::new();
        for category in ["guest", "guest:command", "guestReference"] {
            for message in messages_of(&store, category).await {
                if message.data.text().contains("Ann") {
                    left.push(message.stream.as_str().to_owned());
                }
            }
        }
        assert!(left.is_empty(), "the name is still in {left:?}");
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum GuestCommand {
    Book { reference: String, name: String },
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum GuestEvent {
    Booked { name: String },
}
#[derive(Clone, Debug, Default)]
struct Guest;
impl Projection for Guest {
    const CATEGORY: &'static str = "guest";
    type Event = GuestEvent;
    fn apply(&mut self, _: &GuestEvent) {}
}
impl Decider for Guest {
    type Command = GuestCommand;
    fn decide(&self, GuestCommand::Book { name, .. }: &GuestCommand) -> Vec<GuestEvent> {
        vec![GuestEvent::Booked { name: name.clone() }]
    }
    fn tags(_: &GuestEvent) -> Vec<Tag> {
        vec![Tag::new("person:ann").unwrap()]
    }
    fn intent(GuestCommand::Book { reference, .. }: &GuestCommand) -> Option<Intent> {
        Some(Intent::new("guestReference", [reference]))
    }
}
