//! Stores that let other messages through a filter, or give members of a group other shares.

use message_store::{Batch, Category, Filter, GroupMember, Message, MessageStore, Read, Result};

use super::wrong::{Wrong, read_right};

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

/// Reads a member's share, which this function tells instead of the store.
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

/// Whether a number falls to a member.
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
    TypesAreIgnored breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.message_types.clear()).await
        }
    }
    TheFirstTypeAlonePasses breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.message_types.truncate(1)).await
        }
    }
    CorrelationIsIgnored breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.correlation = None).await
        }
    }
    CorrelationComparesStreamNames breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let wanted = read.filter.correlation.clone();
            let mut batch = read_right(store, category, read).await?;
            if let Some(wanted) = wanted {
                let name = |message: &Message| message.decode_metadata().correlation_stream_name;
                batch.messages.retain(|message| name(message).as_deref() == Some(wanted.as_str()));
            }
            Ok(batch)
        }
    }
    AMemberIsIgnored breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            filtered(store, category, read, |filter| filter.member = None).await
        }
    }
    SharesOverlap breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_everyones = |message: &Message| message.stream.cardinal_id() == Some("7");
            shared(store, category, read, |member, message| is_right(member, message) || is_everyones(message)).await
        }
    }
    SharesLeaveAnEntityOut breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_nobodys = |message: &Message| message.stream.cardinal_id() == Some("7");
            shared(store, category, read, |member, message| is_right(member, message) && !is_nobodys(message)).await
        }
    }
    SharesPartAnEntity breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let by_whole_id = |member, message: &Message| message.stream.id().is_some_and(|id| takes(member, sum(id)));
            shared(store, category, read, by_whole_id).await
        }
    }
    SharesFollowAnotherHash breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let by_sum = |member, message: &Message| message.stream.cardinal_id().is_some_and(|id| takes(member, sum(id)));
            shared(store, category, read, by_sum).await
        }
    }
    TheFirstMemberIsGivenStreamsWithoutAnEntity breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_its = |member: GroupMember, message: &Message| {
                is_right(member, message) || (member.number() == 0 && message.stream.id().is_none())
            };
            shared(store, category, read, is_its).await
        }
    }
}
