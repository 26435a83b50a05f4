//! Rules of id conflicts: an id that was used before cannot be used for another message.

use super::given::{append_one, is_empty, message, stream, types_in};
use super::{Rule, Subject};
use crate::{Append, Appended, Error, Json, MessageStore, NewMessage, Result};

fn deposited(amount: &str) -> NewMessage {
    NewMessage::new("Deposited", Json::parse(format!(r#"{{"amount":{amount}}}"#)).unwrap())
}

/// Appends a message, and then the same message together with a new one.
async fn append_again_with_a_fresh_one(store: &dyn MessageStore, name: &str) -> (NewMessage, Result<Appended>) {
    let first = deposited("1");
    append_one(store, "account-1", first.clone()).await;
    let append = Append::to(stream(name)).messages([message("Fresh"), first.clone()]);
    (first, store.append(append.into()).await)
}

fn assert_conflict(result: &Result<Appended>) {
    assert!(matches!(result, Err(Error::IdConflict { .. })), "{result:?}");
}

contract! {$ conflicts conflicts_tests {
    /// The other data may differ by less than a float can represent.
    async fn an_id_again_with_other_data_is_a_conflict(subject) {
        let store = subject.store();
        let first = deposited("12345678901234567890.10");
        append_one(&*store, "account-1", first.clone()).await;
        for amount in ["7", "12345678901234567890.11"] {
            let other = deposited(amount).with_id(first.id);
            assert_conflict(&store.append(Append::to(stream("account-1")).message(other).into()).await);
        }
    }

    async fn an_id_again_with_another_type_is_a_conflict(subject) {
        let store = subject.store();
        let first = deposited("1");
        append_one(&*store, "account-1", first.clone()).await;
        let other = NewMessage { message_type: "Withdrawn".into(), ..first };
        assert_conflict(&store.append(Append::to(stream("account-1")).message(other).into()).await);
    }

    /// The other stream may be of the same category or of another one.
    async fn an_id_again_in_another_stream_is_a_conflict(subject) {
        let store = subject.store();
        let first = deposited("1");
        append_one(&*store, "account-1", first.clone()).await;
        for name in ["account-2", "other-1"] {
            assert_conflict(&store.append(Append::to(stream(name)).message(first.clone()).into()).await);
        }
    }

    /// The difference is in the data, the type or the stream.
    async fn a_conflict_names_the_id_and_the_stream_and_the_difference(subject) {
        let store = subject.store();
        let first = deposited("1");
        append_one(&*store, "account-1", first.clone()).await;
        let other_type = NewMessage { message_type: "Withdrawn".into(), ..first.clone() };
        for (name, other, difference) in [
            ("account-1", deposited("2").with_id(first.id), "data"),
            ("account-1", other_type, "Deposited"),
            ("account-2", first.clone(), "account-1"),
        ] {
            match store.append(Append::to(stream(name)).message(other).into()).await {
                Err(Error::IdConflict { id, stream, reason }) => {
                    assert_eq!((id, stream.as_str()), (first.id, name));
                    assert!(reason.contains(difference), "{reason} should name {difference}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    async fn a_conflict_writes_nothing(subject) {
        let store = subject.store();
        let (_, result) = append_again_with_a_fresh_one(&*store, "account-2").await;
        assert!(result.is_err());
        assert_eq!(types_in(&*store, "account-1").await, ["Deposited"]);
        assert!(is_empty(&*store, "account-2").await);
    }

    /// An append with one message more is not the same append.
    async fn an_append_of_which_a_part_was_written_before_is_a_conflict(subject) {
        let (first, result) = append_again_with_a_fresh_one(&*subject.store(), "account-1").await;
        assert!(matches!(&result, Err(Error::IdConflict { id, .. }) if *id == first.id), "{result:?}");
    }

    async fn an_append_of_which_a_part_was_written_before_writes_nothing(subject) {
        let store = subject.store();
        let (first, fresh) = (message("A"), message("B"));
        append_one(&*store, "account-1", first.clone()).await;
        let result = store.append(Append::to(stream("account-1")).messages([first, fresh.clone()]).into()).await;
        assert!(result.is_err());
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
        assert!(store.message(fresh.id).await.unwrap().is_none());
    }

    async fn an_id_that_a_refused_append_named_is_free(subject) {
        let store = subject.store();
        let first = deposited("1");
        append_one(&*store, "account-1", first.clone()).await;
        let fresh = message("Fresh");
        let refused = Append::to(stream("account-2")).messages([fresh.clone(), first]);
        assert!(store.append(refused.into()).await.is_err());
        append_one(&*store, "account-3", fresh).await;
        assert_eq!(types_in(&*store, "account-3").await, ["Fresh"]);
    }
}}
