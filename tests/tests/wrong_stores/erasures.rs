//! Stores that erase too much or too little.

use futures_util::TryStreamExt as _;
use message_store::store::{ErasureRun, ErasureTarget, Redaction};
use message_store::{AppendRequest, Appended, GlobalPosition, Json, Message, MessageStoreExt as _, Read, Result};

use super::wrong::{Erases, Store, Wrong, erasure};

wrong_stores! {
    DataStays breaks [] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            for redaction in &mut redactions {
                redaction.data = store.message(redaction.id).await?.map_or(Json::NULL, |message| message.data);
            }
            erasure(store).redact(run, redactions, through).await
        }
    }
    ArchivedDataStays breaks [] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            let left: Vec<Message> = store.all_messages(Read::default().without_archive()).try_collect().await?;
            redactions.retain(|redaction| left.iter().any(|message| message.id == redaction.id));
            erasure(store).redact(run, redactions, through).await
        }
    }
    CausesAreErased breaks [] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            for redaction in &mut redactions {
                redaction.metadata = Json::parse(r#"{"messageStore":{"erased":true}}"#)?;
            }
            erasure(store).redact(run, redactions, through).await
        }
    }
    AStreamIsErasedWithOthers breaks [] {
        async fn to_erase(&self, erasure: Erases<'_>, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
            let target = match target {
                ErasureTarget::Stream(stream) => &ErasureTarget::Entity(stream.clone()),
                other => other,
            };
            erasure.messages(target, after, limit).await
        }
    }
    AnEntityIsOneStream breaks [] {
        async fn to_erase(&self, erasure: Erases<'_>, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
            let target = match target {
                ErasureTarget::Entity(stream) => &ErasureTarget::Stream(stream.clone()),
                other => other,
            };
            erasure.messages(target, after, limit).await
        }
    }
    ErasedDataIsCompared breaks [] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            for append in request.appends() {
                for message in &append.messages {
                    if let Some(stored) = store.message(message.id).await?
                        && stored.is_erased()
                        && !message.data.is_empty()
                    {
                        let (id, stream) = (message.id, append.stream.clone());
                        let reason = "it was written with other data".to_owned();
                        return Err(message_store::Error::IdConflict { id, stream, reason });
                    }
                }
            }
            store.append(request).await
        }
    }
    EachErasureBeginsAnew breaks [] {
        async fn begin_erasure(&self, erasure: Erases<'_>, target: &ErasureTarget) -> Result<ErasureRun> {
            let mut run = erasure.begin(target).await?;
            run.looked_through = GlobalPosition::ZERO;
            Ok(run)
        }
    }
    ErasedMessagesAreErasedAgain breaks [] {
        async fn to_erase(&self, erasure: Erases<'_>, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
            let mut found = erasure.messages(target, after, limit).await?;
            for message in &mut found {
                if message.is_erased() {
                    message.data = Json::parse("{}")?;
                }
            }
            Ok(found)
        }
    }
}
