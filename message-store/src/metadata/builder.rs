//! Methods that build metadata.

use std::num::NonZeroU32;

use serde::Serialize;

use crate::{Json, Metadata, Result, StreamName, Tag};

/// ```
/// use message_store::{Json, Metadata, NewMessage, StreamName};
///
/// let metadata = Metadata::new()
///     .correlation(&StreamName::new("transfer-1")?)
///     .reply_to(&StreamName::new("transfer-1")?)
///     .property("tenant", &"north")?;
/// let message = NewMessage::new("Deposit", Json::NULL).with_metadata(&metadata)?;
/// assert_eq!(
///     message.metadata.text(),
///     r#"{"correlationStreamName":"transfer-1","replyStreamName":"transfer-1","properties":{"tenant":"north"}}"#
/// );
/// # Ok::<(), message_store::Error>(())
/// ```
impl Metadata {
    /// Metadata without any field. Its JSON is `NULL`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the stream on whose behalf the message is written. Messages that follow from it inherit the stream.
    #[must_use]
    pub fn correlation(mut self, stream: &StreamName) -> Self {
        self.correlation_stream_name = Some(stream.as_str().to_owned());
        self
    }

    /// Sets the stream for an answer. Messages that follow from this one inherit it.
    #[must_use]
    pub fn reply_to(mut self, stream: &StreamName) -> Self {
        self.reply_stream_name = Some(stream.as_str().to_owned());
        self
    }

    /// Sets the version of the schema of the message's data.
    #[must_use]
    pub fn schema_version(mut self, version: impl Into<String>) -> Self {
        self.schema_version = Some(version.into());
        self
    }

    /// Sets the version of the message's type. `None` is version 1.
    #[must_use]
    pub(crate) fn of_version(mut self, version: Option<NonZeroU32>) -> Self {
        self.type_version = version;
        self
    }

    /// Adds a value that messages which follow from this one inherit.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when the value has no JSON form that can be stored.
    pub fn property(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        self.properties.insert(name.into(), Json::encode(value)?);
        Ok(self)
    }

    /// Adds a value that no other message inherits.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when the value has no JSON form that can be stored.
    pub fn local_property(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        self.local_properties.insert(name.into(), Json::encode(value)?);
        Ok(self)
    }

    /// Sets the W3C trace context. Messages that follow from this one inherit it.
    #[must_use]
    pub fn trace(mut self, traceparent: impl Into<String>, tracestate: Option<&str>) -> Self {
        self.traceparent = Some(traceparent.into());
        self.tracestate = tracestate.map(str::to_owned);
        self
    }

    /// Adds a tag, by which a [query](crate::store::Query) finds the message. No other message inherits it.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }
}
