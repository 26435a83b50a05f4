//! Stores that erase too much or too little.

use futures_util::TryStreamExt as _;
use message_store::store::{ErasureRun, ErasureTarget, Redaction};
use message_store::{AppendRequest, Appended, GlobalPosition, Json, Message, MessageStoreExt as _, Read, Result};

use super::wrong::{Erases, Store, Wrong, erasure};

wrong_stores! {
    DataStays breaks [
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
        an_entity_is_erased_with_all_its_streams
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            for redaction in &mut redactions {
                redaction.data = store.message(redaction.id).await?.map_or(Json::NULL, |message| message.data);
            }
            erasure(store).redact(run, redactions, through).await
        }
    }
    ArchivedDataStays breaks [
        an_archived_message_is_erased
        an_entity_is_erased_with_all_its_streams
    ] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            let left: Vec<Message> = store.all_messages(Read::default().without_archive()).try_collect().await?;
            redactions.retain(|redaction| left.iter().any(|message| message.id == redaction.id));
            erasure(store).redact(run, redactions, through).await
        }
    }
    CausesAreErased breaks [
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
    ] {
        async fn redact(&self, store: Store<'_>, run: &ErasureRun, mut redactions: Vec<Redaction>, through: GlobalPosition) -> Result<ErasureRun> {
            for redaction in &mut redactions {
                redaction.metadata = Json::parse(r#"{"messageStore":{"erased":true}}"#)?;
            }
            erasure(store).redact(run, redactions, through).await
        }
    }
    AStreamIsErasedWithOthers breaks [other_streams_are_not_erased] {
        async fn to_erase(&self, erasure: Erases<'_>, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
            let target = match target {
                ErasureTarget::Stream(stream) => &ErasureTarget::Entity(stream.clone()),
                other => other,
            };
            erasure.messages(target, after, limit).await
        }
    }
    AnEntityIsOneStream breaks [an_entity_is_erased_with_all_its_streams] {
        async fn to_erase(&self, erasure: Erases<'_>, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
            let target = match target {
                ErasureTarget::Entity(stream) => &ErasureTarget::Stream(stream.clone()),
                other => other,
            };
            erasure.messages(target, after, limit).await
        }
    }
    ErasedDataIsCompared breaks [the_same_append_as_an_erased_one_is_a_repeat] {
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
    EachErasureBeginsAnew breaks [an_erasure_that_has_not_ended_is_continued] {
        async fn begin_erasure(&self, erasure: Erases<'_>, target: &ErasureTarget) -> Result<ErasureRun> {
            let mut run = erasure.begin(target).await?;
            run.looked_through = GlobalPosition::ZERO;
            Ok(run)
        }
    }
    ErasedMessagesAreErasedAgain breaks [an_erased_message_is_archived_as_it_is] {
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
