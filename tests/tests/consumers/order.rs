//! Consumers: order within an entity, no skipped message, one owner of a position.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, PlantedBug};
use message_store::handling::{Context, Handler};
use message_store::postgres::PostgresOptions;
use message_store::testing::FaultyStore;
use message_store::{
    Append, Error, GroupMember, Json, Message, MessageStore, NewMessage, Outcome, OutcomeKind, Source, StreamName,
    connect,
};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use tokio::sync::Semaphore;

/// Records the messages that it receives. On request it waits, fails or panics.
#[derive(Default)]
struct Probe {
    seen: Mutex<Vec<(String, i64)>>,
    /// Messages of this account wait for a permit.
    held: Option<(&'static str, Semaphore)>,
    /// Messages of this account fail while it is set.
    failing: Option<(&'static str, AtomicBool)>,
    under_way: Mutex<HashMap<String, usize>>,
    most_at_once: AtomicUsize,
}

struct Shared(Arc<Probe>);

#[async_trait]
impl Handler for Shared {
    fn name(&self) -> &'static str {
        "Probe"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        let probe = &self.0;
        let entity = message.stream.cardinal_id().unwrap().to_owned();
        {
            let mut under_way = probe.under_way.lock().unwrap();
            let count = under_way.entry(entity.clone()).or_default();
            *count += 1;
            assert_eq!(*count, 1, "two messages of {entity} at a time");
            let at_once = under_way.values().sum();
            probe.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        }
        if let Some((held, permits)) = &probe.held
            && *held == entity
        {
            permits.acquire().await?.forget();
        }
        tokio::task::yield_now().await;
        *probe.under_way.lock().unwrap().get_mut(&entity).unwrap() -= 1;
        if let Some((failing, on)) = &probe.failing
            && *failing == entity
            && on.load(Ordering::SeqCst)
        {
            assert!(message.position.get() % 2 == 1, "a planted panic");
            return Err("a planted failure".into());
        }
        probe.seen.lock().unwrap().push((entity, message.position.get()));
        Ok(Outcome::Handled { events: 0, late: false })
    }
}

async fn last_position(store: &Arc<dyn MessageStore>) -> message_store::GlobalPosition {
    messages_of(store, "account:command").await.last().unwrap().global_position
}

/// Eight accounts with five deposits each.
async fn eight_accounts(store: &Arc<dyn MessageStore>) {
    for _ in 0..5 {
        for account in 0..8 {
            send_deposits(store, "account:command", &account.to_string(), 1).await;
        }
    }
}

fn planted<H: Handler>(consumer: Consumer<H>, bug: Option<PlantedBug>) -> Consumer<H> {
    match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    }
}

/// Loses the answers to this many saves in a row: at the take-over, during the run, and at the stop.
async fn with_lost_answers_to_saves(
    store: &Arc<dyn MessageStore>,
    in_a_row: u32,
    bug: Option<PlantedBug>,
) -> message_store::Result<()> {
    let faulty = FaultyStore::new(store);
    let shared: Arc<dyn MessageStore> = faulty.clone();
    let probe = Arc::new(Probe::default());
    let consumer = || {
        let consumer = Consumer::new("account:command", Shared(Arc::clone(&probe)));
        planted(consumer.save_after(1, Duration::from_hours(1)), bug)
    };
    faulty.lose_answers(in_a_row);
    let mut running = consumer().start(&shared).await?;
    assert_eq!(faulty.answers_to_lose(), 0);

    faulty.lose_answers(in_a_row);
    while faulty.answers_to_lose() > 0 {
        send_deposits(store, "account:command", "1", 1).await;
        running.wait_for(last_position(store).await).await?;
    }
    faulty.lose_answers(in_a_row);
    let _ = running.stop().await?;
    assert_eq!(faulty.answers_to_lose(), 0);

    let positions = StreamName::new("account:command+position").unwrap();
    let last = store.last_message(&positions, None).await.unwrap().unwrap();
    let mut said: serde_json::Value = last.decode_data().unwrap();
    said.as_object_mut().unwrap().remove("counted");
    assert_eq!(said, serde_json::json!({ "position": last_position(store).await, "stopped": true }));
    Ok(())
}

