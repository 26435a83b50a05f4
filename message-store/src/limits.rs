//! The largest sizes that a store writes and reads.

use crate::metadata::OWN_KEY;
use crate::{Error, Message, NewMessage, Result, StreamName};

/// The largest sizes that a store writes, and the largest batch that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The bytes of a message: type, data and metadata together. Default: 1 MiB.
    ///
    /// Every store compares the size of the JSON as PostgreSQL returns it
    /// ([`NewMessage::stored_size`]): white space outside strings does not count, each `,` and `:` there counts as two
    /// bytes, and a number counts with all its digits, so that `1e9` is ten bytes. The fields that the toolkit adds to
    /// the metadata do not count. So a message of any permitted size can be reserved, answered and copied to another
    /// store.
    pub message_bytes: usize,
    /// The messages of one append. Default: 10,000.
    pub append_messages: usize,
    /// The messages that one read returns, even if the caller asks for more. Default: 10,000.
    pub batch_messages: usize,
    /// The bytes of data and metadata that one read returns. A single message may be larger. Default: 16 MiB.
    pub batch_bytes: usize,
}

impl Limits {
    pub(crate) const DEFAULT: Self =
        Self { message_bytes: 1 << 20, append_messages: 10_000, batch_messages: 10_000, batch_bytes: 16 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An upper bound of the bytes that the toolkit adds to metadata: the stamp, the causation and the origin.
const STAMP_BYTES: usize = 8 << 10;

/// The greatest length of a message type, in bytes.
pub const MAX_MESSAGE_TYPE_BYTES: usize = 255;

impl Limits {
    pub(crate) fn check(&self, stream: &StreamName, message: &NewMessage) -> Result<()> {
        let message_type = &message.message_type;
        if message_type.is_empty() || message_type.contains('\0') {
            let reason = format!("{message_type:?} of message {} is empty or contains a NUL character", message.id);
            return Err(Error::invalid("message type", reason));
        }
        if message_type.len() > MAX_MESSAGE_TYPE_BYTES {
            let (actual, limit) = (message_type.len(), MAX_MESSAGE_TYPE_BYTES);
            return Err(Error::TooLarge { what: format!("the type of message {}", message.id), actual, limit });
        }
        // The bytes of an ordinary message need not be counted.
        let texts_at_most = message.data.stored_size_at_most() + message.metadata.stored_size_at_most();
        if message_type.len() + texts_at_most <= self.message_bytes {
            return Ok(());
        }
        let actual = message.stored_size();
        let is_stamped = || message.metadata.text().contains(OWN_KEY);
        if actual > self.message_bytes && !(is_stamped() && actual <= self.message_bytes + STAMP_BYTES) {
            let (id, written) = (message.id, message.size());
            let what = format!(
                "the size of {message_type} {id} for {stream}, in bytes as PostgreSQL returns it ({written} as written),"
            );
            return Err(Error::TooLarge { what, actual, limit: self.message_bytes });
        }
        Ok(())
    }

    /// For backends: keeps the first messages, as many as one batch may have. It keeps at least one message, if there
    /// are any.
    pub fn cut(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let mut bytes = 0;
        let fit = messages.iter().take(self.batch_messages).take_while(|message| {
            bytes += message.data.len() + message.metadata.len();
            bytes <= self.batch_bytes
        });
        let fit = fit.count().max(1);
        messages.truncate(fit);
        messages
    }

    /// The number of rows to read for a caller that asks for `asked` messages.
    pub(crate) fn rows(&self, asked: usize) -> i64 {
        i64::try_from(asked.min(self.batch_messages)).unwrap_or(i64::MAX)
    }

    /// The greatest number of bytes to read, as a parameter of SQL.
    pub(crate) fn bytes(&self) -> i64 {
        i64::try_from(self.batch_bytes).unwrap_or(i64::MAX)
    }
}
