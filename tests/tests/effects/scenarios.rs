//! Adversarial scenarios that belong to no other file. Tests are named after the numbers of the scenarios. (T16 to T21
//! are in `moves.rs`, T22 to T36 in `deduplication.rs`, T37 to T40 in `dead_letters.rs`, T41 to T43 in `guards.rs`, T47
//! and T48 in `decisions.rs`, T49 and T50 in `delays.rs`, T55 in `chaos.rs`.)
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use message_store::consumer::Consumer;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Context, Decider, Handler};
use message_store::intents::{Intent, Reservation, reserve};
use message_store::testing::FaultyStore;
use message_store::{
    ExpectedVersion, GlobalPosition, GroupMember, Json, Message, MessageStore, MessageStoreExt as _, NewMessage,
    Outcome, OutcomeKind, Source, StreamName,
};
use message_store_tests::accounts::{Command, balance, member, messages_of, send, send_deposits};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A handler that never returns, so that a test can stop its consumer as a crash would.
struct Endless(Arc<Notify>);

#[async_trait]
impl Handler for Endless {
    fn name(&self) -> &'static str {
        "Endless"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec![]
    }

    async fn handle(&self, _message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        self.0.notify_one();
        std::future::pending().await
    }
}

async fn consume_all(store: &Arc<dyn MessageStore>) -> message_store::consumer::OutcomeCounts {
    let last = messages_of(store, "account:command").await.last().unwrap().global_position;
    let mut consumer = Consumer::new("account:command", member(store, None)).start(store).await.unwrap();
    consumer.wait_for(last).await.unwrap();
    consumer.stop().await.unwrap()
}

/// A decider that writes three events, or a refusal that is final.
#[derive(Clone, Debug, Default)]
struct Trio {
    events: u64,
    is_open: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum TrioCommand {
    Open {},
    Three {},
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum TrioEvent {
    Opened {},
    Happened {},
    Refused {},
}

impl Projection for Trio {
    const CATEGORY: &'static str = "trio";
    type Event = TrioEvent;

    fn apply(&mut self, event: &TrioEvent) {
        match event {
            TrioEvent::Opened {} => self.is_open = true,
            TrioEvent::Happened {} => self.events += 1,
            TrioEvent::Refused {} => {}
        }
    }
}

impl Decider for Trio {
    type Command = TrioCommand;

    fn decide(&self, command: &TrioCommand) -> Vec<TrioEvent> {
        match command {
            TrioCommand::Open {} => vec![TrioEvent::Opened {}],
            TrioCommand::Three {} if !self.is_open => vec![TrioEvent::Refused {}],
            TrioCommand::Three {} => vec![TrioEvent::Happened {}; 3],
        }
    }
}

async fn send_trio(store: &Arc<dyn MessageStore>, command: TrioCommand) -> Message {
    let message = NewMessage::from_variant(&command).unwrap();
    let (id, stream) = (message.id, StreamName::new("trio:command-1").unwrap());
    store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

on_both_stores! {
    async fn t1_a_crash_before_the_handler_is_done_means_another_delivery_and_one_effect(store) {
        send_deposits(&store, "account:command", "1", 3).await;
        let begun = Arc::new(Notify::new());
        let consumer = Consumer::new("account:command", Endless(Arc::clone(&begun))).start(&store).await.unwrap();
        begun.notified().await;
        drop(consumer);
        assert_eq!(consume_all(&store).await.of(OutcomeKind::Handled), 3);
        assert_eq!(balance(&store, "1").await, 3);
    }

    async fn t2_a_crash_between_the_effect_and_the_position_means_another_delivery_that_is_known(store) {
        for message in send_deposits(&store, "account:command", "1", 3).await {
            let _ = member(&store, None).carry_out(&message).await.unwrap();
        }
        assert_eq!(consume_all(&store).await.of(OutcomeKind::AlreadyProcessed), 3);
        assert_eq!(balance(&store, "1").await, 3);
    }

    async fn t4_of_a_commands_events_all_are_there_or_none(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let _ = CommandHandler::<Trio>::new(&store).carry_out(&send_trio(&store, TrioCommand::Open {}).await).await.unwrap();
        let three = send_trio(&store, TrioCommand::Three {}).await;
        let happened = async || messages_of(&store, "trio").await.len() - 1;
        faulty.refuse_appends(1);
        assert!(CommandHandler::<Trio>::new(&shared).carry_out(&three).await.is_err());
        assert_eq!(happened().await, 0);
        faulty.lose_answers(1);
        let outcome = CommandHandler::<Trio>::new(&shared).carry_out(&three).await.unwrap();
        assert_eq!(outcome, Outcome::Handled { events: 3, late: false });
        assert_eq!(happened().await, 3);
        assert!(matches!(CommandHandler::<Trio>::new(&store).carry_out(&three).await.unwrap(), Outcome::AlreadyProcessed { .. }));
    }

    async fn t7_a_message_that_two_readers_have_at_once_takes_effect_once(store) {
        for message in send_deposits(&store, "account:command", "1", 10).await {
            let (one, other) = (member(&store, None), member(&store, None));
            let (one, other) = tokio::join!(one.carry_out(&message), other.carry_out(&message));
            let outcomes = [one.unwrap(), other.unwrap()];
            assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Handled { .. })).count(), 1, "{outcomes:?}");
        }
        assert_eq!(balance(&store, "1").await, 10);
    }

