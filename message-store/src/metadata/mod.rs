//! Metadata: the message that caused this one, the stream on whose behalf it was written, and the stream for an answer.
//!
//! The keys are those of Eventide's `Message::Metadata`, in camelCase: each toolkit reads the other's messages. The
//! fields that only this toolkit has are in one object under the key `messageStore`, which no application uses.
//!
//! Problem: an application, or a tool in another language, may write any value under any key of the metadata. A reader
//! that insists on a type would stop at such a message for ever. Fix: a field with an unexpected type counts as absent.
//! It is kept as it is, and its name is listed in [`Metadata::unread`].

mod builder;
mod decoding;
mod encoding;
mod erasing;
mod following;
mod merging;
mod storable;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::{GlobalPosition, Json, Position, Sequence, Stamped, Tag};
pub(crate) use erasing::{erased_metadata, is_erased};
pub(crate) use following::Followed;

/// The key of the object with the toolkit's own fields.
pub(crate) const OWN_KEY: &str = "messageStore";
/// The key, in that object, of values that other programs wrote under the toolkit's names.
const DISPLACED_KEY: &str = "displaced";

/// The type of a message that reserves an intent, if its metadata says so.
pub(crate) const RESERVED: &str = "Reserved";

/// A message's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// The stream of the message that caused this one.
    pub causation_message_stream_name: Option<String>,
    /// The position of that message in its stream.
    pub causation_message_position: Option<Position>,
    /// The global position of that message.
    pub causation_message_global_position: Option<GlobalPosition>,
    /// The stream on whose behalf the message was written. Messages that follow from it inherit this field.
    pub correlation_stream_name: Option<String>,
    /// The stream for an answer. Messages that follow from it inherit this field.
    pub reply_stream_name: Option<String>,
    /// Eventide's field: the version of the schema of the message's data, in the application's own words. The toolkit
    /// does not interpret it; it reads [`type_version`](Self::type_version).
    pub schema_version: Option<String>,
    /// Values of the application. Messages that follow from this one inherit them.
    pub properties: BTreeMap<String, Json>,
    /// Values of the application that no other message inherits.
    pub local_properties: BTreeMap<String, Json>,
    /// The `traceparent` of the W3C trace context. Messages that follow from it inherit this field.
    pub traceparent: Option<String>,
    /// The `tracestate` of the W3C trace context. Messages that follow from it inherit this field.
    pub tracestate: Option<String>,
    /// The tags by which a [query](crate::store::Query) finds the message. No other message inherits them.
    pub tags: Vec<Tag>,
    /// The sequence of the message for which this one was written. The runtime writes it, and [`Metadata::cause`] reads
    /// it.
    pub sequence: Option<Stamped>,
    /// The name of the handler that wrote this message. The runtime writes it.
    pub handler: Option<String>,
    /// The version of the message's type, if it is above 1: which form the data has. The runtime and
    /// [`NewMessage::versioned`](crate::NewMessage::versioned) write it, and [upcasters](crate::Upcaster) read it.
    pub type_version: Option<NonZeroU32>,
    /// The type of the command whose intent this message reserves, when both are written in one append.
    pub reserves: Option<String>,
    /// The id of the entity for which this message reserves an intent that all entities
    /// [share](crate::intents::Intent::across_entities).
    pub reserves_for: Option<String>,
    /// The sequence of the original, if this message is a copy from another store.
    pub origin: Option<Sequence>,
    /// The places of the earlier copies, if this message is a copy of a copy.
    pub via: Vec<Sequence>,
    /// The sequence of the original of the cause. A transfer writes it into a copy without a stamp, if the cause was a
    /// copy itself: the causation names only the place of that copy.
    pub cause_origin: Option<Sequence>,
    /// The message was erased.
    pub(crate) erased: bool,
    /// All fields that the toolkit does not know.
    pub other: BTreeMap<String, Json>,
    /// The other fields of the toolkit's object.
    own_other: BTreeMap<String, Json>,
    unread: Vec<String>,
}

