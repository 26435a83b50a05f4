//! Stores that write other messages than requested, or return other places than they wrote.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use message_store::{Append, AppendRequest, Appended, Error, ExpectedVersion, Message, Place, Position, Result};
use tokio::sync::Mutex;

use super::wrong::{Store, Wrong};

fn moved(message: Message, to: impl Fn(i64) -> i64) -> Message {
    changed!(message, position = Position::new(to(message.position.get())))
}

fn all_moved(mut appended: Appended, to: impl Fn(i64) -> i64) -> Appended {
    for place in &mut appended.written {
        place.position = Position::new(to(place.position.get()));
    }
    appended
}

/// Locks of two streams, taken in the order in which a request names the streams.
#[derive(Debug, Default)]
pub(crate) struct Locks([Mutex<()>; 2]);

wrong_stores! {
    PositionsBeginAt1 breaks [
        the_positions_of_a_stream_are_gapless_from_0
        writers_of_one_stream_leave_no_gap
        a_lost_answer_is_settled_by_the_same_append_again
        a_refused_append_can_be_made_again
        the_last_message_of_a_stream_is_found
        the_last_message_of_a_type_is_found
        of_many_ids_those_of_one_handlers_messages_are_found_with_their_places
        a_stream_of_messages_goes_on_over_batches
        a_failed_condition_names_the_message_that_matches
        the_last_message_of_each_stream_is_not_archived
        an_archived_message_is_found_by_its_id
        the_last_message_of_a_type_is_found_in_the_archive
        an_erased_message_loses_its_data_and_keeps_its_places
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map(|appended| all_moved(appended, |position| position + 1))
        }
        fn shown(&self, message: Message) -> Message {
            moved(message, |position| position + 1)
        }
    }
    PositionsHaveGaps breaks [
        the_positions_of_a_stream_are_gapless_from_0
        writers_of_one_stream_leave_no_gap
        the_last_message_of_a_stream_is_found
        the_last_message_of_a_type_is_found
        of_many_ids_those_of_one_handlers_messages_are_found_with_their_places
        a_stream_of_messages_goes_on_over_batches
        the_last_message_of_each_stream_is_not_archived
        the_last_message_of_a_type_is_found_in_the_archive
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map(|appended| all_moved(appended, |position| position * 2))
        }
        fn shown(&self, message: Message) -> Message {
            moved(message, |position| position * 2)
        }
    }
    TheLastStreamIsWrittenFirst breaks [
        global_positions_rise_in_the_order_of_the_request
        all_messages_are_read_in_global_order
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let history = request.history().unwrap_or(store.history());
            let mut appends = request.appends().to_vec();
            appends.reverse();
            let counts: Vec<usize> = appends.iter().map(|append| append.messages.len()).collect();
            let appended = store.append(AppendRequest::from(appends).in_history(history)).await?;
            let mut rest = appended.written.as_slice();
            let mut written = Vec::new();
            for count in counts {
                let (places, others) = rest.split_at(count);
                written.splice(0..0, places.iter().copied());
                rest = others;
            }
            Ok(changed!(appended, written = written))
        }
    }
    EveryMessageIsGivenThePlaceOfTheFirst breaks [
        global_positions_rise_in_the_order_of_the_request
        messages_are_read_at_the_places_that_their_append_returned
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let mut appended = store.append(request).await?;
            let first = appended.written[0].global_position;
            appended.written.iter_mut().for_each(|place| place.global_position = first);
            Ok(appended)
        }
    }
    EveryAppendIsMarkedAsAlreadyWritten breaks [
        messages_that_are_written_now_are_not_marked_as_already_written
        the_same_append_again_is_marked_as_already_written
        the_same_append_from_many_writers_at_once_is_written_once
        a_refused_append_can_be_made_again
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            Ok(changed!(store.append(request).await?, already_written = true))
        }
    }
    OnlyTheFirstStreamIsWritten breaks [
        global_positions_rise_in_the_order_of_the_request
        opposite_orders_of_streams_do_not_deadlock
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        an_append_to_several_streams_is_written_to_all_of_them
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
        an_append_that_names_a_stream_twice_is_invalid
        an_append_that_uses_an_id_twice_is_invalid
        an_append_of_more_messages_than_the_limit_is_too_large
        what_is_invalid_or_too_large_leaves_nothing_behind
        the_same_append_again_writes_nothing
        all_messages_are_read_in_global_order
        an_append_wakes_the_readers_of_each_of_its_categories
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let others: usize = request.appends().iter().skip(1).map(|append| append.messages.len()).sum();
            let Some(first) = request.appends().first().filter(|_| others > 0) else { return store.append(request).await };
            let mut appended = store.append(first.clone().into()).await?;
            for _ in 0..others {
                let last = appended.written.last().unwrap().global_position;
                appended.written.push(Place { position: Position::FIRST, global_position: last.next() });
            }
            Ok(appended)
        }
    }
    OppositeOrdersDeadlock(Locks) breaks [opposite_orders_of_streams_do_not_deadlock] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let lock_of = |append: &Append| usize::from(append.stream.as_str().starts_with("left"));
            if let [first, second] = request.appends()
                && lock_of(first) != lock_of(second)
            {
                let _first = self.0.0[lock_of(first)].lock().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                let _second = self.0.0[lock_of(second)].lock().await;
                return store.append(request).await;
            }
            store.append(request).await
        }
    }
    ARefusalFailsTheAppendsBesideIt(AtomicUsize) breaks [one_refused_append_does_not_fail_its_neighbours] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let refused_before = self.0.load(Ordering::SeqCst);
            let is_any = request.appends().iter().all(|append| append.expected == ExpectedVersion::Any);
            let result = store.append(request).await;
            if result.is_err() {
                self.0.fetch_add(1, Ordering::SeqCst);
            } else if is_any && self.0.load(Ordering::SeqCst) > refused_before {
                return Err(Error::TimedOut { context: "an append".to_owned(), cause: "a neighbour".into() });
            }
            result
        }
    }
}