    async fn t8_a_consumer_that_begins_from_zero_writes_nothing_new(store) {
        send_deposits(&store, "account:command", "1", 5).await;
        assert_eq!(consume_all(&store).await.events(), 5);
        let again = Consumer::new("account:command", member(&store, None)).identifier("again");
        let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
        let mut again = again.start(&store).await.unwrap();
        again.wait_for(last).await.unwrap();
        let counts = again.stop().await.unwrap();
        assert_eq!((counts.of(OutcomeKind::AlreadyProcessed), counts.events()), (5, 0));
    }

    async fn t9_an_entity_that_is_projected_again_has_the_same_marks(store) {
        let warm = member(&store, None);
        for category in ["account:command", "teller:command"] {
            for message in send_deposits(&store, category, "1", 4).await.iter().rev() {
                let _ = warm.carry_out(message).await.unwrap();
            }
        }
        let (warm, cold) = (warm.entities().fetch("1").await.unwrap(), member(&store, None).entities().fetch("1").await.unwrap());
        assert_eq!(warm, cold);
    }

    async fn t10_a_group_that_changes_its_size_while_commands_come_handles_each_once(store) {
        let writing = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                for _ in 0..15 {
                    for account in 0..6 {
                        send_deposits(&store, "account:command", &account.to_string(), 1).await;
                    }
                }
            }
        });
        for size in [2, 3, 1] {
            let mut members = Vec::new();
            for number in 0..size {
                let group = GroupMember::new(number, size).unwrap();
                let consumer = Consumer::new("account:command", member(&store, None)).identifier("g").group(group);
                members.push(consumer.concurrency(4).batch(5).start(&store).await.unwrap());
            }
            if size == 1 {
                continue;
            }
            // Long enough for each member to handle the existing messages.
            let last = messages_of(&store, "account:command").await.last().map(|message| message.global_position);
            for mut member in members {
                member.wait_for(last.unwrap_or(GlobalPosition::ZERO)).await.unwrap();
                let _ = member.stop().await.unwrap();
            }
        }
        writing.await.unwrap();
        let group = GroupMember::new(0, 1).unwrap();
        let mut last = Consumer::new("account:command", member(&store, None)).identifier("g").group(group).start(&store).await.unwrap();
        last.wait_for(messages_of(&store, "account:command").await.last().unwrap().global_position).await.unwrap();
        for account in 0..6 {
            assert_eq!(balance(&store, &account.to_string()).await, 15, "account {account}");
        }
    }

    async fn t11_a_member_cannot_begin_above_unhandled_messages(store) {
        send_deposits(&store, "account:command", "1", 3).await;
        // A position belongs to a member of a group of one size. A member of a new size has no position, and begins at
        // the beginning.
        for size in [1, 2, 5] {
            let group = GroupMember::new(0, size).unwrap();
            let consumer = Consumer::new("account:command", member(&store, None)).identifier("g").group(group);
            let consumer = consumer.start(&store).await.unwrap();
            assert_eq!(consumer.startup_report().handled_through.get(), 0);
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn t15_a_stream_with_eventides_marks_does_not_hide_another_category(store) {
        let deposits = send_deposits(&store, "account:command", "1", 5).await;
        let theirs = NewMessage::new("Deposited", Json::parse(r#"{"amount":1,"sequence":5}"#).unwrap())
            .with_metadata(&message_store::Metadata::follow(&deposits[4]))
            .unwrap();
        store.append_to(&StreamName::new("account-1").unwrap(), ExpectedVersion::Any, vec![theirs]).await.unwrap();
        for message in send_deposits(&store, "teller:command", "1", 2).await {
            assert!(matches!(member(&store, None).carry_out(&message).await.unwrap(), Outcome::Handled { late: false, .. }));
        }
        assert_eq!(balance(&store, "1").await, 3);
    }

    async fn t52_a_refused_command_stays_refused_when_it_comes_again_and_would_be_granted(store) {
        let three = send_trio(&store, TrioCommand::Three {}).await;
        let open = send_trio(&store, TrioCommand::Open {}).await;
        for message in [&three, &open] {
            let _ = CommandHandler::<Trio>::new(&store).carry_out(message).await.unwrap();
        }
        let again = CommandHandler::<Trio>::new(&store).carry_out(&three).await.unwrap();
        assert!(matches!(again, Outcome::AlreadyProcessed { .. }), "{again}");
        assert_eq!(CommandHandler::<Trio>::new(&store).entities().fetch("1").await.unwrap().state.events, 0);
    }

    async fn equal_amounts_are_not_duplicates(store) {
        // R5: two messages with one body and two ids are two deposits.
        for message in send_deposits(&store, "account:command", "1", 2).await {
            let _ = member(&store, None).carry_out(&message).await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 2);
    }

    async fn an_event_comes_after_the_command_in_its_stamp(store) {
        // R1, R2.
        let member = member(&store, None);
        for message in send_deposits(&store, "account:command", "1", 5).await.iter().rev() {
            let _ = member.carry_out(message).await.unwrap();
        }
        for event in messages_of(&store, "account").await {
            let stamp = event.decode_metadata().cause(store.store_id()).unwrap();
            assert!(event.global_position > stamp.global_position);
            let entity = member.entities().fetch("1").await.unwrap();
            assert!(!entity.sequences.is_new("account", &stamp));
        }
    }

    async fn commands_that_commute_end_alike_in_any_order(store) {
        // R44.
        let amounts = [1, 10, 100, 1000];
        let mut messages = Vec::new();
        for amount in amounts {
            messages.push(send(&store, "account:command", "1", &Command::Deposit { amount }).await);
        }
        for message in [2, 0, 3, 1, 0, 2].map(|number| &messages[number]) {
            let _ = member(&store, None).carry_out(message).await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 1111);
    }

    async fn one_intent_through_two_channels_is_one_effect(store) {
        // R37: the same cheque number by mail and by fax.
        let cheque = |time: &str| Command::DepositOnce { deposit_id: "cheque 7".into(), amount: 5, time: time.into() };
        for (channel, time) in [("account:command", "mailed"), ("fax:command", "faxed")] {
            let message = send(&store, channel, "1", &cheque(time)).await;
            let _ = member(&store, None).carry_out(&message).await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 5);
    }
}

/// Scenarios that need another writer, or that are part of the contract of every store.
mod on_every_subject {
    use message_store::testing::conformance::{Subject, conflicts, order, repeating};
    use message_store_tests::subjects::{Postgres, SqliteFile};

    use super::*;

    async fn holder_gives_up(subject: &(impl Subject + 'static)) {
        let store = subject.store();
        let mut messages = Vec::new();
        for number in 0..16 {
            let command = Command::DepositOnce { deposit_id: "d1".into(), amount: 1, time: number.to_string() };
            messages.push(send(&store, "account:command", "1", &command).await);
        }
        let intent = Intent::new("accountTransaction", ["deposit", "d1"]).ignoring(["time"]);
        let holder = messages.remove(0);
        let append = Reservation::new(&intent, "1", &holder).unwrap().append(&store).unwrap();
        // It holds the intent until the others have asked for it, and rolls back.
        let (asked, mut all_asked) = tokio::sync::mpsc::channel(messages.len());
        let (begin, begun) = tokio::sync::watch::channel(false);
        let meanwhile = Box::pin(async move {
            begin.send_replace(true);
            for _ in 0..15 {
                all_asked.recv().await.unwrap();
            }
        });
        let giving_up = subject.append_slowly(append, meanwhile, false);
        let waiting = futures_util::future::join_all(messages.iter().map(|message| {
            let (store, intent, asked, mut begun) = (store.clone(), intent.clone(), asked.clone(), begun.clone());
            async move {
                begun.wait_for(|begun| *begun).await.unwrap();
                asked.send(()).await.unwrap();
                reserve(&store, &intent, "1", message).await.unwrap()
            }
        }));
        let (given_up, outcomes) = tokio::join!(giving_up, waiting);
        given_up.unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Reserved { .. })).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Duplicate { .. })).count(), 14);
    }

    macro_rules! on_both_subjects {
        ($($name:ident = $call:expr;)*) => {
            mod on_postgres { use super::*; $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() { $call(&Postgres::new().await).await; }
            )* }
            mod on_sqlite { use super::*; $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() { $call(&SqliteFile::new().await).await; }
            )* }
        };
    }

    on_both_subjects! {
        t3_a_commit_whose_answer_was_lost_returns_the_first_positions = repeating::a_lost_answer_is_settled_by_the_same_append_again;
        t6_when_the_holder_of_an_intent_rolls_back_one_of_those_that_wait_holds_it = holder_gives_up;
        t44_a_retry_with_one_message_more_is_a_conflict_and_nothing_is_written = conflicts::an_append_of_which_a_part_was_written_before_writes_nothing;
        t45_an_id_that_is_used_for_another_stream_is_a_conflict = conflicts::an_id_again_in_another_stream_is_a_conflict;
        t46_the_same_ids_with_a_stale_expected_version_return_the_first_positions =
            repeating::the_same_append_again_is_answered_also_where_its_expected_version_is_stale;
        t51_a_reader_does_not_pass_a_lower_position_that_is_not_committed_yet =
            order::readers_skip_nothing_while_slow_writers_commit_and_roll_back;
    }
}

/// A database whose default isolation level is REPEATABLE READ or SERIALIZABLE. (SQLite has one isolation level.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t54_other_isolation_levels_of_the_database_change_no_outcome() {
    use message_store_tests::postgres::TestDatabase;
    for level in ["repeatable read", "serializable"] {
        let database = TestDatabase::create().await;
        let name = database.url().rsplit('/').next().unwrap().to_owned();
        database.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")).await;
        let store = message_store::connect(database.url()).await.unwrap();
        let intent = Intent::new("accountTransaction", ["deposit", "d1"]).ignoring(["time"]);
        let mut messages = Vec::new();
        for number in 0..16 {
            let command = Command::DepositOnce { deposit_id: "d1".into(), amount: 1, time: number.to_string() };
            messages.push(send(&store, "account:command", "1", &command).await);
        }
        let outcomes =
            futures_util::future::join_all(messages.iter().map(|message| reserve(&store, &intent, "1", message))).await;
        let reserved = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Reserved { .. }))).count();
        assert_eq!((reserved, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (1, 16), "{level}");
    }
}
