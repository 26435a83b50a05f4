//! Rules of appends: the places of messages, and concurrent writers.

use futures_util::future::join_all;

use super::given::{append, message, numbered, positions, stream, to, types_in};
use super::{Rule, Subject};
use crate::{Append, ExpectedVersion, GlobalPosition, MessageStoreExt as _, Position, StreamRead, Version};

contract! {$ appending appending_tests {
    /// Positions of one stream do not depend on other streams.
    async fn the_positions_of_a_stream_are_gapless_from_0(subject) {
        let store = subject.store();
        let first = append(&*store, "account-1", &["A", "B"]).await;
        let other = append(&*store, "account-2", &["X"]).await;
        let second = append(&*store, "account-1", &["C"]).await;
        assert_eq!([positions(&first), positions(&other), positions(&second)], [vec![0, 1], vec![0], vec![2]]);
    }

    /// The order is that of the request, even if it is not the order of the streams' names.
    async fn global_positions_rise_in_the_order_of_the_request(subject) {
        let store = subject.store();
        let request = vec![to("right-1", &["A", "B"]), to("left-1", &["C"]), to("right-0", &["D"])];
        let first = store.append(request.into()).await.unwrap();
        let second = append(&*store, "left-1", &["E"]).await;
        let places: Vec<_> = first.written.iter().chain(&second.written).map(|place| place.global_position).collect();
        assert!(places[0] >= GlobalPosition::FIRST);
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    }

    async fn messages_are_read_at_the_places_that_their_append_returned(subject) {
        let store = subject.store();
        let appended = append(&*store, "account-1", &["A", "B", "C"]).await;
        let read = store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        let found: Vec<_> = read.iter().map(|message| (message.position, message.global_position)).collect();
        let returned: Vec<_> = appended.written.iter().map(|place| (place.position, place.global_position)).collect();
        assert_eq!(found, returned);
    }

    async fn messages_that_are_written_now_are_not_marked_as_already_written(subject) {
        assert!(!append(&*subject.store(), "account-1", &["A"]).await.already_written);
    }

    async fn an_append_at_any_version_is_written_where_the_stream_ends(subject) {
        let store = subject.store();
        for message_type in ["A", "B", "C"] {
            append(&*store, "account-1", &[message_type]).await;
        }
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B", "C"]);
    }

    /// 16 writers append at the same time.
    async fn of_writers_that_expect_the_same_version_one_writes(subject) {
        let store = subject.store();
        let account = stream("account-1");
        append(&*store, "account-1", &["A"]).await;
        let writers = (0..16).map(|_| store.append_to(&account, Version::at(Position::FIRST), vec![message("B")]));
        let results = join_all(writers).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert_eq!(types_in(&*store, "account-1").await, ["A", "B"]);
    }

    /// 16 writers append at the same time, at any version.
    async fn writers_of_one_stream_leave_no_gap(subject) {
        let store = subject.store();
        let account = stream("account-1");
        let writer = |writer: usize| {
            let (store, account) = (store.clone(), account.clone());
            async move {
                for number in 0..5 {
                    let messages = vec![numbered(writer), numbered(number)];
                    store.append_to(&account, ExpectedVersion::Any, messages).await.unwrap();
                }
            }
        };
        join_all((0..16).map(writer)).await;
        let read = StreamRead::default().limit(200);
        let mut positions = Vec::new();
        let mut messages = store.read_stream(&account, read).await.unwrap();
        while let Some(last) = messages.last().map(|last| last.position) {
            positions.extend(messages.iter().map(|message| message.position.get()));
            messages = store.read_stream(&account, StreamRead::forwards_from(last.next())).await.unwrap();
        }
        assert!(positions.iter().copied().eq(0..160), "{positions:?}");
    }

    /// Half of the requests name the two categories in the other order.
    async fn opposite_orders_of_streams_do_not_deadlock(subject) {
        let store = subject.store();
        let writer = |writer: usize| {
            let store = store.clone();
            async move {
                for _ in 0..10 {
                    let left = Append::to(stream("left-1")).message(numbered(writer));
                    let right = Append::to(stream("right-1")).message(numbered(writer));
                    let appends = if writer.is_multiple_of(2) { vec![left, right] } else { vec![right, left] };
                    store.append(appends.into()).await.unwrap();
                }
            }
        };
        join_all((0..8).map(writer)).await;
        for name in ["left-1", "right-1"] {
            assert_eq!(store.version(&stream(name)).await.unwrap().get(), 79, "{name}");
        }
    }

    /// A backend may send appends together. Each still has its own result.
    async fn one_refused_append_does_not_fail_its_neighbours(subject) {
        let store = subject.store();
        let appends = (0..32).map(|number| {
            let store = store.clone();
            async move {
                let is_wrong = number % 4 == 0;
                let expected = if is_wrong { ExpectedVersion::Exact(Position::new(9)) } else { ExpectedVersion::Any };
                store.append_to(&stream(&format!("account-{number}")), expected, vec![numbered(number)]).await
            }
        });
        let is_written: Vec<bool> = join_all(appends).await.iter().map(Result::is_ok).collect();
        assert_eq!(is_written, (0..32).map(|number| number % 4 != 0).collect::<Vec<_>>());
    }
}}
