//! Metadata: the message that caused this one, the stream on whose behalf it was written, and the stream for an answer.
//!
//! The keys are those of Eventide's `Message::Metadata`, in camelCase: each toolkit reads the other's messages. The
//! fields that only this toolkit has are in one object under the key `messageStore`, which no application uses.
//!
//! Problem: an application, or a tool in another language, may write any value under any key of the metadata. A reader
//! that insists on a type would stop at such a message for ever. Fix: a field with an unexpected type counts as absent.
//! It is kept as it is, and its name is listed in [`Metadata::unread`].

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::sequence::{place_of, places_of};
use crate::{GlobalPosition, Json, Message, Position, Result, Sequence, Stamped, StoreId, StreamName};

/// The key of the object with the toolkit's own fields.
pub(crate) const OWN_KEY: &str = "messageStore";
/// The key, in that object, of values that other programs wrote under the toolkit's names.
const DISPLACED_KEY: &str = "displaced";

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
    /// The stream to which an answer is to be written. Messages that follow from it inherit this field.
    pub reply_stream_name: Option<String>,
    /// The version of the schema of the message's data.
    pub schema_version: Option<String>,
    /// Values of the application. Messages that follow from this one inherit them.
    pub properties: BTreeMap<String, Json>,
    /// Values of the application that no other message inherits.
    pub local_properties: BTreeMap<String, Json>,
    /// The `traceparent` of the W3C trace context. Messages that follow from it inherit this field.
    pub traceparent: Option<String>,
    /// The `tracestate` of the W3C trace context. Messages that follow from it inherit this field.
    pub tracestate: Option<String>,
    /// The sequence of the message for which this one was written. The runtime writes it, and [`Metadata::cause`] reads
    /// it.
    pub sequence: Option<Stamped>,
    /// The name of the handler that wrote this message. The runtime writes it.
    pub handler: Option<String>,
    /// The type of the command whose intent this message reserves, when both are written in one append.
    pub reserves: Option<String>,
    /// The sequence of the original, if this message is a copy from another store.
    pub origin: Option<Sequence>,
    /// The places of the earlier copies, if this message is a copy of a copy.
    pub via: Vec<Sequence>,
    /// All fields that the toolkit does not know.
    pub other: BTreeMap<String, Json>,
    /// The other fields of the toolkit's object.
    own_other: BTreeMap<String, Json>,
    unread: Vec<String>,
}

/// The metadata for the messages that a handler writes for a message, and the sequences that identify that message.
pub(crate) struct Followed {
    /// The metadata for those messages.
    pub(crate) metadata: Metadata,
    pub(crate) sequence: Sequence,
    /// The places of the message and of its earlier copies, if it is a copy; else empty.
    pub(crate) copies: Vec<Sequence>,
}

type Fields = BTreeMap<String, Box<RawValue>>;

/// Removes fields one by one. A field of an unexpected type remains, and its name is noted.
struct Reader<'a> {
    fields: Fields,
    unread: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let raw = self.fields.get(key)?;
        let read = serde_json::from_str::<Option<T>>(raw.get());
        if read.is_ok() {
            self.fields.remove(key);
        } else {
            self.unread.push(key.to_owned());
        }
        read.ok().flatten()
    }

    fn rest(self) -> BTreeMap<String, Json> {
        self.fields.into_iter().map(|(key, raw)| (key, json(&raw))).collect()
    }
}

/// Moves values that other programs wrote under the toolkit's names into one object, so that the toolkit can write its
/// own values there.
fn displace(rest: BTreeMap<String, Json>) -> BTreeMap<String, Json> {
    let is_ours = |key: &str| ["sequence", "handler", "reserves", "origin", "via"].contains(&key);
    let (ours, mut rest): (BTreeMap<_, _>, BTreeMap<_, _>) = rest.into_iter().partition(|(key, _)| is_ours(key));
    if ours.is_empty() {
        return rest;
    }
    let mut displaced = ours;
    // Values that were moved before are kept.
    displaced.extend(rest.remove_entry(DISPLACED_KEY));
    if let Ok(displaced) = serde_json::to_string(&displaced) {
        rest.insert(DISPLACED_KEY.to_owned(), storable(&displaced));
    }
    rest
}