/// The number of messages that a consumer receives when the store's history changes after its saved position: three
/// before, and one after.
async fn given_when_the_history_changes(store: &Arc<dyn MessageStore>, bug: Option<PlantedBug>) -> u64 {
    let faulty = FaultyStore::new(store);
    let shared: Arc<dyn MessageStore> = faulty.clone();
    let hour = Duration::from_hours(1);
    let consumer = Consumer::new("account:command", member(&shared, None));
    let consumer = planted(consumer.save_after(1_000, hour).poll_interval(hour), bug);
    send_deposits(&shared, "account:command", "1", 3).await;
    let mut running = consumer.start(&shared).await.unwrap();
    running.wait_for(last_position(store).await).await.unwrap();
    faulty.change_history();
    let last = send_deposits(&shared, "account:command", "1", 1).await.remove(0);
    running.wait_for(last.global_position).await.unwrap();
    let given = running.stop().await.unwrap().messages();
    assert_eq!(balance(store, "1").await, 4);
    given
}

/// Runs a consumer that polls every 5 s, saves every second, and gets no wake-up, on one thread with a paused clock
/// that advances when the thread is idle. Returns whether the consumer receives a later message within an hour.
async fn keeps_its_poll_interval(bug: Option<PlantedBug>) -> bool {
    let store = message_store_tests::accounts::sqlite().await;
    let faulty = FaultyStore::new(&store);
    faulty.lose_wake_ups();
    let silent: Arc<dyn MessageStore> = faulty;
    let probe = Arc::new(Probe::default());
    let consumer = Consumer::new("account:command", Shared(Arc::clone(&probe))).poll_interval(Duration::from_secs(5));
    let mut consumer = planted(consumer, bug).start(&silent).await.unwrap();
    tokio::time::pause();
    // Long enough for the pauses between polls to grow to the whole interval.
    tokio::time::sleep(Duration::from_mins(5)).await;
    send_deposits(&store, "account:command", "1", 1).await;
    let last = last_position(&store).await;
    tokio::time::timeout(Duration::from_hours(1), consumer.wait_for(last)).await.is_ok()
}

#[tokio::test]
async fn a_poll_interval_that_is_longer_than_the_save_interval_is_kept() {
    assert!(keeps_its_poll_interval(None).await);
}

#[tokio::test]
async fn twin_when_the_save_timer_restarts_the_wait_the_consumer_never_polls() {
    assert!(!keeps_its_poll_interval(Some(PlantedBug::WaitRestarted)).await);
}

/// Makes two tests of each function, on stores whose messages a test can delete.
macro_rules! on_both_stores_from_outside {
    ($($name:ident = $call:expr;)*) => {
        mod from_outside_on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { ($call)(&AgeingStore::postgres().await).await; })*
        }
        mod from_outside_on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { ($call)(&AgeingStore::sqlite()).await; })*
        }
    };
}

on_both_stores_from_outside! {
    a_consumer_starts_after_all_that_it_has_handled_was_deleted = async |outside: &AgeingStore| {
        let store = connect(&outside.url()).await.unwrap();
        send_deposits(&store, "account:command", "1", 5).await;
        let start = async || Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        let mut consumer = start().await;
        consumer.wait_for(last_position(&store).await).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        outside.delete_messages("stream_name = 'account:command-1'").await;
        let mut consumer = start().await;
        send_deposits(&store, "account:command", "1", 1).await;
        consumer.wait_for(last_position(&store).await).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), 1);
    };

    a_running_consumer_stops_when_its_store_is_restored_to_an_earlier_point = async |outside: &AgeingStore| {
        let error = restored_under_a_running_consumer(outside, None).await.unwrap_err();
        assert!(matches!(error, Error::StoreBehind { .. }), "{error}");
    };

    twin_when_nobody_asks_whether_the_store_is_behind_messages_are_passed_over = async |outside: &AgeingStore| {
        let handled = restored_under_a_running_consumer(outside, Some(PlantedBug::PositionUnchecked)).await.unwrap();
        assert_eq!(handled, 5, "not 6: one of the restored store was taken for one that was handled");
    };
}

/// All of its connections are open after a few calls. One that is opened after a restore finds another history.
async fn with_few_connections(outside: &AgeingStore) -> Arc<dyn MessageStore> {
    if let AgeingStore::Postgres(_) = outside {
        let options = PostgresOptions::from_url(&outside.url()).unwrap().connections(3).reading_connections(1);
        return Arc::new(options.open().await.unwrap());
    }
    connect(&outside.url()).await.unwrap()
}

