//! Messages of other writers: metadata with other shapes or with this library's names, places that belong to other
//! messages here, and a second consumer of the same intents.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::intents::{Intent, RESERVED, reserve};
use message_store::operations::Transfer;
use message_store::testing::PlantedBug;
use message_store::{
    Append, Category, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome,
    OutcomeKind, StreamName, connect,
};
use message_store_tests::accounts::{Command, balance, member, messages_of, postgres, put, send, sqlite};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// Metadata as applications and tools in other languages write it.
const METADATA: [&str; 16] = [
    r#"{"origin":"web"}"#,
    r#"{"origin":null,"sequence":null}"#,
    r#"{"sequence":12}"#,
    r#"{"sequence":{"category":"a"}}"#,
    r#"{"properties":null}"#,
    r#"{"properties":[1,2]}"#,
    r#"{"localProperties":"none"}"#,
    r#"{"schemaVersion":2}"#,
    r#"{"causationMessageStreamName":7}"#,
    r#"{"causationMessageStreamName":"account:command-1","causationMessageGlobalPosition":"3"}"#,
    r#"{"correlationStreamName":{"a":1},"replyStreamName":1.5}"#,
    r#"{"traceparent":0,"tracestate":[]}"#,
    r#"{"messageStore":"ours"}"#,
    r#"{"messageStore":{"sequence":1,"handler":{},"origin":"x"}}"#,
    "[1,2,3]",
    "\"a text\"",
];

async fn deposit(store: &Store, deposit_id: &str, amount: u64, time: &str) -> Message {
    let command = Command::DepositOnce { deposit_id: deposit_id.into(), amount, time: time.into() };
    send(store, "account:command", "1", &command).await
}

/// An account whose events show their sequence, as in Eventide.
mod shown {
    use message_store::entity::Projection;
    use message_store::handling::Decider;
    use serde::{Deserialize, Serialize};

    use super::{Message, Store, put};

    #[derive(Serialize, Deserialize)]
    pub(crate) enum Command {
        Deposit {},
    }

    #[derive(Serialize, Deserialize)]
    pub(crate) enum Event {
        Deposited {},
    }

    #[derive(Clone, Default)]
    pub(crate) struct Account;

    impl Projection for Account {
        const CATEGORY: &'static str = "shown";
        type Event = Event;
        fn apply(&mut self, _: &Event) {}
    }

    impl Decider for Account {
        type Command = Command;
        const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
        fn decide(&self, _: &Command) -> Vec<Event> {
            vec![Event::Deposited {}]
        }
    }

    pub(crate) async fn deposit(store: &Store) -> Message {
        put(store, "shown:command-1", "Deposit", "{}", "null").await
    }
}

fn intent(deposit_id: &str) -> Intent {
    Intent::new("accountTransaction", ["deposit", deposit_id]).ignoring(["time"])
}

/// An intent is reserved in the old store, and its reservation and event are copied. In the new store, another message
/// with the intent and other content has the place that the first message had in the old store.
async fn a_coincidence(old: &Store, new: &Store, names_its_store: bool) -> (Outcome, u64) {
    for _ in 0..40 {
        send(old, "elsewhere", "1", &Command::Look).await;
    }
    let first = deposit(old, "d1", 10, "noon").await;
    let _ = member(old, None).carry_out(&first).await.unwrap();
    for category in ["account", "accountTransaction"] {
        if names_its_store {
            Transfer::new(old, new).copy(&Category::new(category).unwrap(), |_| ()).await.unwrap();
            continue;
        }
        for message in messages_of(old, category).await {
            let text = message.metadata.text().replace("messageStore", "another");
            let copy =
                NewMessage::new(message.message_type, message.data).with_metadata_json(Json::parse(text).unwrap());
            new.append(Append::to(message.stream).message(copy.with_id(message.id)).into()).await.unwrap();
        }
    }
    while new.given_out(None).await.unwrap().next() < first.global_position {
        send(new, "elsewhere", "1", &Command::Look).await;
    }
    let second = deposit(new, "d1", 10, "later").await;
    assert_eq!(
        (second.global_position, &second.stream, second.position),
        (first.global_position, &first.stream, first.position)
    );
    let outcome = member(new, None).carry_out(&second).await.unwrap();
    (outcome, balance(new, "1").await)
}