/// The form in which a value is kept two levels below the top: unchanged, or as a string when it is not JSON or would
/// be nested too deeply there.
fn storable(text: &str) -> Json {
    let nested = format!("[[{text}]]");
    let is_storable = serde_json::from_str::<&RawValue>(text).is_ok() && Json::parse(nested).is_ok();
    if is_storable {
        return Json::from_database(Some(text.to_owned()));
    }
    Json::encode(text).unwrap_or_default()
}

/// The database has checked the whole text, so its parts are JSON.
fn json(raw: &RawValue) -> Json {
    Json::from_database(Some(raw.get().to_owned()))
}

impl Metadata {
    /// Decodes metadata. No JSON gives empty metadata. A field of an unexpected type is kept in `other`.
    pub fn from_json(json: &Json) -> Self {
        let mut metadata = Self::default();
        let Some(text) = json.as_str() else { return metadata };
        let Ok(fields) = serde_json::from_str::<Fields>(text) else {
            metadata.unread.push("metadata".to_owned());
            metadata.own_other.insert(DISPLACED_KEY.to_owned(), storable(text));
            return metadata;
        };
        let mut reader = Reader { fields, unread: &mut metadata.unread };
        metadata.causation_message_stream_name = reader.take("causationMessageStreamName");
        metadata.causation_message_position = reader.take("causationMessagePosition");
        metadata.causation_message_global_position = reader.take("causationMessageGlobalPosition");
        metadata.correlation_stream_name = reader.take("correlationStreamName");
        metadata.reply_stream_name = reader.take("replyStreamName");
        metadata.schema_version = reader.take("schemaVersion");
        metadata.properties = reader.take("properties").unwrap_or_default();
        metadata.local_properties = reader.take("localProperties").unwrap_or_default();
        metadata.traceparent = reader.take("traceparent");
        metadata.tracestate = reader.take("tracestate");
        if let Some(own) = reader.fields.remove(OWN_KEY) {
            if let Ok(fields) = serde_json::from_str::<Fields>(own.get()) {
                let mut own = Reader { fields, unread: reader.unread };
                metadata.sequence = own.take("sequence");
                metadata.handler = own.take("handler");
                metadata.reserves = own.take("reserves");
                metadata.origin = own.take("origin");
                metadata.via = own.take("via").unwrap_or_default();
                metadata.own_other = displace(own.rest());
            } else {
                reader.unread.push(OWN_KEY.to_owned());
                metadata.own_other.insert(DISPLACED_KEY.to_owned(), storable(own.get()));
            }
        }
        // Earlier versions wrote these two at the top level.
        metadata.sequence = metadata.sequence.or_else(|| reader.take::<Sequence>("sequence").map(Stamped::from));
        metadata.origin = metadata.origin.or_else(|| reader.take("origin"));
        metadata.other = reader.rest();
        metadata
    }

    /// Encodes the metadata. Empty metadata gives no JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when a value has no JSON form that can be stored.
    pub fn to_json(&self) -> Result<Json> {
        if *self == Self::default() {
            return Ok(Json::NULL);
        }
        Json::encode(self)
    }

    /// Metadata for a message that `preceding` causes. Its causation names `preceding`, and it inherits the
    /// correlation, the reply stream, the properties and the trace context. It does not inherit the local properties,
    /// the schema version, the sequence and the origin.
    pub fn follow(preceding: &Message) -> Self {
        Self::carrying(preceding.decode_metadata(), preceding)
    }

    /// As [`Metadata::follow`], with the stamp: the sequence of `cause`, which was read from the store `here`.
    pub(crate) fn written_for(cause: &Message, here: StoreId) -> Followed {
        let mut carried = Self::from_json(&cause.metadata);
        let (birth, mut copies, place) =
            (carried.origin.take(), std::mem::take(&mut carried.via), place_of(cause, here));
        let stamped = Stamped::new(birth.as_ref().unwrap_or(&place), &place);
        let sequence = match birth {
            Some(birth) => {
                copies.push(place);
                birth
            }
            None => place,
        };
        Followed { metadata: Self { sequence: Some(stamped), ..Self::carrying(carried, cause) }, sequence, copies }
    }

    fn carrying(carried: Self, preceding: &Message) -> Self {
        Self {
            causation_message_stream_name: Some(preceding.stream.as_str().to_owned()),
            causation_message_position: Some(preceding.position),
            causation_message_global_position: Some(preceding.global_position),
            correlation_stream_name: carried.correlation_stream_name,
            reply_stream_name: carried.reply_stream_name,
            properties: carried.properties,
            traceparent: carried.traceparent,
            tracestate: carried.tracestate,
            ..Self::default()
        }
    }

