//! The same append again: message ids are unique for ever.

use futures_util::future::join_all;

use super::{Subject, append, message, stream, types_in};
use crate::testing::FaultyStore;
use crate::{
    Append, Error, ExpectedVersion, Json, MessageStore as _, MessageStoreExt as _, NewMessage, Position, Version,
};

fn deposited(amount: &str) -> NewMessage {
    NewMessage::new("Deposited", Json::parse(format!(r#"{{"amount":{amount},"to":"123"}}"#)).unwrap())
}

contract! {$ repeating repeating_tests {
    /// To one stream and to several.
    async fn the_same_append_again_returns_the_first_positions(subject) {
        let store = subject.store();
        let appends = vec![
            Append::to(stream("account-1")).message(deposited("1")).message(deposited("2")),
            Append::to(stream("transaction-1")).message(deposited("3")),
        ];
        let first = store.append(appends.clone().into()).await.unwrap();
        append(&*store, "account-1", &["Between"]).await;
        let again = store.append(appends.into()).await.unwrap();
        assert!(!first.already_written && again.already_written);
        assert_eq!(first.written, again.written);
        assert_eq!(types_in(&*store, "account-1").await, ["Deposited", "Deposited", "Between"]);
    }

    /// What a writer does that never heard the first answer.
    async fn the_same_append_again_returns_the_first_positions_also_when_the_expected_version_is_stale(subject) {
        let store = subject.store();
        let (account, deposited) = (stream("account-1"), deposited("1"));
        let append = || store.append_to(&account, ExpectedVersion::NoStream, vec![deposited.clone()]);
        let first = append().await.unwrap();
        let again = append().await.unwrap();
        assert!(again.already_written);
        assert_eq!(first.written, again.written);
    }

    /// Key order, white space, the writing of numbers; and metadata, which says where a message comes from, not what it says.
    async fn the_same_data_written_differently_is_the_same(subject) {
        let store = subject.store();
        let message = NewMessage::new("T", Json::parse(r#"{"a":7.50,"b":[1,"é"]}"#).unwrap());
        store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![message.clone()]).await.unwrap();
        let mut rewritten = message;
        rewritten.data = Json::parse(r#" { "b" : [ 1.0 , "\u00e9" ], "a" : 7.5 } "#).unwrap();
        rewritten.metadata = Json::parse(r#"{"properties":{"attempt":2}}"#).unwrap();
        let again = store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![rewritten]).await.unwrap();
        assert!(again.already_written);
    }

    /// Other data, another type, another stream.
    async fn the_same_id_with_other_content_is_a_conflict(subject) {
        let store = subject.store();
        let first = deposited("1");
        store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![first.clone()]).await.unwrap();
        let other_data = deposited("2").with_id(first.id);
        let other_type = NewMessage { message_type: "Withdrawn".into(), ..first.clone() };
        for (stream_name, message, reason) in [
            ("account-1", other_data, "data"),
            ("account-1", other_type, "Deposited"),
            ("account-2", first.clone(), "account-1"),
            ("other-1", first.clone(), "account-1"),
        ] {
            let fresh = deposited("9");
            match store.append_to(&stream(stream_name), ExpectedVersion::Any, vec![fresh, message]).await {
                Err(Error::IdConflict { id, stream, reason: named }) => {
                    assert_eq!((id, stream.as_str()), (first.id, stream_name));
                    assert!(named.contains(reason), "{named} should name {reason}");
                }
                other => panic!("{stream_name}: {other:?}"),
            }
        }
        assert_eq!(types_in(&*store, "account-1").await, ["Deposited"], "nothing beside the conflict was written");
        assert_eq!(store.version(&stream("account-2")).await.unwrap(), Version::NO_STREAM);
    }

    /// A retry with one message more or less is not a retry.
    async fn some_of_the_ids_are_a_conflict_and_nothing_is_written(subject) {
        let store = subject.store();
        let (first, second) = (message("A"), message("B"));
        store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![first.clone()]).await.unwrap();
        let result = store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![first.clone(), second.clone()]).await;
        assert!(matches!(&result, Err(Error::IdConflict { id, .. }) if *id == first.id), "{result:?}");
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
        assert!(store.message(second.id).await.unwrap().is_none());
    }

    /// 16 of them.
    async fn the_same_append_from_many_writers_at_once_is_written_once(subject) {
        let store = subject.store();
        let deposited = deposited("1");
        let writers = (0..16).map(|_| {
            let (store, message) = (store.clone(), deposited.clone());
            async move { store.append_to(&stream("account-1"), ExpectedVersion::NoStream, vec![message]).await.unwrap() }
        });
        let results = join_all(writers).await;
        assert_eq!(results.iter().filter(|appended| !appended.already_written).count(), 1);
        assert!(results.iter().all(|appended| appended.written == results[0].written));
        assert_eq!(types_in(&*store, "account-1").await, ["Deposited"]);
    }

    /// No lock of a category covers both writers: the unique id decides, and the loser is told.
    async fn an_id_that_two_categories_race_for_is_given_once(subject) {
        let store = subject.store();
        for round in 0..10 {
            let deposited = deposited("1");
            let writers = ["left", "right"].map(|category| {
                let (store, message) = (store.clone(), deposited.clone());
                let stream = stream(&format!("{category}-{round}"));
                async move { store.append_to(&stream, ExpectedVersion::Any, vec![message]).await }
            });
            let results = join_all(writers).await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
            assert!(results.iter().any(|result| matches!(result, Err(Error::IdConflict { .. }))), "{results:?}");
        }
    }

    /// The append was committed, the writer cannot know, and sends the same again.
    async fn a_lost_answer_is_settled_by_the_same_append_again(subject) {
        let store = FaultyStore::new(&subject.store());
        store.lose_answers(1);
        let append = vec![Append::to(stream("account-1")).expecting(ExpectedVersion::NoStream).message(deposited("1"))];
        let lost = store.append(append.clone().into()).await;
        assert!(matches!(&lost, Err(error @ Error::CommitUnknown { .. }) if error.is_transient()), "{lost:?}");
        let again = store.append(append.into()).await.unwrap();
        assert!(again.already_written);
        assert_eq!(again.written[0].position, Position::FIRST);
        assert_eq!(types_in(&*store, "account-1").await, ["Deposited"]);
    }
}}
