//! Stores that accept appends that every store must refuse, or refuse appends that every store must accept.

use std::sync::LazyLock;

use message_store::{
    Append, AppendRequest, Appended, Error, History, Limits, MAX_MESSAGE_TYPE_BYTES, MessageId, MessageStore, Result,
};

use super::wrong::{Store, Wrong};

/// The same request with other appends.
fn changed(request: &AppendRequest, change: impl FnOnce(&mut Vec<Append>)) -> AppendRequest {
    let mut appends = request.appends().to_vec();
    change(&mut appends);
    match request.history() {
        Some(history) => AppendRequest::from(appends).in_history(history),
        None => appends.into(),
    }
}

/// The same request with other message types.
fn with_types(request: &AppendRequest, other: impl Fn(&str) -> String) -> AppendRequest {
    changed(request, |appends| {
        for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
            message.message_type = other(&message.message_type);
        }
    })
}

/// Limits that the store reports, but does not apply.
fn said(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = super::subject::limits();
    change(&mut limits);
    limits
}

static SMALLER_MESSAGES: LazyLock<Limits> = LazyLock::new(|| said(|limits| limits.message_bytes /= 2));
static LARGER_MESSAGES: LazyLock<Limits> = LazyLock::new(|| said(|limits| limits.message_bytes += 1));
static SMALLER_APPENDS: LazyLock<Limits> = LazyLock::new(|| said(|limits| limits.append_messages /= 2));
static SMALLER_BATCHES: LazyLock<Limits> = LazyLock::new(|| said(|limits| limits.batch_messages /= 2));
static FEWER_BYTES: LazyLock<Limits> = LazyLock::new(|| said(|limits| limits.batch_bytes /= 2));

wrong_stores! {
    AnAppendThatNamesNoStreamIsTaken breaks [an_append_that_names_no_stream_is_invalid] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            if request.is_empty() {
                return Ok(Appended::written(Vec::new()));
            }
            store.append(request).await
        }
    }
    AStreamWithoutAMessageIsPassedOver breaks [
        an_append_without_a_message_for_one_of_its_streams_is_invalid
        what_is_invalid_or_too_large_leaves_nothing_behind
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(changed(&request, |appends| appends.retain(|append| !append.messages.is_empty()))).await
        }
    }
    AStreamThatIsNamedTwiceIsWritten breaks [an_append_that_names_a_stream_twice_is_invalid] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let merged = changed(&request, |appends| {
                let mut merged: Vec<Append> = Vec::new();
                for append in std::mem::take(appends) {
                    match merged.iter_mut().find(|known| known.stream == append.stream) {
                        Some(known) => known.messages.extend(append.messages),
                        None => merged.push(append),
                    }
                }
                *appends = merged;
            });
            store.append(merged).await
        }
    }
    AnIdThatIsUsedTwiceIsReplaced breaks [
        an_append_that_uses_an_id_twice_is_invalid
        what_is_invalid_or_too_large_leaves_nothing_behind
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let apart = changed(&request, |appends| {
                let mut ids = Vec::new();
                for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
                    if ids.contains(&message.id) {
                        message.id = MessageId::new();
                    }
                    ids.push(message.id);
                }
            });
            store.append(apart).await
        }
    }
    AnEmptyTypeIsNamed breaks [
        a_message_type_that_is_empty_is_invalid
        what_is_invalid_or_too_large_leaves_nothing_behind
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let named = |name: &str| if name.is_empty() { "unknown".to_owned() } else { name.to_owned() };
            store.append(with_types(&request, named)).await
        }
    }
    ANulInATypeIsDropped breaks [a_message_type_that_holds_a_nul_is_invalid] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(with_types(&request, |name| name.replace('\0', ""))).await
        }
    }
    ALongTypeIsCut breaks [a_message_type_of_more_than_255_bytes_is_too_large] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let cut = |name: &str| name.chars().take(MAX_MESSAGE_TYPE_BYTES).collect();
            store.append(with_types(&request, cut)).await
        }
    }
    MessagesAboveTheLimitAreWritten breaks [
        a_message_of_more_bytes_than_the_limit_is_too_large
        what_is_invalid_or_too_large_leaves_nothing_behind
        an_append_that_is_invalid_or_too_large_leaves_the_key_free
        a_timer_that_a_store_cannot_write_is_refused
    ] {
        fn limits<'a>(&'a self, _store: &'a dyn MessageStore) -> &'a Limits {
            &SMALLER_MESSAGES
        }
    }
    MessagesOfJustTheLimitAreRefused breaks [a_message_of_just_the_limit_is_written] {
        fn limits<'a>(&'a self, _store: &'a dyn MessageStore) -> &'a Limits {
            &LARGER_MESSAGES
        }
    }
    AppendsAboveTheLimitAreWritten breaks [an_append_of_more_messages_than_the_limit_is_too_large] {
        fn limits<'a>(&'a self, _store: &'a dyn MessageStore) -> &'a Limits {
            &SMALLER_APPENDS
        }
    }
    BatchesHoldMoreMessagesThanTheLimit breaks [a_batch_holds_no_more_messages_than_the_limit] {
        fn limits<'a>(&'a self, _store: &'a dyn MessageStore) -> &'a Limits {
            &SMALLER_BATCHES
        }
    }
    BatchesHoldMoreBytesThanTheLimit breaks [
        a_batch_ends_where_its_bytes_do
        a_read_of_matches_keeps_to_the_limits_of_a_batch
    ] {
        fn limits<'a>(&'a self, _store: &'a dyn MessageStore) -> &'a Limits {
            &FEWER_BYTES
        }
    }
    WhatComesBeforeTheInvalidIsWritten breaks [what_is_invalid_or_too_large_leaves_nothing_behind] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let (Err(Error::Invalid { .. } | Error::TooLarge { .. }), [first, ..]) = (&result, request.appends()) {
                let _ = store.append(first.clone().into()).await;
            }
            result
        }
    }
    HistoriesAreIgnored breaks [an_append_that_was_decided_in_an_earlier_history_is_refused] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request.appends().to_vec().into()).await
        }
    }
    EveryHistoryIsAnEarlierOne breaks [an_append_that_was_decided_in_this_history_is_written] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            match request.history() {
                Some(History(0)) | None => store.append(request).await,
                Some(_) => Err(Error::HistoryChanged { store: store.describe() }),
            }
        }
    }
}
