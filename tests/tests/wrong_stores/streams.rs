//! Stores that return wrong messages of a stream, and stores with wrong look-ups.

use std::sync::atomic::{AtomicBool, Ordering};

use message_store::store::StreamBatch;
use message_store::{
    Message, MessageId, MessageRef, MessageStore, Position, Read, Result, StreamName, StreamRead, Version,
};

use super::wrong::{Found, Store, Wrong};

/// The messages of all streams that a condition names.
async fn of_streams(store: &dyn MessageStore, is_meant: impl Fn(&StreamName) -> bool + Send) -> Result<Vec<Message>> {
    let mut messages = store.read_all(Read::default()).await?.messages;
    messages.retain(|message| is_meant(&message.stream));
    Ok(messages)
}

wrong_stores! {
    AReadBeginsBehindItsPosition breaks [
        messages_are_read_at_the_places_that_their_append_returned
        an_append_at_any_version_is_written_where_the_stream_ends
        of_writers_that_expect_the_same_version_one_writes
        writers_of_one_stream_leave_no_gap
        an_expected_version_that_holds_lets_the_append_through
        a_refused_append_writes_nothing
        an_append_to_several_streams_is_written_to_all_of_them
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        a_message_of_just_the_limit_is_written
        an_append_that_was_decided_in_an_earlier_history_is_refused
        the_same_append_again_writes_nothing
        the_same_append_from_many_writers_at_once_is_written_once
        a_lost_answer_is_settled_by_the_same_append_again
        a_conflict_writes_nothing
        an_append_of_which_a_part_was_written_before_writes_nothing
        an_id_that_a_refused_append_named_is_free
        texts_of_all_scripts_are_read_back
        numbers_are_read_back_to_the_last_digit
        arrays_objects_and_nothing_at_all_are_read_back
        metadata_is_read_back
        types_and_stream_names_are_read_back
        a_message_keeps_the_id_that_its_writer_gave_it
        the_time_of_a_message_is_the_time_of_its_write
        every_way_of_reading_finds_the_same_message
        a_stream_is_read_from_its_first_message_to_its_last
        a_stream_is_read_from_a_position_on
        a_read_of_a_stream_ends_at_its_limit
        a_stream_holds_no_message_of_another
        a_stream_of_messages_goes_on_over_batches
        a_store_keeps_its_messages_when_it_is_opened_again
        rotation_keeps_the_messages
        an_append_with_a_free_key_writes_its_messages
        the_owner_of_a_slot_appends_with_its_fence
        an_append_with_a_fence_keeps_the_rules_of_appends
        a_timer_that_is_due_becomes_its_message_once
        at_most_one_timer_of_a_key_waits
        a_timer_is_moved_and_cancelled_by_its_key
        a_timer_that_changed_after_it_was_listed_does_not_fire
        a_timer_whose_message_was_written_before_is_removed
        a_timer_whose_id_another_message_took_fires_under_another_id
        a_timer_whose_id_another_message_has_fires_under_another_id
        timers_of_an_append_change_with_its_messages
        timers_fire_once_for_several_processes
        an_append_is_written_if_nothing_matches_its_condition
        an_append_whose_condition_fails_writes_nothing
        a_failed_condition_names_the_message_that_matches
        an_append_that_was_written_is_not_refused_by_its_own_condition
        an_append_with_a_condition_keeps_the_rules_of_appends
        a_key_is_not_taken_if_a_condition_fails
        an_append_keeps_its_condition_beside_a_fence
        the_id_of_an_archived_message_is_taken
        an_append_continues_after_archived_messages
        an_erased_message_loses_its_data_and_keeps_its_places
        other_streams_are_not_erased
        an_entity_is_erased_with_all_its_streams
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, mut read: StreamRead) -> Result<Vec<Message>> {
            if !read.backwards {
                read.from = read.from.map(Position::next);
            }
            store.read_stream(stream, read).await
        }
    }
    AReadBackwardsBeginsBehindItsPosition breaks [a_stream_is_read_backwards_from_a_position] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, mut read: StreamRead) -> Result<Vec<Message>> {
            if read.backwards {
                read.from = read.from.map(|from| Position::new(from.get() - 1));
            }
            store.read_stream(stream, read).await
        }
    }
    AReadBackwardsGoesForwards breaks [
        a_stream_is_read_backwards_from_its_last_message
        a_stream_is_read_backwards_from_a_position
        a_read_backwards_ends_at_its_limit
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let mut messages = store.read_stream(stream, read).await?;
            messages.sort_by_key(|message| message.position);
            Ok(messages)
        }
    }
    TheLimitOfAStreamIsIgnored breaks [
        a_read_of_a_stream_ends_at_its_limit
        a_read_backwards_ends_at_its_limit
        a_read_of_no_message_of_a_stream_returns_none
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            store.read_stream(stream, read.limit(1_000)).await
        }
    }
    /// Only once, because otherwise a reader would never reach the end.
    AReadBehindTheEndReturnsTheLastMessage(AtomicBool) breaks [
        writers_of_one_stream_leave_no_gap
        a_read_behind_the_end_of_a_stream_returns_nothing
        a_stream_of_messages_goes_on_over_batches
        a_batch_that_says_that_the_stream_ends_has_its_last_message
        an_archived_stream_is_read_whole
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let messages = store.read_stream(stream, read.clone()).await?;
            let is_behind = messages.is_empty() && read.limit > 0 && read.from.is_some_and(|from| from > Position::FIRST);
            if is_behind && !self.0.swap(true, Ordering::SeqCst) {
                return store.read_stream(stream, StreamRead::backwards().limit(1)).await;
            }
            Ok(messages)
        }
    }
    EveryBatchIsSaidToEndItsStream breaks [
        a_stream_of_messages_goes_on_over_batches
        a_batch_that_says_that_the_stream_ends_has_its_last_message
    ] {
        async fn read_stream_batch(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
            Ok(StreamBatch::new(store.read_stream(stream, read).await?, true))
        }
    }
    AStreamThatIsNotThereReadsAsAnother breaks [
        a_conflict_writes_nothing
        a_read_of_a_stream_that_is_not_there_returns_nothing
        the_id_of_an_archived_message_is_taken
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            if store.version(stream).await? == Version::NO_STREAM {
                return of_streams(store, |other| other.category() == stream.category()).await;
            }
            store.read_stream(stream, read).await
        }
    }
    StreamNamesIgnoreCase breaks [a_stream_holds_no_message_of_another] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let alike = of_streams(store, |other| other.as_str().eq_ignore_ascii_case(stream.as_str())).await?;
            if alike.iter().any(|message| message.stream != *stream) {
                return Ok(alike);
            }
            store.read_stream(stream, read).await
        }
    }
    TheLastMessageIsTheFirst breaks [
        the_last_message_of_a_stream_is_found
        a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail
        the_last_message_of_a_type_is_found_in_the_archive
    ] {
        async fn last_message(&self, store: Store<'_>, stream: &StreamName, message_type: Option<&str>) -> Found {
            match message_type {
                None => Ok(store.read_stream(stream, StreamRead::default().limit(1)).await?.pop()),
                Some(_) => store.last_message(stream, message_type).await,
            }
        }
    }
    TheLastMessageOfATypeIsTheFirst breaks [
        the_last_message_of_a_type_is_found
        the_last_message_of_a_type_is_found_in_the_archive
    ] {
        async fn last_message(&self, store: Store<'_>, stream: &StreamName, message_type: Option<&str>) -> Found {
            let Some(wanted) = message_type else { return store.last_message(stream, None).await };
            let messages = store.read_stream(stream, StreamRead::default()).await?;
            Ok(messages.into_iter().find(|message| message.message_type == wanted))
        }
    }
    TheLastMessageIsOfAnyType breaks [
        the_last_message_of_a_type_is_found
        a_type_that_a_stream_does_not_hold_has_no_last_message
        the_last_message_of_a_type_is_found_in_the_archive
    ] {
        async fn last_message(&self, store: Store<'_>, stream: &StreamName, _message_type: Option<&str>) -> Found {
            store.last_message(stream, None).await
        }
    }
    TheLastMessageOfAStreamThatIsNotThereIsAnother breaks [a_stream_that_is_not_there_has_no_last_message] {
        async fn last_message(&self, store: Store<'_>, stream: &StreamName, message_type: Option<&str>) -> Found {
            match store.last_message(stream, message_type).await? {
                None if message_type.is_none() => Ok(of_streams(store, |_| true).await?.pop()),
                found => Ok(found),
            }
        }
    }
    VersionsCountFrom1 breaks [
        opposite_orders_of_streams_do_not_deadlock
        the_version_of_a_stream_is_the_position_of_its_last_message
        an_append_continues_after_archived_messages
    ] {
        async fn version(&self, store: Store<'_>, stream: &StreamName) -> Result<Version> {
            let version = store.version(stream).await?;
            Ok(version.position().map_or(version, |position| Version::at(position.next())))
        }
    }
    AStreamThatIsNotThereHasVersion0 breaks [
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        what_is_invalid_or_too_large_leaves_nothing_behind
        a_refused_append_can_be_made_again
        a_conflict_writes_nothing
        a_stream_that_is_not_there_has_the_version_of_no_stream
        an_append_with_a_taken_key_writes_nothing
        an_append_that_its_version_refuses_leaves_the_key_free
        an_append_whose_id_is_taken_leaves_the_key_free
        an_append_that_is_invalid_or_too_large_leaves_the_key_free
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_earlier_owner_appends_nothing
        an_owner_appends_nothing_after_its_lease
        a_timer_that_a_store_cannot_write_is_refused
        an_append_whose_condition_fails_writes_nothing
        an_append_with_a_condition_keeps_the_rules_of_appends
        a_key_is_not_taken_if_a_condition_fails
        an_append_keeps_its_condition_beside_a_fence
        snapshots_are_no_messages
        the_id_of_an_archived_message_is_taken
    ] {
        async fn version(&self, store: Store<'_>, stream: &StreamName) -> Result<Version> {
            Ok(store.version(stream).await?.max(Version::at(Position::FIRST)))
        }
    }
    AnIdFindsTheLastMessageOfItsStream breaks [
        a_message_is_found_by_its_id
        an_archived_message_is_found_by_its_id
        an_erased_message_loses_its_data_and_keeps_its_places
    ] {
        async fn message(&self, store: Store<'_>, id: MessageId) -> Found {
            let Some(message) = store.message(id).await? else { return Ok(None) };
            store.last_message(&message.stream, None).await
        }
    }
    AnyHandlerHasWrittenAMessage breaks [of_many_ids_those_of_one_handlers_messages_are_found_with_their_places] {
        async fn written_by(&self, store: Store<'_>, _: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
            let mut written = Vec::new();
            for id in ids {
                written.extend(store.message(*id).await?.map(|message| message.reference()));
            }
            Ok(written)
        }
    }
    OnlyTheFirstOfManyIdsIsLookedUp breaks [of_many_ids_those_of_one_handlers_messages_are_found_with_their_places] {
        async fn written_by(&self, store: Store<'_>, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
            store.written_by(handler, ids.get(..1).unwrap_or_default()).await
        }
    }
    AnUnknownIdFindsTheLastMessage breaks [
        an_append_of_which_a_part_was_written_before_writes_nothing
        an_id_that_no_message_has_finds_none
    ] {
        async fn message(&self, store: Store<'_>, id: MessageId) -> Found {
            match store.message(id).await? {
                None => Ok(of_streams(store, |_| true).await?.pop()),
                found => Ok(found),
            }
        }
    }
}
