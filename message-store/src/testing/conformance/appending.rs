//! Appending: positions, expected versions, atomicity, refusals.

use futures_util::future::join_all;

use super::{Subject, append, message, numbered, stream, types_in};
use crate::{
    Append, Error, ExpectedVersion, GlobalPosition, Json, MessageStoreExt as _, NewMessage, Position, StreamRead,
    Version,
};

contract! {$ appending appending_tests {
    /// Positions in the stream are gapless from 0; global positions rise; both come back for each message, in order.
    async fn each_message_gets_its_position_and_its_global_position(subject) {
        let store = subject.store();
        let first = append(&*store, "account-1", &["A", "B"]).await;
        let second = append(&*store, "account-1", &["C"]).await;
        let places: Vec<_> = first.written.iter().chain(&second.written).collect();
        assert_eq!(places.iter().map(|place| place.position.get()).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(places.is_sorted_by(|a, b| a.global_position < b.global_position));
        assert!(places[0].global_position >= GlobalPosition::FIRST);
        assert!(!first.already_written && !second.already_written);
        let read = store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        assert_eq!(read.len(), 3);
        for (message, place) in read.iter().zip(places) {
            assert_eq!((message.position, message.global_position), (place.position, place.global_position));
        }
    }

    /// No stream, exact and any.
    async fn an_expected_version_that_holds_lets_the_append_through(subject) {
        let store = subject.store();
        let account = stream("account-1");
        for expected in [ExpectedVersion::NoStream, ExpectedVersion::Exact(Position::FIRST), ExpectedVersion::Any] {
            store.append_to(&account, expected, vec![message("A")]).await.unwrap();
        }
        assert_eq!(store.version(&account).await.unwrap(), Version::at(Position::new(2)));
    }

    /// The error names the stream, what was expected and what is.
    async fn an_expected_version_that_does_not_hold_is_named_and_nothing_is_written(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A", "B"]).await;
        for (name, expected, actual) in [
            ("account-1", ExpectedVersion::NoStream, Version::at(Position::new(1))),
            ("account-1", ExpectedVersion::Exact(Position::new(0)), Version::at(Position::new(1))),
            ("account-1", ExpectedVersion::Exact(Position::new(2)), Version::at(Position::new(1))),
            ("account-2", ExpectedVersion::Exact(Position::new(0)), Version::NO_STREAM),
        ] {
            match store.append_to(&stream(name), expected, vec![message("C")]).await {
                Err(Error::WrongExpectedVersion { stream, expected: named, actual: found }) => {
                    assert_eq!((stream.as_str(), named, found), (name, expected, actual));
                }
                other => panic!("{name} {expected}: {other:?}"),
            }
        }
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B"]);
        assert_eq!(store.version(&stream("account-2")).await.unwrap(), Version::NO_STREAM);
    }

    /// Also over categories.
    async fn appends_to_several_streams_are_written_together_or_not_at_all(subject) {
        let store = subject.store();
        let pair = |expected| {
            vec![
                Append::to(stream("account-1")).message(message("A")).message(message("B")),
                Append::to(stream("transaction-1")).expecting(expected).message(message("C")),
            ]
        };
        let appended = store.append(pair(ExpectedVersion::NoStream).into()).await.unwrap();
        assert_eq!(appended.written.iter().map(|place| place.position.get()).collect::<Vec<_>>(), [0, 1, 0]);
        let refused = store.append(pair(ExpectedVersion::NoStream).into()).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B"], "the first stream must be as it was");
        assert_eq!(types_in(&*store, "transaction-1").await, ["C"]);
    }

    /// Optimistic concurrency, with 16 writers.
    async fn of_writers_that_expect_the_same_version_one_writes(subject) {
        let store = subject.store();
        let account = stream("account-1");
        append(&*store, "account-1", &["A"]).await;
        let writers = (0..16).map(|_| store.append_to(&account, Version::at(Position::FIRST), vec![message("B")]));
        let results = join_all(writers).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(
            results
                .iter()
                .filter_map(|result| result.as_ref().err())
                .all(|error| { matches!(error, Error::WrongExpectedVersion { .. }) })
        );
        assert_eq!(store.version(&account).await.unwrap(), Version::at(Position::new(1)));
    }

    /// 16 writers, at any version.
    async fn writers_of_one_stream_leave_no_gap(subject) {
        let store = subject.store();
        let account = stream("account-1");
        let writer = |writer: usize| {
            let (store, account) = (store.clone(), account.clone());
            async move {
                for number in 0..10 {
                    let messages = vec![numbered(writer), numbered(number)];
                    store.append_to(&account, ExpectedVersion::Any, messages).await.unwrap();
                }
            }
        };
        join_all((0..16).map(writer)).await;
        let messages = store.read_stream(&account, StreamRead::default()).await.unwrap();
        assert_eq!(messages.len(), 320);
        for (expected, message) in (0..).zip(&messages) {
            assert_eq!(message.position.get(), expected);
        }
        assert!(messages.is_sorted_by(|a, b| a.global_position < b.global_position));
    }

    /// Two categories, named in both orders.
    async fn opposite_orders_of_streams_do_not_deadlock(subject) {
        let store = subject.store();
        let writer = |writer: usize| {
            let store = store.clone();
            async move {
                for _ in 0..10 {
                    let mut appends = vec![
                        Append::to(stream("left-1")).message(numbered(writer)),
                        Append::to(stream("right-1")).message(numbered(writer)),
                    ];
                    if writer.is_multiple_of(2) {
                        appends.reverse();
                    }
                    store.append(appends.into()).await.unwrap();
                }
            }
        };
        join_all((0..8).map(writer)).await;
        for name in ["left-1", "right-1"] {
            assert_eq!(store.version(&stream(name)).await.unwrap().get(), 79, "{name}");
        }
    }

    /// Each refusal is typed, and leaves nothing behind.
    async fn what_cannot_be_stored_is_refused_and_nothing_is_written(subject) {
        let store = subject.store();
        let limit = store.limits().message_bytes;
        let sized = |bytes: usize| NewMessage::new("T", Json::encode(&"x".repeat(bytes - 3)).unwrap());
        let to = |messages: Vec<NewMessage>| vec![Append::to(stream("account-1")).messages(messages)];
        let twin = message("A");
        for (what, appends) in [
            ("no stream", vec![]),
            ("no message", to(vec![])),
            ("a type that is empty", to(vec![message("")])),
            ("a type with a NUL", to(vec![message("A\0")])),
            ("a type that is too long", to(vec![message(&"A".repeat(256))])),
            ("a message that is too large", to(vec![message("A"), sized(limit + 1)])),
            ("one id for two messages", to(vec![twin.clone(), twin])),
            ("one stream twice", [to(vec![message("A")]), to(vec![message("B")])].concat()),
        ] {
            match store.append(appends.into()).await {
                Err(Error::Invalid { .. } | Error::TooLarge { .. }) => {}
                other => panic!("{what}: {other:?}"),
            }
        }
        assert_eq!(store.version(&stream("account-1")).await.unwrap(), Version::NO_STREAM);
        store.append(to(vec![sized(limit)]).into()).await.expect("a message of just the limit");
    }

    /// Appends that travel together are answered apart.
    async fn one_refused_append_does_not_fail_its_neighbours(subject) {
        let store = subject.store();
        let appends = (0..32).map(|number| {
            let store = store.clone();
            async move {
                let expected =
                    if number % 4 == 0 { ExpectedVersion::Exact(Position::new(9)) } else { ExpectedVersion::Any };
                store.append_to(&stream(&format!("account-{number}")), expected, vec![numbered(number)]).await
            }
        });
        for (number, result) in join_all(appends).await.into_iter().enumerate() {
            assert_eq!(result.is_ok(), number % 4 != 0, "append {number}: {result:?}");
            let version = store.version(&stream(&format!("account-{number}"))).await.unwrap();
            assert_eq!(version, if number % 4 == 0 { Version::NO_STREAM } else { Version::at(Position::FIRST) });
        }
    }
}}
