//! Stores that wake the wrong readers, or none; and whose handles see the store differently.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use message_store::store::{Claim, ClaimRecord, WakeUps};
use message_store::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, History, Json, Message, MessageStore, Read, Result,
    StoreId, StreamName, StreamRead, WakeUp,
};

use super::subject::PASSWORD;
use super::wrong::{Wrong, keys, read_right};

wrong_stores! {
    NoReaderIsWoken breaks [] {
        async fn wake_up(&self, _store: &dyn MessageStore, _category: Option<&Category>) -> Result<WakeUp> {
            Ok(WakeUp::never())
        }
    }
    ReadersOfAllMessagesAreNotWoken breaks [] {
        async fn wake_up(&self, store: &dyn MessageStore, category: Option<&Category>) -> Result<WakeUp> {
            if category.is_some() { store.wake_up(category).await } else { Ok(WakeUp::never()) }
        }
    }
    ReadersOfACategoryAreWokenByAnother breaks [] {
        async fn wake_up(&self, store: &dyn MessageStore, category: Option<&Category>) -> Result<WakeUp> {
            let another = category.map(|category| Category::new(format!("{category}s")).unwrap());
            store.wake_up(another.as_ref()).await
        }
    }
    OnlyTheFirstCategoryOfAnAppendIsWoken(WakeUps) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let first = request.appends().first().map(|append| append.stream.clone());
            let appended = store.append(request).await?;
            self.0.wake_for(&first);
            Ok(appended)
        }
        async fn wake_up(&self, _store: &dyn MessageStore, category: Option<&Category>) -> Result<WakeUp> {
            Ok(self.0.listen(category))
        }
    }
    AHandleSeesItsOwnMessagesAlone(Mutex<BTreeSet<GlobalPosition>>) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request).await?;
            self.0.lock().unwrap().extend(appended.written.iter().map(|place| place.global_position));
            Ok(appended)
        }
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let before = store.given_out().await?.get();
            let seen = keys(store).append_once(claim, request, result).await?;
            let after = store.given_out().await?.get();
            self.0.lock().unwrap().extend((before + 1..=after).map(GlobalPosition::new));
            Ok(seen)
        }
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let mut messages = store.read_stream(stream, read).await?;
            messages.retain(|message| self.0.lock().unwrap().contains(&message.global_position));
            Ok(messages)
        }
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| self.0.lock().unwrap().contains(&message.global_position));
            Ok(batch)
        }
    }
    EachOpeningGivesAnIdentity(OnceLock<StoreId>) breaks [] {
        fn store_id(&self, _store: &dyn MessageStore) -> StoreId {
            *self.0.get_or_init(StoreId::new)
        }
        async fn rotate_store_id(&self, _store: &dyn MessageStore) -> Result<StoreId> {
            Ok(*self.0.get_or_init(StoreId::new))
        }
    }
    RotationKeepsTheIdentity breaks [] {
        async fn rotate_store_id(&self, store: &dyn MessageStore) -> Result<StoreId> {
            Ok(store.store_id())
        }
    }
    RotationIsForgotten(OnceLock<StoreId>) breaks [] {
        fn store_id(&self, store: &dyn MessageStore) -> StoreId {
            *self.0.get().unwrap_or(&store.store_id())
        }
        async fn rotate_store_id(&self, _store: &dyn MessageStore) -> Result<StoreId> {
            Ok(*self.0.get_or_init(StoreId::new))
        }
    }
    RotationKeepsTheHistory breaks [] {
        fn history(&self, _store: &dyn MessageStore) -> History {
            History::default()
        }
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(request.in_history(store.history())).await
        }
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(claim, request.in_history(store.history()), result).await
        }
    }
    RotationLosesTheMessages(AtomicBool) breaks [] {
        async fn rotate_store_id(&self, store: &dyn MessageStore) -> Result<StoreId> {
            self.0.store(true, Ordering::SeqCst);
            store.rotate_store_id().await
        }
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            if self.0.load(Ordering::SeqCst) { Ok(Vec::new()) } else { store.read_stream(stream, read).await }
        }
    }
    AStoreSaysNothingOfItself breaks [] {
        fn describe(&self, _store: &dyn MessageStore) -> String {
            String::new()
        }
    }
    AStoreTellsItsPassword breaks [] {
        fn describe(&self, _store: &dyn MessageStore) -> String {
            format!("sqlite://tests:{PASSWORD}@memory")
        }
    }
}