/// Eventide's first hop has reserved an intent. A one-hop runtime handles the command, and a second hop handles the
/// copy, in either order.
async fn two_hops_beside_one(store: &Store, second_hop_first: bool, bug: Option<PlantedBug>) -> u64 {
    let command = deposit(store, "d1", 10, "noon").await;
    let _ = reserve(store, &intent("d1"), "1", &command).await.unwrap();
    let copy = messages_of(store, "accountTransaction").await.remove(0);
    assert_eq!(copy.message_type, command.message_type);
    let mut deliveries = [command.clone(), copy.clone()];
    if second_hop_first {
        deliveries.reverse();
    }
    for message in deliveries.iter().chain(&[command, copy]) {
        let _ = member(store, bug).carry_out(message).await.unwrap();
    }
    balance(store, "1").await
}

on_both_stores! {
    async fn metadata_of_others_stops_no_consumer_and_no_entity_and_is_carried(store) {
        let mut last = None;
        for (number, metadata) in METADATA.iter().enumerate() {
            let metadata = Json::parse(*metadata).unwrap();
            let deposited = NewMessage::new("Deposited", Json::parse(r#"{"amount":100}"#).unwrap()).with_metadata_json(metadata.clone());
            let account = StreamName::new(format!("account-{number}")).unwrap();
            store.append(Append::to(account).message(deposited).into()).await.unwrap();
            let command = NewMessage::from_variant(&Command::Deposit { amount: 1 }).unwrap().with_metadata_json(metadata);
            let commands = StreamName::new(format!("account:command-{number}")).unwrap();
            store.append_to(&commands, ExpectedVersion::Any, vec![command]).await.unwrap();
            last = store.last_message(&commands, None).await.unwrap();
        }
        let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        consumer.wait_for(last.unwrap().global_position).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), METADATA.len() as u64);
        let mut unread = 0;
        for (number, metadata) in METADATA.iter().enumerate() {
            let account = member(&store, None).entities().fetch(&number.to_string()).await.unwrap();
            assert_eq!(account.state.balance, 101, "{metadata}");
            unread += account.unread_metadata;
        }
        assert!(unread > 0, "it is counted");

        let new = sqlite().await;
        Transfer::new(&store, &new).copy(&Category::new("account:command").unwrap(), |_| ()).await.unwrap();
        for (copy, was) in messages_of(&new, "account:command").await.iter().zip(METADATA) {
            let (was, is): (serde_json::Value, serde_json::Value) = (serde_json::from_str(was).unwrap(), copy.metadata.decode().unwrap());
            match &was {
                serde_json::Value::Object(fields) => {
                    let theirs = fields.iter().filter(|(key, value)| !value.is_null() && *key != "messageStore");
                    theirs.for_each(|(key, value)| assert_eq!(&is[key], value, "{was} became {is}"));
                }
                _ => assert_eq!(is["messageStore"]["displaced"], was),
            }
            assert!(copy.decode_metadata().origin.is_some());
        }
    }

    async fn metadata_that_is_an_array_is_no_stamp(store) {
        let command = send(&store, "account:command", "1", &Command::Deposit { amount: 1 }).await;
        let metadata = format!(r#"[{{}},"{}",{}]"#, command.stream, command.global_position);
        put(&store, "account-1", "Deposited", r#"{"amount":100}"#, &metadata).await;
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    }

    async fn a_cause_that_comes_after_its_effect_makes_no_command_late(store) {
        let metadata = r#"{"causationMessageStreamName":"account:command-1","causationMessageGlobalPosition":900000000}"#;
        put(&store, "account-1", "Deposited", r#"{"amount":100}"#, metadata).await;
        let command = send(&store, "account:command", "1", &Command::Deposit { amount: 1 }).await;
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { late: false, .. }), "{outcome}");
    }

    async fn metadata_of_the_greatest_depth_is_copied(store) {
        let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
        put(&store, "account-1", "Deposited", r#"{"amount":1}"#, &deepest).await;
        let new = sqlite().await;
        Transfer::new(&store, &new).copy(&Category::new("account").unwrap(), |_| ()).await.unwrap();
    }

    async fn a_message_of_the_greatest_size_is_reserved_and_copied(store) {
        let time = "x".repeat(store.limits().message_bytes - 100);
        let command = deposit(&store, "d1", 1, &time).await;
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
        let new = sqlite().await;
        for category in ["account:command", "accountTransaction"] {
            Transfer::new(&store, &new).copy(&Category::new(category).unwrap(), |_| ()).await.unwrap();
        }
    }

    async fn what_our_events_show_to_eventide_never_goes_back_behind_what_it_has_carried_out(store) {
        let (first, second) = (shown::deposit(&store).await, shown::deposit(&store).await);
        // As Eventide writes it, for a copy of the first message with a higher position than the second.
        let copy = put(&store, "accountTransaction-1+deposit+d1", "Deposit", "{}", "null").await;
        let cause = format!(
            r#"{{"causationMessageStreamName":"{}","causationMessagePosition":0,"causationMessageGlobalPosition":{}}}"#,
            copy.stream, copy.global_position
        );
        put(&store, "shown-1", "Deposited", "{}", &cause).await;
        for command in [&second, &first] {
            let _ = message_store::handling::CommandHandler::<shown::Account>::new(&store).carry_out(command).await.unwrap();
            let event = store.last_message(&StreamName::new("shown-1").unwrap(), None).await.unwrap().unwrap();
            let shown: serde_json::Value = event.data.decode().unwrap();
            assert_eq!(shown["sequence"], serde_json::json!(copy.global_position.get()));
        }
    }

    async fn a_foreign_number_in_the_place_of_the_stamp_does_not_hide_the_cause(store) {
        for _ in 0..5 {
            put(&store, "elsewhere-1", "Something", "{}", "null").await;
        }
        for (number, ours) in ["3", "-7", "9223372036854775807", "1.5", "92233720368547758070", "\"3\""].into_iter().enumerate() {
            for own in [format!(r#"{{"sequence":{ours}}}"#), format!(r#"{{"sequence":{ours},"handler":"theirs"}}"#)] {
                let account = format!("{number}{}", own.len());
                let command = send(&store, "account:command", &account, &Command::Deposit { amount: 1 }).await;
                let metadata = format!(
                    r#"{{"causationMessageStreamName":"{}","causationMessagePosition":{},"causationMessageGlobalPosition":{},"messageStore":{own}}}"#,
                    command.stream, command.position, command.global_position
                );
                // Another toolkit has carried it out.
                put(&store, &format!("account-{account}"), "Deposited", r#"{"amount":1}"#, &metadata).await;
                let outcome = member(&store, None).carry_out(&command).await.unwrap();
                assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{own}: {outcome}");
                let account = member(&store, None).entities().fetch(&account).await.unwrap();
                assert_eq!((account.state.balance, account.unread_metadata), (1, 1), "{own}");
            }
        }
    }

    async fn a_stamp_as_an_earlier_version_wrote_it_keeps_its_meaning(store) {
        let command = send(&store, "account:command", "1", &Command::Deposit { amount: 1 }).await;
        let sequence = Json::encode(&command.sequence(store.store_id())).unwrap();
        let metadata = Json::parse(format!(r#"{{"sequence":{}}}"#, sequence.text())).unwrap();
        let theirs = NewMessage::new("Deposited", Json::parse(r#"{"amount":1}"#).unwrap()).with_metadata_json(metadata);
        store.append(Append::to(StreamName::new("account-1").unwrap()).message(theirs).into()).await.unwrap();
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
    }

    async fn in_one_hop_no_consumer_of_the_reservations_finds_a_command(store) {
        let command = deposit(&store, "d1", 10, "noon").await;
        let _ = member(&store, None).carry_out(&command).await.unwrap();
        let reserved = messages_of(&store, "accountTransaction").await;
        assert_eq!((reserved.len(), reserved[0].message_type.as_str()), (1, RESERVED));
        assert_eq!(member(&store, None).carry_out(&reserved[0]).await.unwrap(), Outcome::Unhandled);
        assert_eq!(balance(&store, "1").await, 10);
        // A repeat is recognised by it, as by a copy.
        let again = deposit(&store, "d1", 10, "later").await;
        assert_eq!(member(&store, None).carry_out(&again).await.unwrap(), Outcome::Duplicate { original: command.reference() });
        let other = deposit(&store, "d1", 11, "later").await;
        assert_eq!(member(&store, None).carry_out(&other).await.unwrap(), Outcome::Conflict { original: command.reference() });
        assert_eq!(reserve(&store, &intent("d1"), "1", &command).await.unwrap(), Outcome::Redelivered { original: command.reference() });
    }

    async fn one_hop_beside_a_second_hop_carries_an_intent_out_once(store) {
        assert_eq!(two_hops_beside_one(&store, false, None).await, 10);
    }

    async fn one_hop_after_a_second_hop_carries_an_intent_out_once(store) {
        assert_eq!(two_hops_beside_one(&store, true, None).await, 10);
    }

    async fn twin_with_the_copy_ignored_one_hop_beside_a_second_hop_carries_an_intent_out_twice(store) {
        assert_eq!(two_hops_beside_one(&store, false, Some(PlantedBug::CopyIgnored)).await, 20);
    }
}

mod a_move {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn on_postgres_positions_of_two_stores_are_never_compared() {
        let (outcome, balance) = a_coincidence(&postgres().await, &postgres().await, true).await;
        assert!(matches!(outcome, Outcome::Duplicate { .. }), "{outcome}");
        assert_eq!(balance, 10);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn on_sqlite_positions_of_two_stores_are_never_compared() {
        let (outcome, balance) = a_coincidence(&sqlite().await, &sqlite().await, true).await;
        assert!(matches!(outcome, Outcome::Duplicate { .. }), "{outcome}");
        assert_eq!(balance, 10);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn twin_when_nothing_names_the_store_a_coincidence_is_taken_for_the_message_itself() {
        let (outcome, _) = a_coincidence(&sqlite().await, &sqlite().await, false).await;
        assert!(!matches!(outcome, Outcome::Duplicate { .. }), "{outcome}");
    }
}

/// Another program has written metadata that is not JSON to a SQLite file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_that_is_no_json_stops_no_consumer_and_is_copied() {
    for metadata in ["''", "'not json'", r#"'{"a"'"#] {
        let ageing = AgeingStore::sqlite();
        let store = connect(&ageing.url()).await.unwrap();
        let first = send(&store, "account:command", "1", &Command::Deposit { amount: 1 }).await;
        put(&store, "account-1", "Deposited", r#"{"amount":100}"#, "null").await;
        ageing.execute("", &format!("UPDATE messages SET metadata = {metadata}")).await;
        let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        consumer.wait_for(first.global_position).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), 1, "{metadata}");
        assert_eq!(balance(&store, "1").await, 101, "{metadata}");
        let new = sqlite().await;
        for category in ["account", "account:command"] {
            Transfer::new(&store, &new).copy(&Category::new(category).unwrap(), |_| ()).await.unwrap();
        }
    }
}
