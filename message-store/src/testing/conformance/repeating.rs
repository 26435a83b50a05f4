//! Rules of repeats: the same append again is written once, and gets the first answer.

use futures_util::future::join_all;

use super::given::{append, append_one, is_empty, stream, to, types_in};
use super::{Rule, Subject};
use crate::testing::FaultyStore;
use crate::{Append, Appended, Error, ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, Position};

/// The results of two appends of the same messages to two streams, with another append between them.
async fn append_twice(store: &dyn MessageStore) -> (Appended, Appended) {
    let request = vec![to("account-1", &["A", "B"]), to("transaction-1", &["C"])];
    let first = store.append(request.clone().into()).await.unwrap();
    append(store, "account-1", &["Between"]).await;
    (first, store.append(request.into()).await.unwrap())
}

contract! {$ repeating repeating_tests {
    async fn the_same_append_again_returns_the_first_places(subject) {
        let (first, again) = append_twice(&*subject.store()).await;
        assert_eq!(again.written, first.written);
    }

    async fn the_same_append_again_is_marked_as_already_written(subject) {
        let (first, again) = append_twice(&*subject.store()).await;
        assert!(!first.already_written && again.already_written);
    }

    async fn the_same_append_again_writes_nothing(subject) {
        let store = subject.store();
        append_twice(&*store).await;
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B", "Between"]);
        assert_eq!(types_in(&*store, "transaction-1").await, ["C"]);
    }

    /// The writer may not have received the first answer.
    async fn the_same_append_again_is_answered_also_where_its_expected_version_is_stale(subject) {
        let store = subject.store();
        let request = to("account-1", &["A"]).expecting(ExpectedVersion::NoStream);
        let first = store.append(request.clone().into()).await.unwrap();
        append(&*store, "account-1", &["B"]).await;
        let again = store.append(request.into()).await.unwrap();
        assert_eq!((again.already_written, again.written), (true, first.written));
    }

    /// The difference may be the order of keys, white space, escapes or the writing of numbers.
    async fn the_same_data_written_differently_is_the_same(subject) {
        let store = subject.store();
        let message = NewMessage::new("T", Json::parse(r#"{"a":7.50,"b":[1,"é"]}"#).unwrap());
        append_one(&*store, "account-1", message.clone()).await;
        let data = Json::parse(r#" { "b" : [ 1.0 , "\u00e9" ], "a" : 7.5 } "#).unwrap();
        let again = store.append(Append::to(stream("account-1")).message(NewMessage { data, ..message }).into()).await;
        assert!(again.unwrap().already_written);
    }

    /// Metadata describes the cause of a message, which a repeat may not share.
    async fn a_repeat_may_have_other_metadata(subject) {
        let store = subject.store();
        let message = NewMessage::new("T", Json::NULL);
        append_one(&*store, "account-1", message.clone()).await;
        let metadata = Json::parse(r#"{"properties":{"attempt":2}}"#).unwrap();
        let append = Append::to(stream("account-1")).message(NewMessage { metadata, ..message });
        assert!(store.append(append.into()).await.unwrap().already_written);
    }

    /// 16 writers append at the same time.
    async fn the_same_append_from_many_writers_at_once_is_written_once(subject) {
        let store = subject.store();
        let append = to("account-1", &["A"]).expecting(ExpectedVersion::NoStream);
        let results = join_all((0..16).map(|_| store.append(append.clone().into()))).await;
        let results: Vec<Appended> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(results.iter().filter(|appended| !appended.already_written).count(), 1);
        assert!(results.iter().all(|appended| appended.written == results[0].written));
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
    }

    /// No category lock covers both writers, so the unique id decides, and the second writer is refused.
    async fn an_id_that_two_categories_race_for_is_given_once(subject) {
        let store = subject.store();
        for round in 0..10 {
            let message = NewMessage::new("A", Json::NULL);
            let writers = ["left", "right"].map(|category| {
                let append = Append::to(stream(&format!("{category}-{round}"))).message(message.clone());
                store.append(append.into())
            });
            let results = join_all(writers).await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
            assert!(results.iter().any(|result| matches!(result, Err(Error::IdConflict { .. }))), "{results:?}");
        }
    }

    /// The append was committed. The writer does not know that, and sends the same append again.
    async fn a_lost_answer_is_settled_by_the_same_append_again(subject) {
        let store = FaultyStore::new(&subject.store());
        store.lose_answers(1);
        let append = to("account-1", &["A"]).expecting(ExpectedVersion::NoStream);
        let settled = store.append_settled(append).await.unwrap();
        assert_eq!(settled.written[0].position, Position::FIRST);
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
    }

    /// A refused append uses up no id and no position.
    async fn a_refused_append_can_be_made_again(subject) {
        let store = subject.store();
        let append = to("account-1", &["A"]);
        let too_early = append.clone().expecting(ExpectedVersion::Exact(Position::FIRST));
        assert!(store.append(too_early.into()).await.is_err());
        assert!(is_empty(&*store, "account-1").await);
        let appended = store.append(append.into()).await.unwrap();
        assert!(!appended.already_written);
        assert_eq!(appended.written[0].position, Position::FIRST);
    }
}}
