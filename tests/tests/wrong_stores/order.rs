//! Stores whose readers skip or stall, and whose position and clock are wrong.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use message_store::store::Backlog;
use message_store::{AppendRequest, Appended, Batch, Category, GlobalPosition, Read, Result};

use super::wrong::{Store, Wrong, read_right};

wrong_stores! {
    /// The message is hidden until its writer has the answer, so readers pass it.
    AMessageIsHiddenWhileItIsWritten(Mutex<BTreeSet<GlobalPosition>>) breaks [
        readers_skip_nothing_while_slow_writers_commit_and_roll_back
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request).await?;
            let places: Vec<_> = appended.written.iter().map(|place| place.global_position).collect();
            self.0.lock().unwrap().extend(&places);
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.0.lock().unwrap().retain(|hidden| !places.contains(hidden));
            Ok(appended)
        }
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let hidden = self.0.lock().unwrap().clone();
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| !hidden.contains(&message.global_position));
            Ok(batch)
        }
    }
    ARollbackStallsReaders(AtomicBool) breaks [a_gap_left_by_a_rollback_stalls_no_reader] {
        fn rolled_back(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            // As if the unused position were directly after the first message.
            let limit = if self.0.load(Ordering::SeqCst) { read.limit.min(1) } else { read.limit };
            read_right(store, category, read.limit(limit)).await
        }
    }
    AnEmptyStoreHasGivenOutAPosition breaks [an_empty_store_has_given_out_no_position] {
        async fn given_out(&self, store: Store<'_>) -> Result<GlobalPosition> {
            Ok(store.given_out(None).await?.max(GlobalPosition::FIRST))
        }
    }
    WhatWasGivenOutLagsBehind breaks [
        what_was_given_out_reaches_the_last_message
        a_position_that_was_given_out_stays_so_when_its_message_is_deleted
    ] {
        async fn given_out(&self, store: Store<'_>) -> Result<GlobalPosition> {
            Ok(store.given_out(None).await?.previous().max(GlobalPosition::ZERO))
        }
    }
    WhatWasGivenOutRunsAhead breaks [what_is_written_next_stands_above_what_was_given_out] {
        async fn given_out(&self, store: Store<'_>) -> Result<GlobalPosition> {
            let given_out = store.given_out(None).await?;
            Ok(if given_out == GlobalPosition::ZERO { given_out } else { given_out.next() })
        }
    }
    WhatWasGivenOutIsTheLastThatStands(AtomicBool) breaks [
        a_position_that_was_given_out_stays_so_when_its_message_is_deleted
    ] {
        fn deleted(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        async fn given_out(&self, store: Store<'_>) -> Result<GlobalPosition> {
            let given_out = store.given_out(None).await?;
            Ok(if self.0.load(Ordering::SeqCst) { given_out.previous() } else { given_out })
        }
    }
    ABacklogIncludesTheMessageAtThePosition breaks [
        a_backlog_is_counted_from_a_position_to_the_end_of_its_category
    ] {
        async fn backlog(&self, store: Store<'_>, category: &Category, after: GlobalPosition) -> Result<Backlog> {
            store.backlog(category, after.previous().max(GlobalPosition::ZERO)).await
        }
    }
    ABacklogEndsWhereTheStoreEnds breaks [a_backlog_is_counted_from_a_position_to_the_end_of_its_category] {
        async fn backlog(&self, store: Store<'_>, category: &Category, after: GlobalPosition) -> Result<Backlog> {
            let Backlog { messages, oldest, .. } = store.backlog(category, after).await?;
            Ok(Backlog::new(messages, oldest, store.given_out(None).await?))
        }
    }
    TheClockGoesAHundredTimesAsFast(OnceLock<Timestamp>) breaks [
        the_clock_of_the_store_goes_on_as_time_passes
        a_key_is_remembered_until_its_window_ends
        a_key_whose_window_has_ended_has_no_record
        a_key_whose_window_has_ended_can_be_taken_again
        a_window_is_not_prolonged_by_repeats
        a_sliding_window_begins_anew_when_the_record_is_read
        a_sliding_window_begins_anew_when_an_append_is_repeated
        a_sliding_window_ends_when_no_repeat_comes
        a_sweep_counts_the_keys_that_it_removes
        a_sweep_removes_no_more_keys_than_its_batch
    ] {
        async fn now(&self, store: Store<'_>) -> Result<Timestamp> {
            let now = store.now().await?;
            let first = *self.0.get_or_init(|| now);
            Ok(first + now.duration_since(first) * 100)
        }
    }
}