/// After a consumer has handled five messages, the store is restored to the second. Another message is written, and
/// another consumer receives it. Returns the number of messages that the first consumer has handled.
async fn restored_under_a_running_consumer(
    outside: &AgeingStore,
    bug: Option<PlantedBug>,
) -> message_store::Result<usize> {
    let store = with_few_connections(outside).await;
    let probe = Arc::new(Probe::default());
    let consumer = Consumer::new("account:command", Shared(Arc::clone(&probe)));
    let consumer = planted(consumer.save_after(1_000, Duration::from_millis(1)), bug);
    let mut running = consumer.start(&store).await?;
    let deposits = send_deposits(&store, "account:command", "1", 5).await;
    running.wait_for(deposits[4].global_position).await?;
    // From here on, the consumer has nothing to save.
    let positions = StreamName::new("account:command+position").unwrap();
    loop {
        let saved: serde_json::Value = store.last_message(&positions, None).await?.unwrap().decode_data()?;
        if saved["position"] == deposits[4].global_position.get() && saved.get("handedOutThrough").is_none() {
            break;
        }
        tokio::task::yield_now().await;
    }
    outside.restore(deposits[1].global_position).await;
    if bug.is_none() {
        running.wait_for(deposits[4].global_position.next()).await?;
    }
    let again = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    assert!(again.global_position <= deposits[4].global_position);
    let mut further =
        Consumer::new("account:command", member(&store, None)).identifier("further").start(&store).await?;
    further.wait_for(again.global_position).await?;
    running.wait_for(again.global_position).await?;
    let handled = probe.seen.lock().unwrap().len();
    Ok(handled)
}

