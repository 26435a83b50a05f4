//! The contract of [`MessageStore`], as tests that every backend runs. Unstable, and destructive: give it empty stores.
//!
//! ```ignore
//! message_store::conformance_tests!(MySubject::new().await);
//! ```

pub mod appending;
pub mod filtering;
pub mod identity;
pub mod order;
pub mod reading;
pub mod repeating;
pub mod waking;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Append, Appended, Json, MessageStore, NewMessage, StreamName};

/// A backend under test: an empty store, and ways to it from outside.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store. It was empty when the subject was made.
    fn store(&self) -> Arc<dyn MessageStore>;

    /// The same store opened once more, as another process would; `None` if there is no such thing.
    async fn reopen(&self) -> Option<Arc<dyn MessageStore>>;

    /// Appends as a slow foreign writer does: in a transaction that stays open for a while after its positions are drawn, and is
    /// then committed or rolled back. A backend that knows no other writers appends as ever.
    async fn append_slowly(&self, append: Append, hold: Duration, commit: bool);
}

/// Makes a test of each sentence of the contract. `$subject` is an expression (it may `.await`) that makes a [`Subject`].
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests! { $subject;
            appending:
                each_message_gets_its_position_and_its_global_position
                an_expected_version_that_holds_lets_the_append_through
                an_expected_version_that_does_not_hold_is_named_and_nothing_is_written
                appends_to_several_streams_are_written_together_or_not_at_all
                of_writers_that_expect_the_same_version_one_writes
                writers_of_one_stream_leave_no_gap
                opposite_orders_of_streams_do_not_deadlock
                what_cannot_be_stored_is_refused_and_nothing_is_written
                one_refused_append_does_not_fail_its_neighbours;
            repeating:
                the_same_append_again_returns_the_first_positions
                the_same_append_again_returns_the_first_positions_also_when_the_expected_version_is_stale
                the_same_data_written_differently_is_the_same
                the_same_id_with_other_content_is_a_conflict
                some_of_the_ids_are_a_conflict_and_nothing_is_written
                the_same_append_from_many_writers_at_once_is_written_once
                an_id_that_two_categories_race_for_is_given_once
                a_lost_answer_is_settled_by_the_same_append_again;
            reading:
                what_was_written_is_read_back
                a_stream_is_read_forwards_and_backwards_in_parts
                a_category_is_read_in_global_order_and_holds_no_other_category
                all_messages_are_read_in_global_order
                a_batch_ends_where_its_bytes_do
                the_last_message_the_version_and_a_message_by_its_id_are_found
                streams_of_messages_go_on_over_batches;
            filtering:
                a_filter_by_type_returns_how_far_it_looked
                a_filter_by_correlation_compares_categories
                members_of_a_group_share_all_entities_and_each_has_one_member;
            order:
                readers_skip_nothing_while_slow_writers_commit_and_roll_back
                a_gap_left_by_a_rollback_stalls_no_reader;
            waking:
                a_reader_that_waits_is_woken
                a_message_written_before_the_wait_is_not_slept_through
                a_message_from_another_process_is_found;
            identity:
                a_store_keeps_its_identity_and_its_messages_when_it_is_opened_again
                rotation_gives_another_identity;
        }
    };
    ($subject:expr; $($module:ident: $($name:ident)*;)*) => { $(mod $module {
        #[allow(unused_imports)]
        use super::*;
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::testing::conformance::$module::$name(&$subject).await;
            }
        )*
    })* };
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn message(message_type: &str) -> NewMessage {
    NewMessage::new(message_type, Json::NULL)
}

fn numbered(number: usize) -> NewMessage {
    NewMessage::new("Numbered", Json::encode(&number).unwrap())
}

/// Appends messages of these types to a stream, at any version.
async fn append(store: &dyn MessageStore, name: &str, types: &[&str]) -> Appended {
    let append = Append::to(stream(name)).messages(types.iter().map(|message_type| message(message_type)));
    store.append(vec![append]).await.unwrap()
}

/// The types of a stream's messages.
async fn types_in(store: &dyn MessageStore, name: &str) -> Vec<String> {
    let messages = store.read_stream(&stream(name), crate::StreamRead::default()).await.unwrap();
    messages.into_iter().map(|message| message.message_type).collect()
}
