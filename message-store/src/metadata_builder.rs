//! Metadata that an author puts together.

use serde::Serialize;

use crate::{Json, Metadata, Result, StreamName};

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
    /// Empty metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On behalf of this stream. What follows from the message carries it on.
    #[must_use]
    pub fn correlation(mut self, stream: &StreamName) -> Self {
        self.correlation_stream_name = Some(stream.as_str().to_owned());
        self
    }

    /// An answer is to be written to this stream. What follows from the message carries it on.
    #[must_use]
    pub fn reply_to(mut self, stream: &StreamName) -> Self {
        self.reply_stream_name = Some(stream.as_str().to_owned());
        self
    }

    /// The version of the message's schema.
    #[must_use]
    pub fn schema_version(mut self, version: impl Into<String>) -> Self {
        self.schema_version = Some(version.into());
        self
    }

    /// A value that what follows from the message carries on.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when the value has no JSON form that can be stored.
    pub fn property(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        self.properties.insert(name.into(), Json::encode(value)?);
        Ok(self)
    }

    /// A value of this message alone.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when the value has no JSON form that can be stored.
    pub fn local_property(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        self.local_properties.insert(name.into(), Json::encode(value)?);
        Ok(self)
    }

    /// W3C trace context: `traceparent`, and `tracestate` where there is one. What follows from the message carries it
    /// on.
    #[must_use]
    pub fn trace(mut self, traceparent: impl Into<String>, tracestate: Option<&str>) -> Self {
        self.traceparent = Some(traceparent.into());
        self.tracestate = tracestate.map(str::to_owned);
        self
    }
}
