//! Stores that apply a filter wrongly, or divide a category wrongly between the members of a group.

use message_store::{Batch, Category, Filter, GroupMember, Message, MessageStore, Read, Result, StreamName};

use super::wrong::{Store, Wrong, read_right};

/// Reads with another filter.
async fn filtered(
    store: &dyn MessageStore,
    category: Option<&Category>,
    mut read: Read,
    change: impl FnOnce(&mut Filter) + Send,
) -> Result<Batch> {
    change(&mut read.filter);
    read_right(store, category, read).await
}

/// Reads a member's share. `is_its` selects it instead of the store.
async fn shared(
    store: &dyn MessageStore,
    category: Option<&Category>,
    mut read: Read,
    is_its: impl Fn(GroupMember, &Message) -> bool + Send,
) -> Result<Batch> {
    let Some(member) = read.filter.member.take() else { return read_right(store, category, read).await };
    let mut batch = read_right(store, category, read).await?;
    batch.messages.retain(|message| is_its(member, message));
    Ok(batch)
}

/// Whether a number belongs to a member.
fn takes(member: GroupMember, number: u64) -> bool {
    number % u64::from(member.size()) == u64::from(member.number())
}

fn is_right(member: GroupMember, message: &Message) -> bool {
    Filter::default().member(member).passes(message)
}

fn sum(text: &str) -> u64 {
    text.bytes().map(u64::from).sum()
}

wrong_stores! {
    ACorrelationIsReadByItsCategory breaks [the_messages_of_a_correlation_are_read_in_order_whatever_their_category] {
        async fn read_correlated(&self, store: Store<'_>, stream: &StreamName, read: Read) -> Result<Batch> {
            let filter = read.filter.clone().correlation(stream.category());
            store.read_all(read.filter(filter)).await
        }
    }
    TypesAreIgnored breaks [
        a_filter_by_type_lets_messages_of_the_type_through
        a_filter_by_types_lets_messages_of_each_type_through
        a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message
        a_filtered_read_goes_on_over_batches
        a_message_passes_a_filter_when_every_condition_holds
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.message_types.clear()).await
        }
    }
    TheFirstTypeAlonePasses breaks [a_filter_by_types_lets_messages_of_each_type_through] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.message_types.truncate(1)).await
        }
    }
    CorrelationIsIgnored breaks [
        a_filter_by_correlation_compares_categories
        a_message_passes_a_filter_when_every_condition_holds
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.correlation = None).await
        }
    }
    CorrelationComparesStreamNames breaks [
        a_filter_by_correlation_compares_categories
        a_message_passes_a_filter_when_every_condition_holds
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let wanted = read.filter.correlation.clone();
            let mut batch = read_right(store, category, read).await?;
            if let Some(wanted) = wanted {
                let name = |message: &Message| message.decode_metadata().correlation_stream_name;
                batch.messages.retain(|message| name(message).as_deref() == Some(wanted.as_str()));
            }
            Ok(batch)
        }
    }
    AMemberIsIgnored breaks [
        a_message_passes_a_filter_when_every_condition_holds
        no_stream_comes_to_two_members_of_a_group
        a_stream_without_an_entity_comes_to_no_member_of_a_group
        members_are_told_apart_by_the_hash_of_the_cardinal_id
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.member = None).await
        }
    }
    SharesOverlap breaks [
        no_stream_comes_to_two_members_of_a_group
        members_are_told_apart_by_the_hash_of_the_cardinal_id
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_everyones = |message: &Message| message.stream.cardinal_id() == Some("7");
            shared(store, category, read, |member, message| is_right(member, message) || is_everyones(message)).await
        }
    }
    SharesLeaveAnEntityOut breaks [
        every_entity_comes_to_a_member_of_a_group
        a_read_of_slots_returns_the_streams_of_these_slots
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_nobodys = |message: &Message| message.stream.cardinal_id() == Some("7");
            shared(store, category, read, |member, message| is_right(member, message) && !is_nobodys(message)).await
        }
    }
    SharesPartAnEntity breaks [
        all_streams_of_an_entity_come_to_one_member_of_a_group
        members_are_told_apart_by_the_hash_of_the_cardinal_id
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let whole = |id: &str| sum(id) + u64::from(id.contains('+'));
            let is_its = |member, message: &Message| message.stream.id().is_some_and(|id| takes(member, whole(id)));
            shared(store, category, read, is_its).await
        }
    }
    SharesFollowAnotherHash breaks [members_are_told_apart_by_the_hash_of_the_cardinal_id] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let by_sum = |member, message: &Message| message.stream.cardinal_id().is_some_and(|id| takes(member, sum(id)));
            shared(store, category, read, by_sum).await
        }
    }
    TheFirstMemberIsGivenStreamsWithoutAnEntity breaks [
        a_message_passes_a_filter_when_every_condition_holds
        a_stream_without_an_entity_comes_to_no_member_of_a_group
    ] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_its = |member: GroupMember, message: &Message| {
                is_right(member, message) || (member.number() == 0 && message.stream.id().is_none())
            };
            shared(store, category, read, is_its).await
        }
    }
}
