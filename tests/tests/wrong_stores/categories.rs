//! Stores that return wrong messages of a category or of all messages, or a wrong position up to which they looked.

use message_store::{Batch, Category, GlobalPosition, Message, MessageStore, Read, Result, StreamName};

use super::wrong::{Store, Wrong, read_right};

/// Reads all messages, and keeps those of the streams that belong to a category.
async fn of_streams(
    store: &dyn MessageStore,
    read: Read,
    belongs: impl Fn(&StreamName) -> bool + Send,
) -> Result<Batch> {
    let mut batch = store.read_all(read).await?;
    batch.messages.retain(|message| belongs(&message.stream));
    Ok(batch)
}

fn by_stream(mut batch: Batch) -> Batch {
    batch.messages.sort_by(|a, b| (&a.stream, a.position).cmp(&(&b.stream, b.position)));
    batch
}

fn last_of(messages: &[Message]) -> Option<GlobalPosition> {
    messages.last().map(|message| message.global_position)
}

wrong_stores! {
    ACategoryIsReadStreamByStream breaks [
        a_category_is_read_in_global_order
        a_category_is_read_from_a_global_position_on
        a_read_of_a_category_ends_at_its_limit
        a_backlog_is_counted_from_a_position_to_the_end_of_its_category
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read).await?;
            Ok(if category.is_some() { by_stream(batch) } else { batch })
        }
    }
    AllMessagesAreReadStreamByStream breaks [
        all_messages_are_read_in_global_order
        all_messages_are_read_from_a_global_position_on
        a_read_of_all_messages_ends_at_its_limit
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read).await?;
            Ok(if category.is_none() { by_stream(batch) } else { batch })
        }
    }
    EachPageOfCategoriesBeginsAgain breaks [the_categories_are_listed_once_each_a_page_at_a_time] {
        async fn categories(&self, store: Store<'_>, _after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
            store.categories(None, limit).await
        }
    }
    CategoriesAreListedWithoutTheirTypes breaks [the_categories_are_listed_once_each_a_page_at_a_time] {
        async fn categories(&self, store: Store<'_>, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
            let mut found = store.categories(after, limit).await?;
            found.retain(|category| !category.as_str().contains([':', '+']));
            Ok(found)
        }
    }
    CategoriesAreFoundByTheirPrefix breaks [
        a_category_holds_no_message_of_another
        a_read_of_a_category_that_is_not_there_finds_nothing
        a_backlog_is_counted_from_a_position_to_the_end_of_its_category
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let Some(prefix) = category.filter(|_| read.filter.is_empty()) else { return read_right(store, category, read).await };
            of_streams(store, read, |stream| stream.as_str().starts_with(prefix.as_str())).await
        }
    }
    ACategoryHoldsItsCommands breaks [
        a_category_holds_no_message_of_another
        a_read_of_a_category_that_is_not_there_finds_nothing
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let Some(category) = category.filter(|_| read.filter.is_empty()) else { return read_right(store, category, read).await };
            let own = |stream: &StreamName| stream.category().as_str().split(':').next() == Some(category.as_str());
            of_streams(store, read, own).await
        }
    }
    ACategoryLeavesOutStreamsWithoutAnId breaks [
        a_stream_without_an_id_belongs_to_the_category_of_its_name
        a_read_of_slots_returns_the_streams_of_these_slots
        a_backlog_is_counted_from_a_position_to_the_end_of_its_category
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| category.is_none() || message.stream.id().is_some());
            Ok(batch)
        }
    }
    ACategoryThatIsNotThereReadsAsAll breaks [a_read_of_a_category_that_is_not_there_finds_nothing] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read.clone()).await?;
            if batch.is_at_end(&read) && read.from == GlobalPosition::FIRST {
                return store.read_all(read).await;
            }
            Ok(batch)
        }
    }
    AReadBeginsBehindItsGlobalPosition breaks [
        a_category_is_read_from_a_global_position_on
        all_messages_are_read_from_a_global_position_on
        a_reader_that_has_caught_up_finds_nothing_and_stays_where_it_is
        a_reader_that_has_caught_up_finds_what_is_written_next
        a_batch_has_looked_no_further_than_its_bytes_reach
        a_stream_of_a_category_goes_on_over_batches
        a_stream_of_all_messages_goes_on_over_batches
        a_filtered_read_goes_on_over_batches
        every_entity_comes_to_a_member_of_a_group
        no_stream_comes_to_two_members_of_a_group
        all_streams_of_an_entity_come_to_one_member_of_a_group
        a_stream_without_an_entity_comes_to_no_member_of_a_group
        members_are_told_apart_by_the_hash_of_the_cardinal_id
        a_read_of_slots_returns_the_streams_of_these_slots
        readers_skip_nothing_while_slow_writers_commit_and_roll_back
        archived_messages_are_read_in_order
        a_run_moves_no_message_after_its_end
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, mut read: Read) -> Result<Batch> {
            if read.from > GlobalPosition::FIRST {
                read.from = read.from.next();
            }
            read_right(store, category, read).await
        }
    }
    LimitsAreIgnored breaks [
        a_read_of_a_category_ends_at_its_limit
        a_read_of_all_messages_ends_at_its_limit
        a_read_has_looked_through_all_up_to_its_last_message
        a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            read_right(store, category, read.limit(1_000)).await
        }
    }
    AReadSaysThatItLookedOneFurther breaks [
        a_read_has_looked_through_all_up_to_its_last_message
        a_batch_has_looked_no_further_than_its_bytes_reach
        a_stream_of_a_category_goes_on_over_batches
        a_stream_of_all_messages_goes_on_over_batches
        a_filtered_read_has_looked_through_what_was_filtered_out
        a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message
        a_filtered_read_goes_on_over_batches
        every_entity_comes_to_a_member_of_a_group
        all_streams_of_an_entity_come_to_one_member_of_a_group
        a_read_of_slots_returns_the_streams_of_these_slots
        readers_skip_nothing_while_slow_writers_commit_and_roll_back
        a_run_moves_no_message_after_its_end
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !batch.is_at_end(&read) {
                batch.looked_through = batch.looked_through.next();
            }
            Ok(batch)
        }
    }
    AReaderThatHasCaughtUpIsSentBack breaks [a_reader_that_has_caught_up_finds_nothing_and_stays_where_it_is] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if batch.is_at_end(&read) {
                batch.looked_through = GlobalPosition::ZERO;
            }
            Ok(batch)
        }
    }
    AFullBatchSaysThatItLookedToTheEnd breaks [a_batch_has_looked_no_further_than_its_bytes_reach] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            let bytes: usize = batch.messages.iter().map(|message| message.data.len()).sum();
            if read.filter.is_empty() && bytes >= store.limits().batch_bytes {
                batch.looked_through = store.given_out(None).await?;
            }
            Ok(batch)
        }
    }
    AFilteredReadHasLookedNoFurtherThanItsLastMatch breaks [
        a_filtered_read_has_looked_through_what_was_filtered_out
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !read.filter.is_empty() {
                batch.looked_through = last_of(&batch.messages).unwrap_or(read.from.previous());
            }
            Ok(batch)
        }
    }
    AFilteredReadSaysThatItLookedBeyondItsLimit breaks [
        a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message
        a_filtered_read_goes_on_over_batches
        every_entity_comes_to_a_member_of_a_group
        all_streams_of_an_entity_come_to_one_member_of_a_group
        a_read_of_slots_returns_the_streams_of_these_slots
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !read.filter.is_empty() {
                batch.looked_through = read_right(store, category, read.limit(1_000)).await?.looked_through;
            }
            Ok(batch)
        }
    }
}
