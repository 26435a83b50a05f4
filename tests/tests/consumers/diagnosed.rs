//! A diagnosis names each trouble that was planted, and none in a sound store.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{Consumer, ElasticGroup, OnFailure, Pauses};
use message_store::operations::{Diagnosing, Trouble, TroubleKind};
use message_store::service::Service;
use message_store::store::{Due, TimerChange, TimerKey};
use message_store::testing::FaultyStore;
use message_store::{Append, Json, MessageStore, NewMessage, StreamName};
use message_store_tests::accounts::{member, send_deposits};
use message_store_tests::marked::Marked;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// Looks with no patience, so that a trouble counts at once.
async fn look(store: &Store) -> Vec<Trouble> {
    Diagnosing::of(store).patience(Duration::ZERO).troubles().await.unwrap()
}

fn kinds(troubles: &[Trouble]) -> Vec<&'static str> {
    troubles.iter().map(|trouble| trouble.kind.name()).collect()
}

/// The only trouble must be of this kind, and name this in its mend.
async fn assert_only(store: &Store, kind: TroubleKind, mend: &str) {
    let troubles = look(store).await;
    assert_eq!(kinds(&troubles), [kind.name()], "{troubles:?}");
    assert!(troubles[0].mend.contains(mend), "{}", troubles[0]);
}

async fn append(store: &Store, stream: &str, message: NewMessage) {
    store.append(Append::to(StreamName::new(stream).unwrap()).message(message).into()).await.unwrap();
}

