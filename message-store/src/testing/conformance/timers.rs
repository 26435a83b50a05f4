//! Rules of timers: what waits, what fires, and that it fires once.

use std::time::Duration;

use super::given::{self, is_empty, stream, to, types_in};
use super::waking::is_woken;
use super::{Rule, Subject};
use crate::store::{Due, IfWaiting, Timer, TimerChange, TimerChanged, TimerKey, TimerQuery, Timers};
use crate::{AppendRequest, Error, Json, MessageStore, Metadata, NewMessage, Timestamp};

/// The stream to which the messages of timers are written.
const TO: &str = "transfer:command-1";
/// Longer than any rule takes.
const LONG: Due = Due::After(Duration::from_hours(1));
const NOW: Due = Due::After(Duration::ZERO);

/// The timers of a store, if it has any.
fn timers_of(store: &dyn MessageStore) -> Option<&dyn Timers> {
    let timers = store.timers();
    if timers.is_none() {
        println!("not checked: timers: the store has none");
    }
    timers
}

fn key(name: &str) -> TimerKey {
    TimerKey::new(stream("transfer-1"), name)
}

/// A timer of this name, whose message has this type.
fn set(name: &str, due: Due, message_type: &str) -> TimerChange {
    TimerChange::set(key(name), due, stream(TO), given::message(message_type))
}

fn set_if(change: TimerChange, if_waiting: IfWaiting) -> TimerChange {
    match change {
        TimerChange::Set { key, due, to, message, .. } => TimerChange::Set { key, due, to, message, if_waiting },
        other => other,
    }
}

async fn change(timers: &dyn Timers, one: TimerChange) -> TimerChanged {
    timers.change(vec![one]).await.unwrap()[0]
}

async fn all(timers: &dyn Timers) -> Vec<Timer> {
    timers.list(TimerQuery::new()).await.unwrap()
}

async fn due(timers: &dyn Timers) -> Vec<Timer> {
    timers.list(TimerQuery::new().due_within(Duration::ZERO)).await.unwrap()
}

fn names(timers: &[Timer]) -> Vec<&str> {
    timers.iter().map(|timer| timer.key.name.as_str()).collect()
}

fn types(timers: &[Timer]) -> Vec<&str> {
    timers.iter().map(|timer| timer.message.message_type.as_str()).collect()
}

/// Fires the timers that are due, and returns their number.
async fn fire_due(timers: &dyn Timers) -> usize {
    timers.fire(&due(timers).await).await.unwrap()
}

