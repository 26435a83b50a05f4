//! Where a message comes from: what caused it, what it belongs to, where an answer goes.
//!
//! The keys are those of Eventide's `Message::Metadata`, in camelCase, so that its components read ours and we read
//! theirs. What the toolkit adds stands under the one key `messageStore`, which no application uses.
//!
//! Problem: metadata is everybody's: an application, or a tool in another language, may use any key for anything, and a
//! reader that insists on a shape stops at such a message for ever. Fix: a field that has not the shape we know is no
//! field of ours. It is carried, counted ([`Metadata::unread`]) and passed over.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::sequence::{place_of, places_of};
use crate::{GlobalPosition, Json, Message, Position, Result, Sequence, Stamped, StoreId, StreamName};

/// The key that what the toolkit adds stands under.
pub(crate) const OWN_KEY: &str = "messageStore";
/// Where, under our key, what stood in our place before is kept.
const DISPLACED_KEY: &str = "displaced";

/// A message's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// The stream of the message that caused this one.
    pub causation_message_stream_name: Option<String>,
    /// Its position in that stream.
    pub causation_message_position: Option<Position>,
    /// Its global position.
    pub causation_message_global_position: Option<GlobalPosition>,
    /// The stream on whose behalf all this happens: carried on from message to message.
    pub correlation_stream_name: Option<String>,
    /// Where an answer is to be written: carried on.
    pub reply_stream_name: Option<String>,
    /// The version of the message's schema.
    pub schema_version: Option<String>,
    /// Free values that are carried on.
    pub properties: BTreeMap<String, Json>,
    /// Free values of this message alone.
    pub local_properties: BTreeMap<String, Json>,
    /// W3C trace context, carried on.
    pub traceparent: Option<String>,
    /// W3C trace state, carried on.
    pub tracestate: Option<String>,
    /// The sequence of the message that this one was written for. The runtime stamps it; [`Metadata::cause`] reads it.
    pub sequence: Option<Stamped>,
    /// The name of the handler that wrote this message. The runtime stamps it.
    pub handler: Option<String>,
    /// The type of the command whose intent this message reserves, in one append with the command's events.
    pub reserves: Option<String>,
    /// Where this message was born, if it is a copy from another store.
    pub origin: Option<Sequence>,
    /// Where a copy of a copy stood between its birth and here.
    pub via: Vec<Sequence>,
    /// What others put there.
    pub other: BTreeMap<String, Json>,
    /// What else stands under the toolkit's key.
    own_other: BTreeMap<String, Json>,
    unread: Vec<String>,
}

/// What follows from a message for what is written for it.
pub(crate) struct Followed {
    /// Of what is written for it.
    pub(crate) metadata: Metadata,
    pub(crate) sequence: Sequence,
    /// Where else the message has stood, and stands, if it is a copy.
    pub(crate) copies: Vec<Sequence>,
}

type Fields = BTreeMap<String, Box<RawValue>>;

/// Takes fields out, one by one; a field of another shape stays, and is noted.
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

/// What has a name of ours and another shape makes room for what we write, in one object.
fn displace(rest: BTreeMap<String, Json>) -> BTreeMap<String, Json> {
    let is_ours = |key: &str| ["sequence", "handler", "reserves", "origin", "via"].contains(&key);
    let (ours, mut rest): (BTreeMap<_, _>, BTreeMap<_, _>) = rest.into_iter().partition(|(key, _)| is_ours(key));
    if ours.is_empty() {
        return rest;
    }
    let mut displaced = ours;
    // What was displaced before stays with it.
    displaced.extend(rest.remove_entry(DISPLACED_KEY));
    if let Ok(displaced) = serde_json::to_string(&displaced) {
        rest.insert(DISPLACED_KEY.to_owned(), storable(&displaced));
    }
    rest
}

/// What is kept two levels below the top: as it is, or as a text when it is no JSON, or nested as deeply as JSON may
/// be.
fn storable(text: &str) -> Json {
    let nested = format!("[[{text}]]");
    let is_storable = serde_json::from_str::<&RawValue>(text).is_ok() && Json::parse(nested).is_ok();
    if is_storable {
        return Json::from_database(Some(text.to_owned()));
    }
    Json::encode(text).unwrap_or_default()
}

/// A part of what the database returned.
fn json(raw: &RawValue) -> Json {
    Json::from_database(Some(raw.get().to_owned()))
}

impl Metadata {
    /// Reads metadata. Nothing is empty metadata; a field of another shape than expected is kept in `other`.
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
        // Where earlier versions wrote them.
        metadata.sequence = metadata.sequence.or_else(|| reader.take::<Sequence>("sequence").map(Stamped::from));
        metadata.origin = metadata.origin.or_else(|| reader.take("origin"));
        metadata.other = reader.rest();
        metadata
    }

    /// The JSON text; empty metadata is nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when a value has no JSON form that can be stored.
    pub fn to_json(&self) -> Result<Json> {
        if *self == Self::default() {
            return Ok(Json::NULL);
        }
        Json::encode(self)
    }

    /// Metadata of a message that `preceding` causes: causation is `preceding`, and what is carried on is carried on
    /// (correlation, reply stream, properties, trace context). What belongs to `preceding` alone is not: its local
    /// properties, schema version, sequence and origin.
    pub fn follow(preceding: &Message) -> Self {
        Self::carrying(preceding.decode_metadata(), preceding)
    }

    /// As [`Metadata::follow`], stamped with the sequence of the message, which was read in the store `here`.
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

    /// The sequence of the message that caused this one: our stamp, or what Eventide's causation fields imply in the
    /// store where the message with this metadata was born, which is `here` unless it is a copy.
    pub fn cause(&self, here: StoreId) -> Option<Sequence> {
        let home = self.origin.as_ref().map_or(here, |birth| birth.origin.store_id);
        let stream = self.causation_message_stream_name.as_deref();
        let category = stream.map(|stream| StreamName::from_database(stream).category());
        let causation = category.zip(self.causation_message_global_position);
        let stamped = self.sequence.clone().and_then(|stamped| stamped.resolve(home, causation.as_ref()));
        stamped.or_else(|| causation.map(|(category, position)| Sequence::new(home, category, position)))
    }

    /// Whether a message with this metadata, read in the store `here`, was caused by `preceding`, read there too.
    /// Positions of two stores are never compared.
    pub fn follows(&self, preceding: &Message, here: StoreId) -> bool {
        self.cause(here).is_some_and(|cause| places_of(preceding, here).contains(&cause))
    }

    /// Whether a field of ours stands under this key, in the place of another's.
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

    /// The fields that have a name we know and a shape that we do not: they count as absent, and stay as they are.
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

/// What stands under our key.
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