/// A service of one consumer, which has handled everything and reports often.
async fn sound(store: &Store) -> message_store::service::ServiceHandle {
    let deposit = send_deposits(store, "account:command", "1", 3).await.remove(2);
    let service = Service::new(store).name("accounts").report_every(Duration::from_millis(10));
    let handle = service.consumer(Consumer::new("account:command", member(store, None))).start().await.unwrap();
    while handle.consumers()[0].handled_through() < deposit.global_position {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle
}

on_both_stores! {
    async fn nothing_is_wrong_with_a_sound_store(store) {
        let look = async |store: &Store| Diagnosing::of(store).troubles().await.unwrap();
        assert_eq!(look(&store).await, []);
        let handle = sound(&store).await;
        assert_eq!(look(&store).await, []);
        // A group without work, and a parked message that was resolved.
        let consumer = Consumer::new("account:command", member(&store, None)).identifier("g");
        handle.stop();
        handle.ended().await.unwrap();
        let group = consumer.elastic_group(ElasticGroup::new().slots(4)).start(&store).await.unwrap();
        while group.slots().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(look(&store).await, []);
        let _ = group.stop().await.unwrap();
        assert_eq!(look(&store).await, []);
    }

    async fn a_slot_without_an_owner_is_named(store) {
        let group = Consumer::new("account:command", member(&store, None)).identifier("g");
        let running = group.elastic_group(ElasticGroup::new().slots(4)).start(&store).await.unwrap();
        while running.slots().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = running.stop().await.unwrap();
        assert_eq!(kinds(&look(&store).await), [""; 0], "it has no messages to handle");
        send_deposits(&store, "account:command", "1", 1).await;
        assert_only(&store, TroubleKind::UnownedSlot, "groups slots --category account:command --identifier g").await;
    }

    async fn a_held_entity_is_named_with_the_letter_that_holds_it(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Hold).await;
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let mend = format!("dead-letters retry --category account:command {}", deposits[0].id);
        assert_only(&store, TroubleKind::HeldEntity, &mend).await;
    }

    async fn parked_messages_are_counted(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        assert_only(&store, TroubleKind::DeadLetters, "dead-letters list --category account:command").await;
    }

    async fn a_type_that_cannot_be_decoded_is_named(store) {
        append(&store, "account:command-1", NewMessage::new("Deposit", Json::parse(r#"{"amount":"much"}"#).unwrap())).await;
        let last = store.given_out(None).await.unwrap();
        let handler = Marked::new(&store, None);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(last).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        assert_only(&store, TroubleKind::Undecodable, "--error-class undecodable").await;
        assert!(look(&store).await[0].what.contains("Deposit"));
    }

    async fn a_store_that_is_behind_its_consumer_is_named(store) {
        append(&store, "account:command+position", NewMessage::new("Recorded", Json::parse(r#"{"position":999999,"stopped":true}"#).unwrap())).await;
        assert_only(&store, TroubleKind::StoreBehind, "identity rotate").await;
    }

    async fn a_message_that_ends_its_process_again_and_again_is_named(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let suspect = format!(r#"{{"position":0,"handedOutThrough":1,"suspect":{{"messageId":"{}","attempts":2}}}}"#, deposit.id);
        append(&store, "account:command+position", NewMessage::new("Recorded", Json::parse(suspect).unwrap())).await;
        let troubles = Diagnosing::of(&store).troubles().await.unwrap();
        assert_eq!(kinds(&troubles), [TroubleKind::PoisonLoop.name()]);
        assert!(troubles[0].mend.contains(&format!("get {}", deposit.id)), "{}", troubles[0]);
    }

    async fn clocks_that_differ_are_named(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.pass(Duration::from_mins(1));
        assert_only(&shared, TroubleKind::ClocksApart, "NTP").await;
    }

    async fn a_consumer_that_stands_still_or_is_paused_is_named(store) {
        let handle = sound(&store).await;
        handle.stop();
        handle.ended().await.unwrap();
        assert_eq!(kinds(&look(&store).await), [""; 0]);
        send_deposits(&store, "account:command", "1", 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_only(&store, TroubleKind::ConsumerStandsStill, "consumers reset --category account:command --to end").await;
        Pauses::of(&store, "account:command", None).unwrap().pause("a test").await.unwrap();
        assert_only(&store, TroubleKind::Paused, "consumers resume --category account:command").await;
    }

    async fn a_consumer_that_is_paused_and_has_never_run_is_named(store) {
        let pauses = Pauses::of(&store, "account:comand", Some("copy")).unwrap();
        pauses.pause("a test").await.unwrap();
        assert_only(&store, TroubleKind::Paused, "consumers resume --category account:comand --identifier copy").await;
        pauses.resume().await.unwrap();
        assert_eq!(kinds(&look(&store).await), [""; 0]);
    }

    async fn a_service_that_crashed_or_is_not_ready_is_named(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let handle = sound(&shared).await;
        faulty.set_unavailable(true);
        loop {
            let troubles = Diagnosing::of(&store).troubles().await.unwrap();
            if kinds(&troubles) == [TroubleKind::ServiceNotReady.name()] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        faulty.set_unavailable(false);
        // The process ends without a last report.
        let crashed = Json::parse(r#"{"name":"crashed","isReady":true,"process":7,"host":"h"}"#).unwrap();
        store.service_reports().unwrap().save_report(message_store::Uuid::now_v7(), &crashed).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let troubles = look(&store).await;
        let silent: Vec<&Trouble> = troubles.iter().filter(|trouble| trouble.what.contains("crashed (process 7 on h)")).collect();
        assert_eq!(silent[0].kind, TroubleKind::ServiceSilent);
        handle.stop();
        handle.ended().await.unwrap();
    }

    async fn a_service_that_has_failed_is_named_until_it_is_started_again(store) {
        let handle = sound(&store).await;
        append(&store, "account:command-1", NewMessage::new("Deposit", Json::parse(r#"{"amount":"much"}"#).unwrap())).await;
        handle.ended().await.unwrap_err();
        let troubles = Diagnosing::of(&store).troubles().await.unwrap();
        assert_eq!(kinds(&troubles), [TroubleKind::ServiceFailed.name()]);
        assert!(troubles[0].what.contains("Deposit") && troubles[0].mend.contains("consumers reset"), "{}", troubles[0]);
        let started = Json::parse(r#"{"name":"accounts","isReady":true,"process":7,"host":"h"}"#).unwrap();
        store.service_reports().unwrap().save_report(message_store::Uuid::now_v7(), &started).await.unwrap();
        assert_eq!(kinds(&Diagnosing::of(&store).troubles().await.unwrap()), [""; 0]);
    }

    async fn a_timer_that_nobody_fires_is_named(store) {
        let key = TimerKey::new(StreamName::new("account-1").unwrap(), "remind");
        let to = StreamName::new("account:command-1").unwrap();
        let set = TimerChange::set(key, Due::After(Duration::ZERO), to, NewMessage::new("Remind", Json::NULL));
        store.timers().unwrap().change(vec![set]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_only(&store, TroubleKind::TimersNotFired, "timers list").await;
    }
}
