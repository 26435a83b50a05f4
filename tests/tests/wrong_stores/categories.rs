//! Stores that read something else of a category or of all messages, or say that they looked further than they did.

use message_store::{Batch, Category, GlobalPosition, Message, MessageStore, Read, Result, StreamName};

use super::wrong::{Wrong, read_right};

/// Reads all messages, and keeps those of the streams that belong to a category.
async fn of_streams(store: &dyn MessageStore, read: Read, belongs: impl Fn(&StreamName) -> bool + Send) -> Result<Batch> {
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
    ACategoryIsReadStreamByStream breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read).await?;
            Ok(if category.is_some() { by_stream(batch) } else { batch })
        }
    }
    AllMessagesAreReadStreamByStream breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read).await?;
            Ok(if category.is_none() { by_stream(batch) } else { batch })
        }
    }
    CategoriesAreFoundByTheirPrefix breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let Some(prefix) = category.filter(|_| read.filter.is_empty()) else { return read_right(store, category, read).await };
            of_streams(store, read, |stream| stream.as_str().starts_with(prefix.as_str())).await
        }
    }
    ACategoryHoldsItsCommands breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let Some(category) = category.filter(|_| read.filter.is_empty()) else { return read_right(store, category, read).await };
            let own = |stream: &StreamName| stream.category().as_str().split(':').next() == Some(category.as_str());
            of_streams(store, read, own).await
        }
    }
    ACategoryLeavesOutStreamsWithoutAnId breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| category.is_none() || message.stream.id().is_some());
            Ok(batch)
        }
    }
    ACategoryThatIsNotThereReadsAsAll breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let batch = read_right(store, category, read.clone()).await?;
            if batch.is_at_end(&read) && read.from == GlobalPosition::FIRST {
                return store.read_all(read).await;
            }
            Ok(batch)
        }
    }
    AReadBeginsBehindItsGlobalPosition breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, mut read: Read) -> Result<Batch> {
            if read.from > GlobalPosition::FIRST {
                read.from = read.from.next();
            }
            read_right(store, category, read).await
        }
    }
    LimitsAreIgnored breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            read_right(store, category, read.limit(1_000)).await
        }
    }
    AReadSaysThatItLookedOneFurther breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !batch.is_at_end(&read) {
                batch.looked_through = batch.looked_through.next();
            }
            Ok(batch)
        }
    }
    AReaderThatHasCaughtUpIsSentBack breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if batch.is_at_end(&read) {
                batch.looked_through = GlobalPosition::ZERO;
            }
            Ok(batch)
        }
    }
    AFullBatchSaysThatItLookedToTheEnd breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if read.filter.is_empty() && !batch.messages.is_empty() && batch.messages.len() < read.limit {
                batch.looked_through = store.given_out().await?;
            }
            Ok(batch)
        }
    }
    AFilteredReadHasLookedNoFurtherThanItsLastMatch breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !read.filter.is_empty() {
                batch.looked_through = last_of(&batch.messages).unwrap_or(read.from.previous());
            }
            Ok(batch)
        }
    }
    AFilteredReadSaysThatItLookedBeyondItsLimit breaks [] {
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read.clone()).await?;
            if !read.filter.is_empty() {
                batch.looked_through = read_right(store, category, read.limit(1_000)).await?.looked_through;
            }
            Ok(batch)
        }
    }
}