on_both_stores! {
    async fn a_consumer_restarts_from_its_saved_position_when_the_history_changes(store) {
        assert_eq!(given_when_the_history_changes(&store, None).await, 3 + 4);
    }

    async fn twin_where_the_history_is_ignored_it_goes_on_behind_what_may_be_lost(store) {
        assert_eq!(given_when_the_history_changes(&store, Some(PlantedBug::HistoryIgnored)).await, 3 + 1);
    }

    async fn a_group_says_which_stream_none_of_its_members_reads(store) {
        let start = async |member: GroupMember| {
            let consumer = Consumer::new("account:command", Shared(Arc::default())).identifier("g");
            consumer.group(member).start(&store).await.unwrap()
        };
        send_deposits(&store, "account:command", "1", 1).await;
        let whole = GroupMember::new(0, 1).unwrap();
        assert_eq!(start(whole).await.startup_report().unread_stream, None);
        let stream = StreamName::new("account:command").unwrap();
        store.append(Append::to(stream.clone()).message(NewMessage::new("Deposit", Json::NULL)).into()).await.unwrap();
        let member = start(whole).await;
        assert_eq!(member.startup_report().unread_stream, Some(stream));
        assert!(member.startup_report().to_string().contains("unread       the messages of account:command:"));
        drop(member);
        let alone = Consumer::new("account:command", Shared(Arc::default())).start(&store).await.unwrap();
        assert_eq!(alone.startup_report().unread_stream, None, "a consumer without a group reads it");
    }

    async fn what_another_program_writes_to_a_position_stream_sends_no_consumer_back(store) {
        let message = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let start = async || Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        let mut running = start().await;
        running.wait_for(message.global_position).await.unwrap();
        let _ = running.stop().await.unwrap();
        let note = NewMessage::new("Noted", Json::parse(r#"{"by":"an operator"}"#).unwrap());
        store.append(Append::to(StreamName::new("account:command+position").unwrap()).message(note).into()).await.unwrap();
        assert!(start().await.startup_report().handled_through >= message.global_position);
    }

    async fn contention_for_one_new_stream_after_another_is_no_fault_of_the_message(store) {
        /// A handler that writes to a new stream at each attempt, while other writers are faster for a while.
        #[derive(Default)]
        struct Slots(AtomicUsize);

        #[async_trait]
        impl Handler for Slots {
            fn name(&self) -> &'static str { "slots" }
            fn message_types(&self) -> Vec<&'static str> { vec!["Deposit"] }
            async fn handle(&self, _message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
                let number = self.0.fetch_add(1, Ordering::SeqCst);
                let take = || {
                    let slot = StreamName::new(format!("slot-{number}")).unwrap();
                    Append::to(slot).expecting(message_store::ExpectedVersion::NoStream).message(NewMessage::new("Taken", Json::NULL))
                };
                if number < 20 {
                    context.store().append(take().into()).await?;
                }
                Ok(context.write("slot", take()).await?)
            }
        }

        let message = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let mut running = Consumer::new("account:command", Slots::default()).start(&store).await.unwrap();
        running.wait_for(message.global_position).await.unwrap();
        assert_eq!(running.stop().await.unwrap().of(OutcomeKind::Handled), 1);
    }

    async fn a_message_is_seen_without_a_wake_up_however_often_the_position_is_saved(store) {
        let faulty = FaultyStore::new(&store);
        faulty.lose_wake_ups();
        let silent: Arc<dyn MessageStore> = faulty;
        let probe = Arc::new(Probe::default());
        let consumer = Consumer::new("account:command", Shared(Arc::clone(&probe)));
        let mut consumer = consumer.save_after(1_000, Duration::from_millis(1)).start(&silent).await.unwrap();
        for _ in 0..3 {
            send_deposits(&store, "account:command", "1", 1).await;
            let seen = tokio::time::timeout(Duration::from_mins(1), consumer.wait_for(last_position(&store).await)).await;
            seen.expect("it never looks").unwrap();
        }
    }

    async fn a_save_whose_answer_is_lost_several_times_does_not_conflict_with_itself(store) {
        for in_a_row in 1..=4 {
            with_lost_answers_to_saves(&store, in_a_row, None).await.unwrap();
        }
    }

    async fn twin_when_each_save_has_an_id_of_its_own_it_is_taken_for_another_consumers(store) {
        let error = with_lost_answers_to_saves(&store, 2, Some(PlantedBug::NewIdAtEachSave)).await.unwrap_err();
        assert!(matches!(error, Error::PositionTaken { .. }), "{error}");
    }

    async fn messages_of_an_entity_come_in_order_while_other_entities_go_on(store) {
        eight_accounts(&store).await;
        let probe = Arc::new(Probe { held: Some(("3", Semaphore::new(0))), ..Probe::default() });
        let mut consumer =
            Consumer::new("account:command", Shared(Arc::clone(&probe))).concurrency(4).batch(10).start(&store).await.unwrap();
        // All other accounts are done, although the first message of account 3 still waits.
        while probe.seen.lock().unwrap().len() < 12 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held_at = messages_of(&store, "account:command").await[3].global_position;
        assert!(consumer.handled_through() < held_at, "the position must stay below what is not done");
        probe.held.as_ref().unwrap().1.add_permits(5);
        consumer.wait_for(last_position(&store).await).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().messages(), 40);

        let seen = probe.seen.lock().unwrap();
        for account in 0..8 {
            let positions: Vec<i64> =
                seen.iter().filter(|(entity, _)| *entity == account.to_string()).map(|(_, at)| *at).collect();
            assert_eq!(positions, [0, 1, 2, 3, 4], "account {account}");
        }
        assert!(probe.most_at_once.load(Ordering::SeqCst) > 1, "nothing ran at the same time");
    }

    async fn a_consumer_that_was_stopped_goes_on_where_it_was(store) {
        send_deposits(&store, "account:command", "1", 3).await;
        let start = async || Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        let mut consumer = start().await;
        consumer.wait_for(last_position(&store).await).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), 3);

        send_deposits(&store, "account:command", "1", 2).await;
        let mut consumer = start().await;
        consumer.wait_for(last_position(&store).await).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().messages(), 2, "nothing is delivered again after a stop");
        assert_eq!(balance(&store, "1").await, 5);
    }

    async fn a_consumer_that_was_broken_off_repeats_nothing_and_loses_nothing(store) {
        for _ in 0..3 {
            send_deposits(&store, "account:command", "1", 20).await;
            let consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
            while consumer.counts().messages() < 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(consumer);
        }
        let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        consumer.wait_for(last_position(&store).await).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        assert_eq!(balance(&store, "1").await, 60);
    }

    async fn a_message_that_cannot_be_handled_stops_the_consumer_and_is_named_and_not_skipped(store) {
        for account in ["1", "2", "1", "2"] {
            send_deposits(&store, "account:command", account, 1).await;
        }
        let failing = || Arc::new(Probe { failing: Some(("2", AtomicBool::new(true))), ..Probe::default() });
        let probe = failing();
        let bad = messages_of(&store, "account:command").await.remove(1);
        for attempt in 0..2 {
            let consumer = Consumer::new("account:command", Shared(Arc::clone(&probe))).start(&store).await.unwrap();
            let mut consumer = consumer;
            let error = consumer.wait_for(last_position(&store).await).await.unwrap_err();
            let Error::Handler { id, stream, cause, .. } = &error else { panic!("{error}") };
            assert_eq!((*id, stream), (bad.id, &bad.stream), "attempt {attempt}");
            assert!(cause.to_string().contains("a planted panic"), "{cause}");
            assert!(consumer.handled_through() < bad.global_position);
            consumer.stop().await.expect("what stopped it was said already");
        }
        probe.failing.as_ref().unwrap().1.store(false, Ordering::SeqCst);
        let mut consumer = Consumer::new("account:command", Shared(Arc::clone(&probe))).start(&store).await.unwrap();
        consumer.wait_for(last_position(&store).await).await.unwrap();
        let of_two = probe.seen.lock().unwrap().iter().filter(|(entity, _)| entity == "2").count();
        assert_eq!(of_two, 2);
    }

    async fn a_passing_fault_is_tried_again(store) {
        send_deposits(&store, "account:command", "1", 1).await;
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let mut consumer = Consumer::new("account:command", member(&shared, None)).start(&shared).await.unwrap();
        consumer.wait_for(last_position(&store).await).await.unwrap();
        faulty.refuse_appends(2);
        send_deposits(&store, "account:command", "1", 1).await;
        consumer.wait_for(last_position(&store).await).await.unwrap();
        assert_eq!(balance(&store, "1").await, 2);
    }

    async fn a_second_consumer_of_the_same_name_takes_over_and_the_first_stops_and_says_so(store) {
        let start = async || Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        let mut first = start().await;
        let mut second = start().await;
        send_deposits(&store, "account:command", "1", 1).await;
        let last = last_position(&store).await;
        second.wait_for(last).await.unwrap();
        let error = loop {
            // The consumer learns it at its next save.
            send_deposits(&store, "account:command", "1", 1).await;
            if let Err(error) = first.wait_for(last_position(&store).await).await {
                break error;
            }
        };
        assert!(matches!(error, Error::PositionTaken { .. }), "{error}");
        second.wait_for(last_position(&store).await).await.unwrap();
        let messages = messages_of(&store, "account:command").await.len() as u64;
        assert_eq!(balance(&store, "1").await, messages, "both handled some of them, and each took effect once");
    }

    async fn members_of_a_group_handle_everything_once_also_after_the_group_has_grown(store) {
        eight_accounts(&store).await;
        for size in [2, 3] {
            for number in 0..size {
                let group = GroupMember::new(number, size).unwrap();
                let consumer = Consumer::new("account:command", member(&store, None)).identifier("accounts").group(group);
                let mut consumer = consumer.batch(7).start(&store).await.unwrap();
                consumer.wait_for(last_position(&store).await).await.unwrap();
                let _ = consumer.stop().await.unwrap();
            }
        }
        for account in 0..8 {
            assert_eq!(balance(&store, &account.to_string()).await, 5, "account {account}");
        }
        let group = GroupMember::new(0, 2).unwrap();
        let nameless = Consumer::new("account:command", member(&store, None)).group(group).start(&store).await;
        assert!(matches!(nameless, Err(Error::Invalid { .. })));
    }

    async fn what_a_handler_writes_is_written_once_however_often_the_message_comes(store) {
        struct Greet;

        #[async_trait]
        impl Handler for Greet {
            fn name(&self) -> &'static str { "Greet" }
            fn message_types(&self) -> Vec<&'static str> { vec!["Deposit"] }
            async fn handle(&self, _message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
                let mail = StreamName::new("mail:command-1")?;
                // The time makes the text of every attempt different.
                let text = Json::encode(&std::time::SystemTime::now())?;
                let mut outcome = Outcome::Ignored;
                for write in ["first", "second"] {
                    let message = NewMessage::new("Send", text.clone());
                    outcome = context.write(write, Append::to(mail.clone()).message(message)).await?;
                }
                Ok(outcome)
            }
        }

        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        for delivery in 0..3 {
            let outcome = Greet.handle(&deposit, &Context::new(&store, Greet.name(), &deposit)).await.unwrap();
            assert_eq!(matches!(outcome, Outcome::AlreadyProcessed { .. }), delivery > 0, "{outcome}");
        }
        let mail = messages_of(&store, "mail:command").await;
        assert_eq!(mail.len(), 2);
        let metadata = mail[0].decode_metadata();
        assert!(metadata.follows(&deposit, store.store_id()));
        assert_eq!(metadata.cause(store.store_id()), Some(deposit.sequence(store.store_id())));
    }

    async fn the_start_up_report_names_the_category_the_handler_and_the_position(store) {
        let consumer = Consumer::new("account:command", member(&store, None)).concurrency(3).start(&store).await.unwrap();
        let report = consumer.startup_report().to_string();
        for said in ["account:command", "account (Deposit, DepositOnce, Look)", "position 0", "account:command+position", "3 entities"] {
            assert!(report.contains(said), "{report} should say {said}");
        }
        let not_a_category = Consumer::new("account-1", member(&store, None)).start(&store).await;
        assert!(matches!(not_a_category, Err(Error::Invalid { .. })));
    }
}
