//! Stores that read another part of a stream, or of another one; and those whose look-ups find something else.

use std::sync::atomic::{AtomicBool, Ordering};

use message_store::{
    Message, MessageId, MessageStore, Position, Read, Result, StreamName, StreamRead, Version,
};

use super::wrong::Wrong;

/// The messages of all streams that a condition names.
async fn of_streams(store: &dyn MessageStore, is_meant: impl Fn(&StreamName) -> bool + Send) -> Result<Vec<Message>> {
    let mut messages = store.read_all(Read::default()).await?.messages;
    messages.retain(|message| is_meant(&message.stream));
    Ok(messages)
}

wrong_stores! {
    AReadBeginsBehindItsPosition breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, mut read: StreamRead) -> Result<Vec<Message>> {
            if !read.backwards {
                read.from = read.from.map(Position::next);
            }
            store.read_stream(stream, read).await
        }
    }
    AReadBackwardsBeginsBehindItsPosition breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, mut read: StreamRead) -> Result<Vec<Message>> {
            if read.backwards {
                read.from = read.from.map(|from| Position::new(from.get() - 1));
            }
            store.read_stream(stream, read).await
        }
    }
    AReadBackwardsGoesForwards breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let mut messages = store.read_stream(stream, read).await?;
            messages.sort_by_key(|message| message.position);
            Ok(messages)
        }
    }
    TheLimitOfAStreamIsIgnored breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            store.read_stream(stream, read.limit(1_000)).await
        }
    }
    /// Once: a reader that goes on would never come to an end.
    AReadBehindTheEndReturnsTheLastMessage(AtomicBool) breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let messages = store.read_stream(stream, read.clone()).await?;
            let is_behind = messages.is_empty() && read.limit > 0 && read.from.is_some_and(|from| from > Position::FIRST);
            if is_behind && !self.0.swap(true, Ordering::SeqCst) {
                return store.read_stream(stream, StreamRead::backwards().limit(1)).await;
            }
            Ok(messages)
        }
    }
    AStreamThatIsNotThereReadsAsAnother breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            if store.version(stream).await? == Version::NO_STREAM {
                return of_streams(store, |other| other.category() == stream.category()).await;
            }
            store.read_stream(stream, read).await
        }
    }
    StreamNamesIgnoreCase breaks [] {
        async fn read_stream(&self, store: &dyn MessageStore, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let alike = of_streams(store, |other| other.as_str().eq_ignore_ascii_case(stream.as_str())).await?;
            if alike.iter().any(|message| message.stream != *stream) {
                return Ok(alike);
            }
            store.read_stream(stream, read).await
        }
    }
    TheLastMessageIsTheFirst breaks [] {
        async fn last_message(&self, store: &dyn MessageStore, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
            match message_type {
                None => Ok(store.read_stream(stream, StreamRead::default().limit(1)).await?.pop()),
                Some(_) => store.last_message(stream, message_type).await,
            }
        }
    }
    TheLastMessageOfATypeIsTheFirst breaks [] {
        async fn last_message(&self, store: &dyn MessageStore, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
            let Some(wanted) = message_type else { return store.last_message(stream, None).await };
            let messages = store.read_stream(stream, StreamRead::default()).await?;
            Ok(messages.into_iter().find(|message| message.message_type == wanted))
        }
    }
    TheLastMessageIsOfAnyType breaks [] {
        async fn last_message(&self, store: &dyn MessageStore, stream: &StreamName, _message_type: Option<&str>) -> Result<Option<Message>> {
            store.last_message(stream, None).await
        }
    }
    TheLastMessageOfAStreamThatIsNotThereIsAnother breaks [] {
        async fn last_message(&self, store: &dyn MessageStore, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
            match store.last_message(stream, message_type).await? {
                None if message_type.is_none() => Ok(of_streams(store, |_| true).await?.pop()),
                found => Ok(found),
            }
        }
    }
    VersionsCountFrom1 breaks [] {
        async fn version(&self, store: &dyn MessageStore, stream: &StreamName) -> Result<Version> {
            let version = store.version(stream).await?;
            Ok(version.position().map_or(version, |position| Version::at(position.next())))
        }
    }
    AStreamThatIsNotThereHasVersion0 breaks [] {
        async fn version(&self, store: &dyn MessageStore, stream: &StreamName) -> Result<Version> {
            Ok(store.version(stream).await?.max(Version::at(Position::FIRST)))
        }
    }
    AnIdFindsTheLastMessageOfItsStream breaks [] {
        async fn message(&self, store: &dyn MessageStore, id: MessageId) -> Result<Option<Message>> {
            let Some(message) = store.message(id).await? else { return Ok(None) };
            store.last_message(&message.stream, None).await
        }
    }
    AnUnknownIdFindsTheLastMessage breaks [] {
        async fn message(&self, store: &dyn MessageStore, id: MessageId) -> Result<Option<Message>> {
            match store.message(id).await? {
                None => Ok(of_streams(store, |_| true).await?.pop()),
                found => Ok(found),
            }
        }
    }
}