    /// The sequence of the message that caused this one, from the stamp or else from Eventide's causation fields. Those
    /// fields name a place in the store where this message was first written: `here`, unless the message is a copy.
    pub fn cause(&self, here: StoreId) -> Option<Sequence> {
        let home = self.origin.as_ref().map_or(here, |birth| birth.origin.store_id);
        let stream = self.causation_message_stream_name.as_deref();
        let category = stream.map(|stream| StreamName::from_database(stream).category());
        let causation = category.zip(self.causation_message_global_position);
        let stamped = self.sequence.clone().and_then(|stamped| stamped.resolve(home, causation.as_ref()));
        stamped.or_else(|| causation.map(|(category, position)| Sequence::new(home, category, position)))
    }

    /// Whether `preceding` caused a message with this metadata. Both were read from the store `here`. Positions of two
    /// stores are never compared.
    pub fn follows(&self, preceding: &Message, here: StoreId) -> bool {
        self.cause(here).is_some_and(|cause| places_of(preceding, here).contains(&cause))
    }

    /// Whether the toolkit writes this key, so that the value of another program under it is left out.
    fn writes(&self, key: &str) -> bool {
        match key {
            "causationMessageStreamName" => self.causation_message_stream_name.is_some(),
            "causationMessagePosition" => self.causation_message_position.is_some(),
            "causationMessageGlobalPosition" => self.causation_message_global_position.is_some(),
            "correlationStreamName" => self.correlation_stream_name.is_some(),
            "replyStreamName" => self.reply_stream_name.is_some(),
            "schemaVersion" => self.schema_version.is_some(),
            "properties" => !self.properties.is_empty(),
            "localProperties" => !self.local_properties.is_empty(),
            "traceparent" => self.traceparent.is_some(),
            "tracestate" => self.tracestate.is_some(),
            _ => key == OWN_KEY,
        }
    }

    /// The names of the fields whose type is not the expected one. They count as absent, and are kept as they are.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut texts = |key: &str, text: &Option<String>| match text {
            Some(text) => map.serialize_entry(key, text),
            None => Ok(()),
        };
        texts("causationMessageStreamName", &self.causation_message_stream_name)?;
        texts("correlationStreamName", &self.correlation_stream_name)?;
        texts("replyStreamName", &self.reply_stream_name)?;
        texts("schemaVersion", &self.schema_version)?;
        texts("traceparent", &self.traceparent)?;
        texts("tracestate", &self.tracestate)?;
        if let Some(position) = self.causation_message_position {
            map.serialize_entry("causationMessagePosition", &position)?;
        }
        if let Some(position) = self.causation_message_global_position {
            map.serialize_entry("causationMessageGlobalPosition", &position)?;
        }
        for (key, values) in [("properties", &self.properties), ("localProperties", &self.local_properties)] {
            if !values.is_empty() {
                map.serialize_entry(key, values)?;
            }
        }
        let own = Own(self);
        if !own.is_empty() {
            map.serialize_entry(OWN_KEY, &own)?;
        }
        let others = self.other.iter().filter(|(key, _)| !self.writes(key));
        others.into_iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// The object under the toolkit's key.
struct Own<'a>(&'a Metadata);

impl Own<'_> {
    fn is_empty(&self) -> bool {
        let Metadata { sequence, handler, reserves, origin, via, own_other, .. } = self.0;
        let is_stamped = sequence.is_some() || handler.is_some() || reserves.is_some();
        !is_stamped && origin.is_none() && via.is_empty() && own_other.is_empty()
    }
}

impl Serialize for Own<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Metadata { sequence, handler, reserves, origin, via, own_other, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(sequence) = sequence {
            map.serialize_entry("sequence", sequence)?;
        }
        if let Some(handler) = handler {
            map.serialize_entry("handler", handler)?;
        }
        if let Some(reserves) = reserves {
            map.serialize_entry("reserves", reserves)?;
        }
        if let Some(origin) = origin {
            map.serialize_entry("origin", origin)?;
        }
        if !via.is_empty() {
            map.serialize_entry("via", via)?;
        }
        own_other.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Metadata {
        Metadata::from_json(&Json::parse(text).unwrap())
    }

    #[test]
    fn what_others_put_in_metadata_is_carried_counted_and_passed_over() {
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
    fn what_stood_in_our_place_is_kept_whatever_it_is() {
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
    fn what_an_earlier_version_wrote_keeps_its_meaning() {
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