impl Metadata {
    /// The names of the fields whose type is not the expected one. They count as absent, and are kept as they are.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Metadata {
        Metadata::from_json(&Json::parse(text).unwrap())
    }

    #[test]
    fn a_field_of_an_unexpected_type_is_kept_and_listed_as_unread() {
        for (text, unread) in [
            (r#"{"origin":"web"}"#, &["origin"][..]),
            (r#"{"sequence":12}"#, &["sequence"]),
            (r#"{"properties":null}"#, &[]),
            (r#"{"properties":[1],"localProperties":"none"}"#, &["properties", "localProperties"]),
            (r#"{"schemaVersion":2}"#, &["schemaVersion"]),
            (r#"{"causationMessagePosition":"7"}"#, &["causationMessagePosition"]),
            (r#"{"causationMessageGlobalPosition":1.5}"#, &["causationMessageGlobalPosition"]),
            (r#"{"causationMessageStreamName":{}}"#, &["causationMessageStreamName"]),
            (
                r#"{"correlationStreamName":["a"],"replyStreamName":false}"#,
                &["correlationStreamName", "replyStreamName"],
            ),
            (r#"{"traceparent":1,"tracestate":{}}"#, &["traceparent", "tracestate"]),
            (r#"{"messageStore":"mine","amount":12345678901234567890.10}"#, &["messageStore"]),
            (r#"{"messageStore":{"sequence":"7","origin":[],"later":true}}"#, &["sequence", "origin"]),
            (r#"{"messageStore":{"typeVersion":"2"}}"#, &["typeVersion"]),
            (r#"{"messageStore":{"typeVersion":0}}"#, &["typeVersion"]),
            ("[1,2]", &["metadata"]),
            ("\"text\"", &["metadata"]),
        ] {
            let metadata = read(text);
            assert_eq!(metadata.unread(), unread, "{text}");
            let (written, was) = (metadata.to_json().unwrap(), Json::parse(text).unwrap());
            let carried = written.same_as(&was) || written.text().contains(was.text().trim_matches(['{', '}']));
            let displaced = written.text().contains(DISPLACED_KEY);
            assert!(carried || displaced || text.contains("null"), "{text} became {written:?}");
        }
    }

    #[test]
    fn a_value_of_another_program_under_a_key_of_the_toolkit_is_kept() {
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        for text in ["", "not json", r#"{"half":"#, "[1,2]", &deep] {
            let mut metadata = Metadata::from_json(&Json::from_database(Some(text.to_owned())));
            metadata.reserves = Some("Deposit".to_owned());
            let read = Metadata::from_json(&metadata.to_json().unwrap());
            let displaced = read.own_other[DISPLACED_KEY].clone();
            assert!(
                displaced.text() == text || displaced.decode::<String>().is_ok_and(|kept| kept == text),
                "{text:?}"
            );
        }
        let twice = read(r#"{"messageStore":{"displaced":"theirs","sequence":"7"}}"#).to_json().unwrap();
        assert_eq!(twice.text(), r#"{"messageStore":{"displaced":{"displaced":"theirs","sequence":"7"}}}"#);
    }

    #[test]
    fn metadata_of_an_earlier_version_keeps_its_meaning() {
        let sequence =
            r#"{"storeId":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","category":"account:command","globalPosition":7}"#;
        let before = read(&format!(r#"{{"sequence":{sequence},"origin":{sequence}}}"#));
        assert_eq!(before.origin.as_ref().unwrap().global_position, GlobalPosition::new(7));
        assert_eq!(before.sequence, before.origin.clone().map(Stamped::from));
        let now = before.to_json().unwrap();
        assert!(now.same_as(
            &Json::parse(format!(r#"{{"messageStore":{{"sequence":{sequence},"origin":{sequence}}}}}"#)).unwrap()
        ));
        assert_eq!(Metadata::from_json(&now), before);
    }
}
