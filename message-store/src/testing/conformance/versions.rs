//! Rules of expected versions, of one stream and of several.

use super::given::{append, is_empty, message, stream, to, types_in, version};
use super::{Rule, Subject};
use crate::{Error, ExpectedVersion, MessageStore, MessageStoreExt as _, Position, Result, Version};

const fn exact(position: i64) -> ExpectedVersion {
    ExpectedVersion::Exact(Position::new(position))
}

/// Appends to a stream of two messages at this version.
async fn append_to_two(store: &dyn MessageStore, expected: ExpectedVersion) -> Result<crate::Appended> {
    append(store, "account-1", &["A", "B"]).await;
    store.append_to(&stream("account-1"), expected, vec![message("C")]).await
}

fn assert_refused(result: &Result<crate::Appended>) {
    assert!(matches!(result, Err(Error::WrongExpectedVersion { .. })), "{result:?}");
}

contract! {$ versions versions_tests {
    /// The expected versions are no stream, exact and any.
    async fn an_expected_version_that_holds_lets_the_append_through(subject) {
        let store = subject.store();
        for expected in [ExpectedVersion::NoStream, exact(0), ExpectedVersion::Any] {
            store.append_to(&stream("account-1"), expected, vec![message("A")]).await.unwrap();
        }
        assert_eq!(types_in(&*store, "account-1").await, ["A", "A", "A"]);
    }

    async fn an_append_that_expects_no_stream_is_refused_where_there_is_one(subject) {
        assert_refused(&append_to_two(&*subject.store(), ExpectedVersion::NoStream).await);
    }

    async fn an_append_that_expects_an_earlier_version_is_refused(subject) {
        assert_refused(&append_to_two(&*subject.store(), exact(0)).await);
    }

    async fn an_append_that_expects_a_later_version_is_refused(subject) {
        assert_refused(&append_to_two(&*subject.store(), exact(2)).await);
    }

    async fn an_append_that_expects_a_version_is_refused_where_there_is_no_stream(subject) {
        let store = subject.store();
        assert_refused(&store.append_to(&stream("account-1"), exact(0), vec![message("A")]).await);
    }

    async fn a_refusal_names_the_stream_and_what_was_expected_and_what_is(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A", "B"]).await;
        for (name, expected, actual) in [
            ("account-1", ExpectedVersion::NoStream, version(1)),
            ("account-1", exact(0), version(1)),
            ("account-1", exact(7), version(1)),
            ("account-2", exact(0), Version::NO_STREAM),
        ] {
            // The stream with the wrong version is not the first one of the request.
            let request = vec![to("other-1", &["X"]), to(name, &["C"]).expecting(expected)];
            match store.append(request.into()).await {
                Err(Error::WrongExpectedVersion { stream, expected: named, actual: found }) => {
                    assert_eq!((stream.as_str(), named, found), (name, expected, actual));
                }
                other => panic!("{name} {expected}: {other:?}"),
            }
        }
    }

    async fn a_refused_append_writes_nothing(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let refused = store.append(to("account-1", &["B", "C"]).expecting(exact(7)).into()).await;
        assert!(refused.is_err());
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
    }

    /// The streams are of two categories.
    async fn an_append_to_several_streams_is_written_to_all_of_them(subject) {
        let store = subject.store();
        let request = vec![to("account-1", &["A", "B"]), to("transaction-1", &["C"]), to("account-2", &["D"])];
        store.append(request.into()).await.unwrap();
        for (name, types) in [("account-1", "AB"), ("transaction-1", "C"), ("account-2", "D")] {
            assert_eq!(types_in(&*store, name).await.concat(), types, "{name}");
        }
    }

    async fn an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them(subject) {
        let store = subject.store();
        append(&*store, "transaction-1", &["A"]).await;
        let refusing = to("transaction-1", &["C"]).expecting(ExpectedVersion::NoStream);
        let request = vec![to("account-1", &["B"]), refusing, to("account-2", &["D"])];
        assert!(store.append(request.into()).await.is_err());
        assert!(is_empty(&*store, "account-1").await && is_empty(&*store, "account-2").await);
        assert_eq!(types_in(&*store, "transaction-1").await, ["A"]);
    }

    async fn each_stream_of_an_append_is_held_to_its_own_version(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let request = |one: ExpectedVersion, two: ExpectedVersion| {
            vec![to("account-1", &["B"]).expecting(one), to("account-2", &["C"]).expecting(two)]
        };
        assert_refused(&store.append(request(exact(0), exact(0)).into()).await);
        assert_refused(&store.append(request(ExpectedVersion::NoStream, ExpectedVersion::NoStream).into()).await);
        store.append(request(exact(0), ExpectedVersion::NoStream).into()).await.unwrap();
    }
}}
