//! Stamping: what every message written for another carries, so that no user code has to remember it.

use serde::Serialize;

use crate::{Error, Json, Message, MessageId, Metadata, NewMessage, Result, StreamName, derived_id};

/// Stamps the messages that a handler writes for one message.
pub(crate) struct Stamp<'a> {
    cause: MessageId,
    handler: &'a str,
    /// The name of the write, among those of the handler.
    write: &'a str,
    metadata: Json,
}

impl<'a> Stamp<'a> {
    /// `metadata` is what is written for the cause ([`Metadata::written_for`]).
    pub(crate) fn new(cause: MessageId, mut metadata: Metadata, handler: &'a str, write: &'a str) -> Result<Self> {
        metadata.handler = Some(handler.to_owned());
        // What follows the cause was read from the store.
        Ok(Self { cause, handler, write, metadata: Json::encode_stored(&metadata)? })
    }

    /// The message as number `index` of those written to `stream` for the cause. What its metadata said is replaced.
    pub(crate) fn put_on(&self, message: NewMessage, stream: &StreamName, index: usize) -> NewMessage {
        let id = derived_id(self.cause, self.handler, self.write, stream, index);
        NewMessage { id, metadata: self.metadata.clone(), ..message }
    }
}

/// Refuses a message that stands under an id of ours and was written by another handler, or with another type.
///
/// # Errors
/// [`Error::IdConflict`].
pub(crate) fn assert_written_by(handler: &str, message_type: Option<&str>, found: &Message) -> Result<()> {
    let writer = found.decode_metadata().handler;
    let conflict = |reason| Err(Error::IdConflict { id: found.id, stream: found.stream.clone(), reason });
    if writer.as_deref() != Some(handler) {
        let writer = writer.map_or_else(|| "a writer without a name".to_owned(), |name| format!("the handler {name}"));
        return conflict(format!("it stands at {}, written by {writer}, not by {handler}", found.reference()));
    }
    match message_type {
        Some(expected) if expected != found.message_type => {
            conflict(format!("it stands at {} as a {}, not a {expected}", found.reference(), found.message_type))
        }
        _ => Ok(()),
    }
}
/// A field that the runtime adds to data: `"name":value`.
pub(crate) fn field(name: &str, value: &impl Serialize) -> Result<String> {
    let reject = |error: serde_json::Error| Error::invalid("event", error.to_string());
    let (name, value) = (serde_json::to_string(name).map_err(reject)?, serde_json::to_string(value).map_err(reject)?);
    Ok(format!("{name}:{value}"))
}

/// The data, a JSON text, with these fields more, in the last places: one or more of [`field`], with commas between them.
pub(crate) fn with_fields(mut data: String, fields: &str) -> Result<String> {
    if data == "null" || data == "{}" {
        return Ok(format!("{{{fields}}}"));
    }
    if data.pop() != Some('}') {
        return Err(Error::invalid("event", format!("its data must be an object to carry `{fields}`")));
    }
    data.reserve(fields.len() + 2);
    data.push(',');
    data.push_str(fields);
    data.push('}');
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_added_to_any_object_and_to_nothing_else() {
        let fields = [field("sequence", &7).unwrap(), field("time", &"t").unwrap()].join(",");
        for (data, expected) in [
            ("null", r#"{"sequence":7,"time":"t"}"#),
            ("{}", r#"{"sequence":7,"time":"t"}"#),
            (r#"{"a":{}}"#, r#"{"a":{},"sequence":7,"time":"t"}"#),
            // Of equal keys the last counts.
            (r#"{"sequence":1}"#, r#"{"sequence":7,"time":"t"}"#),
        ] {
            let with = Json::parse(with_fields(data.to_owned(), &fields).unwrap()).unwrap();
            assert_eq!(with.text(), expected);
        }
        assert!(with_fields("[1]".to_owned(), &fields).is_err());
    }
}
