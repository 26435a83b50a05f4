//! What remains of the metadata of a message that is erased.

use std::collections::BTreeMap;

use super::Metadata;
use crate::{Json, Result};

impl Metadata {
    /// The metadata of an erased message. The causation, the correlation, the reply stream, the stamp and the places of
    /// copies remain, so that the message is still recognised. The values of the application go, and whatever other
    /// programs wrote.
    pub(crate) fn erased(self) -> Self {
        Self {
            properties: BTreeMap::new(),
            local_properties: BTreeMap::new(),
            tracestate: None,
            tags: Vec::new(),
            other: BTreeMap::new(),
            own_other: BTreeMap::new(),
            unread: Vec::new(),
            erased: true,
            ..self
        }
    }
}

/// Whether a message with this content was erased: it has no data, and the toolkit's metadata says so.
pub(crate) fn is_erased(data: &Json, metadata: &Json) -> bool {
    // Nearly every message has data, and its metadata need not be decoded.
    data.is_empty() && metadata.text().contains("\"erased\"") && Metadata::from_json(metadata).erased
}

/// The metadata of an erased message, from that of the message.
pub(crate) fn erased_metadata(metadata: &Json) -> Result<Json> {
    Metadata::from_json(metadata).erased().to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_and_the_stamp_remain_and_what_the_application_wrote_goes() {
        let sequence =
            r#"{"storeId":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","category":"account:command","globalPosition":7}"#;
        let text = format!(
            r#"{{"causationMessageStreamName":"account:command-1","causationMessagePosition":3,
                "causationMessageGlobalPosition":7,"correlationStreamName":"transfer-1","replyStreamName":"reply-1",
                "schemaVersion":"2","properties":{{"name":"Ann"}},"localProperties":{{"ip":"::1"}},"traceparent":"00-1-2-3",
                "tracestate":"who=Ann","ours":"Ann","messageStore":{{"sequence":{sequence},"handler":"account",
                "reserves":"Deposit","reservesFor":"1","origin":{sequence},"displaced":{{"name":"Ann"}},"later":"Ann"}}}}"#
        );
        let before = Metadata::from_json(&Json::parse(text).unwrap());
        let erased = erased_metadata(&before.to_json().unwrap()).unwrap();
        assert!(!erased.text().contains("Ann") && !erased.text().contains("::1"), "{erased:?}");
        let after = Metadata::from_json(&erased);
        assert!(after.erased && is_erased(&Json::NULL, &erased));
        assert_eq!(
            Metadata { erased: false, ..after },
            Metadata { erased: false, ..before.erased() },
            "the rest is what it was"
        );
    }

    #[test]
    fn a_message_with_data_or_with_a_mark_of_another_program_is_not_erased() {
        let marked = Json::parse(r#"{"messageStore":{"erased":true}}"#).unwrap();
        assert!(is_erased(&Json::NULL, &marked));
        assert!(!is_erased(&Json::parse("{}").unwrap(), &marked));
        for other in
            [r#"{"erased":true}"#, r#"{"messageStore":{"erased":false}}"#, r#"{"messageStore":{"erased":"yes"}}"#]
        {
            assert!(!is_erased(&Json::NULL, &Json::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn messages_that_follow_from_an_erased_one_are_not_erased() {
        let mut metadata = Metadata { erased: true, ..Metadata::default() };
        metadata.correlation_stream_name = Some("transfer-1".to_owned());
        let message = crate::NewMessage::new("T", Json::NULL).with_metadata(&metadata).unwrap().written(
            crate::StreamName::new("account-1").unwrap(),
            crate::Position::FIRST,
            crate::GlobalPosition::FIRST,
            crate::Timestamp::UNIX_EPOCH,
        );
        assert!(message.is_erased() && !Metadata::follow(&message).erased);
    }
}
