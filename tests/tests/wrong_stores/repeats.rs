//! Stores that do not know a message again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use message_store::{
    Append, AppendRequest, Appended, Error, MessageId, MessageStore, NewMessage, Position, Result, StreamName,
};

use super::wrong::Wrong;

/// The ids of an append.
fn ids(request: &AppendRequest) -> Vec<MessageId> {
    request.appends().iter().flat_map(|append| &append.messages).map(|message| message.id).collect()
}

fn conflict(id: MessageId, stream: &StreamName, reason: &str) -> Error {
    Error::IdConflict { id, stream: stream.clone(), reason: reason.to_owned() }
}

/// The same request, in which a message whose id is taken is changed to what is stored under it.
async fn alike(
    store: &dyn MessageStore,
    request: &AppendRequest,
    change: impl Fn(&StreamName, &mut NewMessage, message_store::Message) + Send + Sync,
) -> Result<AppendRequest> {
    let mut appends = request.appends().to_vec();
    for append in &mut appends {
        for message in &mut append.messages {
            if let Some(stored) = store.message(message.id).await? {
                change(&append.stream, message, stored);
            }
        }
    }
    Ok(match request.history() {
        Some(history) => AppendRequest::from(appends).in_history(history),
        None => appends.into(),
    })
}

/// The same appends without the messages whose ids are taken.
async fn fresh(store: &dyn MessageStore, request: &AppendRequest) -> Result<Vec<Append>> {
    let mut appends = Vec::new();
    for append in request.appends() {
        let mut fresh = Append::to(append.stream.clone());
        for message in &append.messages {
            if store.message(message.id).await?.is_none() {
                fresh = fresh.message(message.clone());
            }
        }
        if !fresh.messages.is_empty() {
            appends.push(fresh);
        }
    }
    Ok(appends)
}

/// Refuses an id that came before with another text.
fn compare(texts: &Mutex<HashMap<MessageId, String>>, request: &AppendRequest, text: impl Fn(&NewMessage) -> &str) -> Result<()> {
    let mut texts = texts.lock().unwrap();
    for append in request.appends() {
        for message in &append.messages {
            let known = texts.entry(message.id).or_insert_with(|| text(message).to_owned());
            if known != text(message) {
                return Err(conflict(message.id, &append.stream, "it was written with other data"));
            }
        }
    }
    Ok(())
}

wrong_stores! {
    RepeatsAreNotMarked breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            Ok(Appended { already_written: false, ..store.append(request).await? })
        }
    }
    RepeatsAreGivenNewPlaces breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let mut appended = store.append(request).await?;
            if appended.already_written {
                for place in &mut appended.written {
                    place.position = Position::new(place.position.get() + 10);
                }
            }
            Ok(appended)
        }
    }
    RepeatsAreWrittenAgain breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request.clone()).await?;
            if appended.already_written {
                for append in request.appends() {
                    let anew = append.messages.iter().map(|message| message.clone().with_id(MessageId::new()));
                    store.append(Append::to(append.stream.clone()).messages(anew).into()).await?;
                }
            }
            Ok(appended)
        }
    }
    RepeatsAtAStaleVersionAreRefused breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            for append in request.appends() {
                let actual = store.version(&append.stream).await?;
                if !append.expected.allows(actual) {
                    let (stream, expected) = (append.stream.clone(), append.expected);
                    return Err(Error::WrongExpectedVersion { stream, expected, actual });
                }
            }
            store.append(request).await
        }
    }
    DataIsComparedByItsText(Mutex<HashMap<MessageId, String>>) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            compare(&self.0, &request, |message| message.data.text())?;
            store.append(request).await
        }
    }
    MetadataIsComparedToo(Mutex<HashMap<MessageId, String>>) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            compare(&self.0, &request, |message| message.metadata.text())?;
            store.append(request).await
        }
    }
    OtherDataUnderAnIdIsARepeat breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(alike(store, &request, |_, message, stored| message.data = stored.data).await?).await
        }
    }
    AnotherTypeUnderAnIdIsARepeat breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let change = |_: &StreamName, message: &mut NewMessage, stored: message_store::Message| {
                message.message_type = stored.message_type;
            };
            store.append(alike(store, &request, change).await?).await
        }
    }
    AnIdIsUniqueInItsStreamAlone breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let change = |stream: &StreamName, message: &mut NewMessage, stored: message_store::Message| {
                if stored.stream != *stream {
                    message.id = MessageId::new();
                }
            };
            let request = alike(store, &request, change).await?;
            match store.append(request.clone()).await {
                // Another writer was quicker.
                Err(Error::IdConflict { .. }) => store.append(alike(store, &request, change).await?).await,
                result => result,
            }
        }
    }
    WhatIsMissingOfARepeatIsWritten breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            let is_part = matches!(&result, Err(Error::IdConflict { reason, .. }) if reason.starts_with("only"));
            if is_part { store.append(fresh(store, &request).await?.into()).await } else { result }
        }
    }
    AConflictWritesWhatIsFresh breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let Err(Error::IdConflict { .. }) = &result {
                let _ = store.append(fresh(store, &request).await?.into()).await;
            }
            result
        }
    }
    AConflictDoesNotNameTheDifference breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map_err(|error| match error {
                Error::IdConflict { id, stream, .. } => conflict(id, &stream, "it is taken"),
                other => other,
            })
        }
    }
    ARefusedAppendTakesItsIds(Mutex<BTreeSet<MessageId>>) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let ids = ids(&request);
            if let Some(taken) = ids.iter().find(|id| self.0.lock().unwrap().contains(id)) {
                return Err(conflict(*taken, &request.appends()[0].stream, "it is taken"));
            }
            let result = store.append(request).await;
            if result.is_err() {
                let mut fresh = Vec::new();
                for id in ids {
                    if store.message(id).await?.is_none() {
                        fresh.push(id);
                    }
                }
                self.0.lock().unwrap().extend(fresh);
            }
            result
        }
    }
}
