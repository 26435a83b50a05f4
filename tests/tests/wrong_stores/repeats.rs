//! Stores that do not recognise repeats, or find repeats that are none.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use message_store::{
    Append, AppendRequest, Appended, Error, MessageId, MessageStore, NewMessage, Position, Result, StreamName,
};

use super::wrong::{Store, Wrong};

/// The ids of an append.
fn ids(request: &AppendRequest) -> Vec<MessageId> {
    request.appends().iter().flat_map(|append| &append.messages).map(|message| message.id).collect()
}

fn conflict(id: MessageId, stream: &StreamName, reason: &str) -> Error {
    Error::IdConflict { id, stream: stream.clone(), reason: reason.to_owned() }
}

/// The same request, after `change` was applied to each message whose id is stored already.
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

/// The same appends without the messages whose ids are stored already.
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

/// Refuses a message if an earlier one with its id had another text.
fn compare(
    texts: &Mutex<HashMap<MessageId, String>>,
    request: &AppendRequest,
    text: impl Fn(&NewMessage) -> &str,
) -> Result<()> {
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
    RepeatsAreNotMarked breaks [
        the_same_append_again_is_marked_as_already_written
        the_same_append_again_is_answered_also_where_its_expected_version_is_stale
        the_same_data_written_differently_is_the_same
        a_repeat_may_have_other_metadata
        the_same_append_from_many_writers_at_once_is_written_once
        the_id_of_an_archived_message_is_taken
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            Ok(changed!(store.append(request).await?, already_written = false))
        }
    }
    RepeatsAreGivenNewPlaces breaks [
        the_same_append_again_returns_the_first_places
        the_same_append_again_is_answered_also_where_its_expected_version_is_stale
        the_same_append_from_many_writers_at_once_is_written_once
        a_lost_answer_is_settled_by_the_same_append_again
        the_id_of_an_archived_message_is_taken
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let mut appended = store.append(request).await?;
            if appended.already_written {
                for place in &mut appended.written {
                    place.position = Position::new(place.position.get() + 10);
                }
            }
            Ok(appended)
        }
    }
    RepeatsAreWrittenAgain breaks [
        the_same_append_again_writes_nothing
        the_same_append_from_many_writers_at_once_is_written_once
        a_lost_answer_is_settled_by_the_same_append_again
        the_id_of_an_archived_message_is_taken
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
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
    RepeatsAtAStaleVersionAreRefused breaks [
        the_same_append_again_is_answered_also_where_its_expected_version_is_stale
        the_same_append_from_many_writers_at_once_is_written_once
        a_lost_answer_is_settled_by_the_same_append_again
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request.clone()).await?;
            for append in request.appends().iter().filter(|_| appended.already_written) {
                let actual = store.version(&append.stream).await?;
                if !append.expected.allows(actual) {
                    let (stream, expected) = (append.stream.clone(), append.expected);
                    return Err(Error::WrongExpectedVersion { stream, expected, actual });
                }
            }
            Ok(appended)
        }
    }
    DataIsComparedByItsText(Mutex<HashMap<MessageId, String>>) breaks [
        the_same_data_written_differently_is_the_same
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            compare(&self.0, &request, |message| message.data.text())?;
            store.append(request).await
        }
    }
    MetadataIsComparedToo(Mutex<HashMap<MessageId, String>>) breaks [
        a_repeat_may_have_other_metadata
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            compare(&self.0, &request, |message| message.metadata.text())?;
            store.append(request).await
        }
    }
    OtherDataUnderAnIdIsARepeat breaks [
        an_id_again_with_other_data_is_a_conflict
        a_conflict_names_the_id_and_the_stream_and_the_difference
        the_id_of_an_archived_message_is_taken
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(alike(store, &request, |_, message, stored| message.data = stored.data).await?).await
        }
    }
    AnotherTypeUnderAnIdIsARepeat breaks [
        an_id_again_with_another_type_is_a_conflict
        a_conflict_names_the_id_and_the_stream_and_the_difference
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |_: &StreamName, message: &mut NewMessage, stored: message_store::Message| {
                message.message_type = stored.message_type;
            };
            store.append(alike(store, &request, change).await?).await
        }
    }
    AnIdIsUniqueInItsStreamAlone breaks [
        an_id_that_two_categories_race_for_is_given_once
        an_id_again_in_another_stream_is_a_conflict
        a_conflict_names_the_id_and_the_stream_and_the_difference
        a_conflict_writes_nothing
        an_id_that_a_refused_append_named_is_free
        the_id_of_an_archived_message_is_taken
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |stream: &StreamName, message: &mut NewMessage, stored: message_store::Message| {
                if stored.stream != *stream {
                    message.id = MessageId::new();
                }
            };
            let request = alike(store, &request, change).await?;
            match store.append(request.clone()).await {
                // Another writer has written the id meanwhile.
                Err(Error::IdConflict { .. }) => store.append(alike(store, &request, change).await?).await,
                result => result,
            }
        }
    }
    WhatIsMissingOfARepeatIsWritten breaks [
        an_append_of_which_a_part_was_written_before_is_a_conflict
        an_append_of_which_a_part_was_written_before_writes_nothing
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            let is_part = matches!(&result, Err(Error::IdConflict { reason, .. }) if reason.starts_with("only"));
            if is_part { store.append(fresh(store, &request).await?.into()).await } else { result }
        }
    }
    AConflictWritesWhatIsFresh breaks [
        a_conflict_writes_nothing
        an_append_of_which_a_part_was_written_before_writes_nothing
        an_id_that_a_refused_append_named_is_free
        the_id_of_an_archived_message_is_taken
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let Err(Error::IdConflict { .. }) = &result {
                let _ = store.append(fresh(store, &request).await?.into()).await;
            }
            result
        }
    }
    AConflictDoesNotNameTheDifference breaks [a_conflict_names_the_id_and_the_stream_and_the_difference] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map_err(|error| match error {
                Error::IdConflict { id, stream, .. } => conflict(id, &stream, "it is taken"),
                other => other,
            })
        }
    }
    ARefusedAppendTakesItsIds(Mutex<BTreeSet<MessageId>>) breaks [
        an_append_that_uses_an_id_twice_is_invalid
        a_refused_append_can_be_made_again
        an_id_that_a_refused_append_named_is_free
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
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
