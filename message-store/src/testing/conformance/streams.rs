//! Rules of reads of a stream: forwards and backwards, from a position, in parts.

use super::given::{append, stream, types, types_in};
use super::{Rule, Subject};
use crate::{Position, StreamRead};

/// The types that a read of a stream of A, B, C and D returns.
async fn read_four(subject: &dyn Subject, read: StreamRead) -> String {
    let store = subject.store();
    append(&*store, "account-1", &["A", "B"]).await;
    append(&*store, "account-2", &["X"]).await;
    append(&*store, "account-1", &["C", "D"]).await;
    types(&store.read_stream(&stream("account-1"), read).await.unwrap()).concat()
}

contract! {$ streams streams_tests {
    async fn a_stream_is_read_from_its_first_message_to_its_last(subject) {
        assert_eq!(read_four(subject, StreamRead::default()).await, "ABCD");
    }

    async fn a_stream_is_read_from_a_position_on(subject) {
        assert_eq!(read_four(subject, StreamRead::forwards_from(Position::new(2))).await, "CD");
    }

    async fn a_stream_is_read_backwards_from_its_last_message(subject) {
        assert_eq!(read_four(subject, StreamRead::backwards()).await, "DCBA");
    }

    async fn a_stream_is_read_backwards_from_a_position(subject) {
        assert_eq!(read_four(subject, StreamRead::backwards_from(Position::new(1))).await, "BA");
    }

    async fn a_read_of_a_stream_ends_at_its_limit(subject) {
        assert_eq!(read_four(subject, StreamRead::default().limit(2)).await, "AB");
    }

    async fn a_read_backwards_ends_at_its_limit(subject) {
        assert_eq!(read_four(subject, StreamRead::backwards().limit(3)).await, "DCB");
    }

    async fn a_read_of_no_message_of_a_stream_returns_none(subject) {
        assert_eq!(read_four(subject, StreamRead::default().limit(0)).await, "");
    }

    async fn a_read_behind_the_end_of_a_stream_returns_nothing(subject) {
        assert_eq!(read_four(subject, StreamRead::forwards_from(Position::new(4))).await, "");
    }

    async fn a_read_of_a_stream_that_is_not_there_returns_nothing(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        assert!(types_in(&*store, "account-2").await.is_empty());
    }

    /// The other stream's name begins the same, or differs only in upper and lower case.
    async fn a_stream_holds_no_message_of_another(subject) {
        let store = subject.store();
        for (name, message_type) in [("account-a", "A"), ("account-aa", "X"), ("account-A", "Y"), ("account", "Z")] {
            append(&*store, name, &[message_type]).await;
        }
        assert_eq!(types_in(&*store, "account-a").await, ["A"]);
    }
}}