contract! {$ timers timers_tests {
    async fn a_timer_that_is_due_becomes_its_message_once(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let followed = Metadata::new().correlation(&stream("case-7"));
        let message = NewMessage::new("TimeOut", Json::parse(r#"{"n":1}"#).unwrap()).with_metadata(&followed).unwrap();
        let set = TimerChange::set(key("a"), NOW, stream(TO), message.clone());
        assert_eq!(change(timers, set).await, TimerChanged::Set);
        let waiting = due(timers).await;
        assert_eq!((waiting[0].key.clone(), &waiting[0].to, waiting[0].id()), (key("a"), &stream(TO), message.id));
        assert_eq!(timers.fire(&waiting).await.unwrap(), 1);
        assert_eq!(timers.fire(&waiting).await.unwrap(), 0);
        assert!(all(timers).await.is_empty());
        let written = store.message(message.id).await.unwrap().unwrap();
        assert_eq!((written.stream.as_str(), written.message_type.as_str()), (TO, "TimeOut"));
        assert!(written.data.same_as(&message.data));
        assert_eq!(written.decode_metadata().correlation_stream_name.as_deref(), Some("case-7"));
        assert_eq!(types_in(&*store, TO).await, ["TimeOut"]);
    }

    async fn a_timer_that_is_not_due_waits(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        timers.change(vec![set("long", LONG, "T"), set("now", NOW, "T")]).await.unwrap();
        let found = all(timers).await;
        assert_eq!((names(&found), names(&due(timers).await)), (vec!["now", "long"], vec!["now"]));
        assert!(found[0].is_due() && !found[1].is_due());
        assert_eq!(fire_due(timers).await, 1);
        assert_eq!(names(&all(timers).await), ["long"]);
        let within = TimerQuery::new().due_within(Duration::from_hours(2));
        assert_eq!(names(&timers.list(within).await.unwrap()), ["long"]);
    }

    async fn a_delay_counts_from_the_change_by_the_stores_clock(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let before = store.now().await.unwrap();
        change(timers, set("a", LONG, "T")).await;
        let after = store.now().await.unwrap();
        let due = all(timers).await[0].due;
        let hour = Duration::from_hours(1);
        // Times are kept to microseconds.
        assert!(due >= before + hour - Duration::from_micros(1) && due <= after + hour, "{before} {due} {after}");
    }

    async fn timers_are_listed_by_the_time_at_which_they_are_due(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let at = |text: &str| Due::At(text.parse::<Timestamp>().unwrap());
        let other = TimerKey::new(stream("order-1"), "a");
        timers.change(vec![
            set("c", at("2001-01-01T00:00:03Z"), "T"),
            set("a", at("2001-01-01T00:00:01.000002Z"), "T"),
            set("b", at("2001-01-01T00:00:01.000001Z"), "T"),
            TimerChange::set(other, at("2001-01-01T00:00:02Z"), stream(TO), given::message("T")),
        ]).await.unwrap();
        let found = all(timers).await;
        assert_eq!(names(&found), ["b", "a", "a", "c"]);
        assert_eq!(found[0].due, "2001-01-01T00:00:01.000001Z".parse().unwrap());
        let of_transfers = TimerQuery::new().of_category(given::category("transfer"));
        assert_eq!(names(&timers.list(of_transfers.clone()).await.unwrap()), ["b", "a", "c"]);
        let page = timers.list(of_transfers.clone().limit(2)).await.unwrap();
        assert_eq!(names(&page), ["b", "a"]);
        assert_eq!(names(&timers.list(of_transfers.after(&page[1])).await.unwrap()), ["c"]);
    }

    async fn at_most_one_timer_of_a_key_waits(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        assert_eq!(change(timers, set("a", LONG, "First")).await, TimerChanged::Set);
        let first_due = all(timers).await[0].due;
        assert_eq!(change(timers, set_if(set("a", NOW, "Kept"), IfWaiting::Keep)).await, TimerChanged::Kept);
        assert_eq!(types(&all(timers).await), ["First"]);
        let second = set_if(set("a", NOW, "Second"), IfWaiting::KeepDue);
        assert_eq!(change(timers, second).await, TimerChanged::Replaced);
        let found = all(timers).await;
        assert_eq!((types(&found), found[0].due), (vec!["Second"], first_due));
        assert_eq!(change(timers, set("a", NOW, "Third")).await, TimerChanged::Replaced);
        assert_eq!(fire_due(timers).await, 1);
        assert_eq!(types_in(&*store, TO).await, ["Third"]);
        assert_eq!(change(timers, set("a", NOW, "Fourth")).await, TimerChanged::Set);
        assert_eq!(fire_due(timers).await, 1);
    }

    async fn a_timer_that_is_set_again_with_its_message_is_the_same_timer(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let set = set("a", LONG, "T");
        change(timers, set.clone()).await;
        let first = all(timers).await;
        assert_eq!(change(timers, set.clone()).await, TimerChanged::Kept);
        assert_eq!(all(timers).await[0].due, first[0].due);
        assert_eq!(timers.fire(&first).await.unwrap(), 1);
        assert_eq!(change(timers, set).await, TimerChanged::Fired);
        assert!(all(timers).await.is_empty());
    }

    async fn a_timer_is_moved_and_cancelled_by_its_key(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let (moved, cancel) = (TimerChange::Move { key: key("a"), due: NOW }, TimerChange::Cancel { key: key("b") });
        assert_eq!(change(timers, moved.clone()).await, TimerChanged::NotWaiting);
        assert_eq!(change(timers, cancel.clone()).await, TimerChanged::NotWaiting);
        timers.change(vec![set("a", LONG, "A"), set("b", NOW, "B")]).await.unwrap();
        let results = timers.change(vec![moved, cancel.clone(), cancel]).await.unwrap();
        assert_eq!(results, [TimerChanged::Moved, TimerChanged::Cancelled, TimerChanged::NotWaiting]);
        assert_eq!(fire_due(timers).await, 1);
        assert_eq!(types_in(&*store, TO).await, ["A"]);
    }

    async fn a_timer_that_changed_after_it_was_listed_does_not_fire(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        for name in ["moved", "replaced", "cancelled", "unchanged"] {
            change(timers, set(name, NOW, name)).await;
        }
        let listed = due(timers).await;
        timers.change(vec![
            TimerChange::Move { key: key("moved"), due: LONG },
            set("replaced", LONG, "Other"),
            TimerChange::Cancel { key: key("cancelled") },
        ]).await.unwrap();
        assert_eq!(timers.fire(&listed).await.unwrap(), 1);
        assert_eq!(types_in(&*store, TO).await, ["unchanged"]);
        let waiting = all(timers).await;
        assert_eq!(waiting.len(), 2);
    }

    async fn a_timer_whose_message_was_written_before_is_removed(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let message = given::message("T");
        change(timers, TimerChange::set(key("a"), NOW, stream(TO), message.clone())).await;
        given::append_one(&*store, TO, message).await;
        assert_eq!(fire_due(timers).await, 1);
        assert!(all(timers).await.is_empty());
        assert_eq!(types_in(&*store, TO).await, ["T"]);
    }

    async fn a_timer_whose_id_another_message_took_fires_under_another_id(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let message = given::message("T");
        timers.change(vec![
            TimerChange::set(key("a"), NOW, stream(TO), message.clone()),
            set("b", NOW, "B"),
        ]).await.unwrap();
        let other = NewMessage { message_type: "Other".to_owned(), ..message };
        given::append_one(&*store, "elsewhere-1", other).await;
        while !all(timers).await.is_empty() {
            fire_due(timers).await;
        }
        let mut written = types_in(&*store, TO).await;
        written.sort();
        assert_eq!(written, ["B", "T"]);
    }

    async fn a_timer_whose_id_another_message_has_fires_under_another_id(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let message = given::message("T");
        let other = NewMessage { message_type: "Other".to_owned(), ..message.clone() };
        given::append_one(&*store, "elsewhere-1", other).await;
        let set = TimerChange::set(key("a"), NOW, stream(TO), message);
        assert_eq!(change(timers, set).await, TimerChanged::Set);
        while !all(timers).await.is_empty() {
            fire_due(timers).await;
        }
        assert_eq!(types_in(&*store, TO).await, ["T"]);
    }

    async fn the_content_of_a_timers_message_is_redacted_only_if_it_has_the_id(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        change(timers, set("a", LONG, "A")).await;
        let listed = all(timers).await.remove(0);
        let redact = TimerChange::Redact {
            key: key("a"),
            id: listed.id(),
            data: Json::parse(r#"{"redacted":true}"#).unwrap(),
            metadata: Json::parse(r#"{"properties":{"redacted":true}}"#).unwrap(),
        };
        assert_eq!(change(timers, redact.clone()).await, TimerChanged::Redacted);
        let redacted = all(timers).await.remove(0);
        assert!(redacted.message.data.text().contains("redacted"), "{redacted:?}");
        assert!(redacted.message.metadata.text().contains("redacted"), "{redacted:?}");
        assert_eq!((redacted.id(), redacted.due, &redacted.to), (listed.id(), listed.due, &listed.to));
        // Another message waits under the key, or none does.
        change(timers, set("a", LONG, "B")).await;
        assert_eq!(change(timers, redact.clone()).await, TimerChanged::NotWaiting);
        assert!(!all(timers).await[0].message.data.text().contains("redacted"));
        change(timers, TimerChange::Cancel { key: key("a") }).await;
        assert_eq!(change(timers, redact).await, TimerChanged::NotWaiting);
        assert!(all(timers).await.is_empty());
    }

    async fn timers_of_an_append_change_with_its_messages(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        change(timers, set("b", LONG, "B")).await;
        let request = AppendRequest::from(to("transfer-1", &["Begun"]))
            .timer(set("a", NOW, "A"))
            .timer(TimerChange::Cancel { key: key("b") });
        store.append(request).await.unwrap();
        assert_eq!(names(&all(timers).await), ["a"]);
        assert_eq!(types_in(&*store, "transfer-1").await, ["Begun"]);
    }

    async fn a_refused_append_changes_no_timer(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let refused = to("transfer-1", &["Begun"]).expecting(given::version(3));
        let refused = store.append(AppendRequest::from(refused).timer(set("a", NOW, "A"))).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        assert!(all(timers).await.is_empty());
    }

    async fn a_repeated_append_changes_no_timer(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let request = AppendRequest::from(to("transfer-1", &["Begun"])).timer(set("a", NOW, "A"));
        store.append(request.clone()).await.unwrap();
        change(timers, TimerChange::Cancel { key: key("a") }).await;
        assert!(store.append(request).await.unwrap().already_written);
        assert!(all(timers).await.is_empty());
    }

    async fn a_timer_that_a_store_cannot_write_is_refused(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        let large = given::sized(store.limits().message_bytes + 1);
        let set = TimerChange::set(key("a"), NOW, stream(TO), large);
        let refused = timers.change(vec![set.clone()]).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        let refused = store.append(AppendRequest::from(to("transfer-1", &["Begun"])).timer(set)).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        assert!(all(timers).await.is_empty() && is_empty(&*store, "transfer-1").await);
    }

    async fn timers_fire_once_for_several_processes(subject) {
        let store = subject.store();
        if timers_of(&*store).is_none() {
            return;
        }
        let other = match subject.reopen().await {
            Ok(other) => other,
            Err(cannot) => return cannot.say("timers that several processes fire"),
        };
        let timers = store.timers().unwrap();
        for number in 0..40 {
            change(timers, set(&number.to_string(), NOW, &number.to_string())).await;
        }
        let listed = due(timers).await;
        let (one, two) = (store.timers().unwrap(), other.timers().unwrap());
        let fired = tokio::join!(one.fire(&listed[..30]), two.fire(&listed[10..]));
        let mut total = fired.0.unwrap() + fired.1.unwrap();
        total += fire_due(timers).await;
        assert_eq!(total, 40);
        assert_eq!(types_in(&*store, TO).await.len(), 40);
    }

    async fn a_message_of_a_timer_wakes_readers(subject) {
        let store = subject.store();
        let Some(timers) = timers_of(&*store) else { return };
        if let Err(cannot) = subject.can_wake() {
            return cannot.say("the wake-up by a timer");
        }
        change(timers, set("a", NOW, "T")).await;
        let listed = due(timers).await;
        let wake_up = store.wake_up(Some(&given::category("transfer:command"))).await.unwrap();
        assert_eq!(timers.fire(&listed).await.unwrap(), 1);
        assert!(is_woken(subject, wake_up).await);
    }

    async fn a_store_without_timers_refuses_them(subject) {
        let store = subject.store();
        if store.timers().is_some() {
            return;
        }
        let refused = store.append(AppendRequest::from(to("transfer-1", &["Begun"])).timer(set("a", NOW, "A"))).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        assert!(is_empty(&*store, "transfer-1").await);
    }
}}
