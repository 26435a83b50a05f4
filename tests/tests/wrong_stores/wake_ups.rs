//! Stores that wake the wrong readers or none, and stores whose handles disagree.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use message_store::store::{Claim, WakeUps};
use message_store::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, History, Json, Message, Read, Result, StoreId,
    StreamName, StreamRead, WakeUp,
};

use super::subject::PASSWORD;
use super::wrong::{Seen, Store, Wrong, keys, read_right};

wrong_stores! {
    NoReaderIsWoken breaks [
        a_reader_of_a_category_that_waits_is_woken
        a_reader_of_all_messages_that_waits_is_woken
        a_message_written_before_the_wait_is_not_slept_through
        an_append_wakes_the_readers_of_each_of_its_categories
        a_message_of_a_timer_wakes_readers
    ] {
        async fn wake_up(&self, _store: Store<'_>, _category: Option<&Category>) -> Result<WakeUp> {
            Ok(WakeUp::never())
        }
    }
    ReadersOfAllMessagesAreNotWoken breaks [a_reader_of_all_messages_that_waits_is_woken] {
        async fn wake_up(&self, store: Store<'_>, category: Option<&Category>) -> Result<WakeUp> {
            if category.is_some() { store.wake_up(category).await } else { Ok(WakeUp::never()) }
        }
    }
    ReadersOfACategoryAreWokenByAnother breaks [
        a_reader_of_a_category_that_waits_is_woken
        a_message_written_before_the_wait_is_not_slept_through
        an_append_wakes_the_readers_of_each_of_its_categories
        a_message_of_a_timer_wakes_readers
    ] {
        async fn wake_up(&self, store: Store<'_>, category: Option<&Category>) -> Result<WakeUp> {
            let another = category.map(|category| Category::new(format!("{category}s")).unwrap());
            store.wake_up(another.as_ref()).await
        }
    }
    OnlyTheFirstCategoryOfAnAppendIsWoken(WakeUps) breaks [
        an_append_wakes_the_readers_of_each_of_its_categories
        a_message_of_a_timer_wakes_readers
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let first = request.appends().first().map(|append| append.stream.clone());
            let appended = store.append(request).await?;
            self.0.wake_for(&first);
            Ok(appended)
        }
        async fn wake_up(&self, _store: Store<'_>, category: Option<&Category>) -> Result<WakeUp> {
            Ok(self.0.listen(category))
        }
    }
    AHandleSeesItsOwnMessagesAlone(Mutex<BTreeSet<GlobalPosition>>) breaks [
        readers_skip_nothing_while_slow_writers_commit_and_roll_back
        a_message_from_another_process_is_found
        a_store_keeps_its_messages_when_it_is_opened_again
        the_owner_of_a_slot_appends_with_its_fence
        an_append_with_a_fence_keeps_the_rules_of_appends
        a_timer_that_is_due_becomes_its_message_once
        at_most_one_timer_of_a_key_waits
        a_timer_is_moved_and_cancelled_by_its_key
        a_timer_that_changed_after_it_was_listed_does_not_fire
        a_timer_whose_id_another_message_took_fires_under_another_id
        a_timer_whose_id_another_message_has_fires_under_another_id
        timers_of_an_append_change_with_its_messages
        timers_fire_once_for_several_processes
        an_append_is_written_if_nothing_matches_its_condition
        an_append_that_was_written_is_not_refused_by_its_own_condition
        an_append_with_a_condition_keeps_the_rules_of_appends
        an_append_keeps_its_condition_beside_a_fence
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request).await?;
            self.0.lock().unwrap().extend(appended.written.iter().map(|place| place.global_position));
            Ok(appended)
        }
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let before = store.given_out(None).await?.get();
            let seen = keys(store).append_once(claim, request, result).await?;
            let after = store.given_out(None).await?.get();
            self.0.lock().unwrap().extend((before + 1..=after).map(GlobalPosition::new));
            Ok(seen)
        }
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let mut messages = store.read_stream(stream, read).await?;
            messages.retain(|message| self.0.lock().unwrap().contains(&message.global_position));
            Ok(messages)
        }
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| self.0.lock().unwrap().contains(&message.global_position));
            Ok(batch)
        }
    }
    EachOpeningGivesAnIdentity(OnceLock<StoreId>) breaks [
        an_append_that_was_decided_in_an_earlier_history_is_refused
        a_store_keeps_its_identity_when_it_is_opened_again
        rotation_gives_the_store_another_identity
        an_identity_after_rotation_stays_when_the_store_is_opened_again
        rotation_begins_another_history
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_snapshot_of_an_earlier_history_is_not_saved
    ] {
        fn store_id(&self, _store: Store<'_>) -> StoreId {
            *self.0.get_or_init(StoreId::new)
        }
        async fn rotate_store_id(&self, _store: Store<'_>) -> Result<StoreId> {
            Ok(*self.0.get_or_init(StoreId::new))
        }
    }
    RotationKeepsTheIdentity breaks [
        an_append_that_was_decided_in_an_earlier_history_is_refused
        rotation_gives_the_store_another_identity
        rotation_begins_another_history
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_snapshot_of_an_earlier_history_is_not_saved
    ] {
        async fn rotate_store_id(&self, store: Store<'_>) -> Result<StoreId> {
            Ok(store.store_id())
        }
    }
    RotationIsForgotten(OnceLock<StoreId>) breaks [
        an_append_that_was_decided_in_an_earlier_history_is_refused
        an_identity_after_rotation_stays_when_the_store_is_opened_again
        rotation_begins_another_history
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_snapshot_of_an_earlier_history_is_not_saved
    ] {
        fn store_id(&self, store: Store<'_>) -> StoreId {
            *self.0.get().unwrap_or(&store.store_id())
        }
        async fn rotate_store_id(&self, _store: Store<'_>) -> Result<StoreId> {
            Ok(*self.0.get_or_init(StoreId::new))
        }
    }
    RotationKeepsTheHistory breaks [
        an_append_that_was_decided_in_an_earlier_history_is_refused
        rotation_begins_another_history
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_snapshot_of_an_earlier_history_is_not_saved
    ] {
        fn history(&self, _store: Store<'_>) -> History {
            History::default()
        }
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request.in_history(store.history())).await
        }
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(claim, request.in_history(store.history()), result).await
        }
    }
    RotationLosesTheMessages(AtomicBool) breaks [
        an_append_that_was_decided_in_an_earlier_history_is_refused
        rotation_keeps_the_messages
    ] {
        async fn rotate_store_id(&self, store: Store<'_>) -> Result<StoreId> {
            self.0.store(true, Ordering::SeqCst);
            store.rotate_store_id().await
        }
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            if self.0.load(Ordering::SeqCst) { Ok(Vec::new()) } else { store.read_stream(stream, read).await }
        }
    }
    AStoreSaysNothingOfItself breaks [a_store_describes_itself] {
        fn describe(&self, _store: Store<'_>) -> String {
            String::new()
        }
    }
    AStoreTellsItsPassword breaks [a_description_holds_no_password] {
        fn describe(&self, _store: Store<'_>) -> String {
            format!("sqlite://tests:{PASSWORD}@memory")
        }
    }
}
