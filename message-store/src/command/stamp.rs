//! Stamping: what every message written for another carries, so that no user code has to remember it.

use serde::Serialize;

use crate::idempotence::{Sequence, derived_id};
use crate::{Error, Json, Message, Metadata, NewMessage, Result, StreamName};

/// Stamps the messages written for one message.
pub(crate) struct Stamp<'a> {
    cause: &'a Message,
    metadata: Json,
}

impl<'a> Stamp<'a> {
    pub(crate) fn new(cause: &'a Message, sequence: &Sequence) -> Result<Self> {
        let mut metadata = Metadata::follow(cause)?;
        metadata.sequence = Some(sequence.clone());
        Ok(Self { cause, metadata: metadata.to_json()? })
    }

    /// The message as number `index` of those written to `stream` for the cause. What its metadata said is replaced.
    pub(crate) fn put_on(&self, message: NewMessage, stream: &StreamName, index: usize) -> NewMessage {
        NewMessage { id: derived_id(self.cause.id, stream, index), metadata: self.metadata.clone(), ..message }
    }
}

/// The data with one field more, in the last place.
pub(crate) fn with_field(data: &Json, field: &str, value: &impl Serialize) -> Result<Json> {
    let reject = |error: serde_json::Error| Error::invalid("event", error.to_string());
    let member = format!(
        "{}:{}}}",
        serde_json::to_string(field).map_err(reject)?,
        serde_json::to_string(value).map_err(reject)?
    );
    match data.as_str() {
        None | Some("{}") => Json::parse(format!("{{{member}")),
        Some(object) => match object.strip_suffix('}') {
            Some(open) => Json::parse(format!("{open},{member}")),
            None => {
                Err(Error::invalid("event", format!("its data must be an object to carry `{field}`, not {object}")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_added_to_any_object_and_to_nothing_else() {
        for (data, expected) in
            [("null", r#"{"sequence":7}"#), ("{}", r#"{"sequence":7}"#), (r#"{"a":{}}"#, r#"{"a":{},"sequence":7}"#)]
        {
            assert_eq!(with_field(&Json::parse(data).unwrap(), "sequence", &7).unwrap().text(), expected);
        }
        assert!(with_field(&Json::parse("[1]").unwrap(), "sequence", &7).is_err());
    }
}
