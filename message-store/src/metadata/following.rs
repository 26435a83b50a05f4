//! The metadata that a message inherits from its cause, and the sequence of that cause.

use super::Metadata;
use crate::sequence::{place_of, places_of};
use crate::{Message, Sequence, Stamped, StoreId, StreamName};

/// The metadata for the messages that a handler writes for a message, and the sequences that identify that message.
pub(crate) struct Followed {
    /// The metadata for those messages.
    pub(crate) metadata: Metadata,
    pub(crate) sequence: Sequence,
    /// The places of the message and of its earlier copies, if it is a copy; else empty.
    pub(crate) copies: Vec<Sequence>,
}

impl Metadata {
    /// Metadata for a message that `preceding` causes. Its causation names `preceding`, and it inherits the
    /// correlation, the reply stream, the properties and the trace context. It does not inherit the local properties,
    /// the versions of the schema and of the type, the sequence and the origin.
    pub fn follow(preceding: &Message) -> Self {
        Self::carrying(preceding.decode_metadata(), preceding)
    }

    /// As [`Metadata::follow`], with the stamp: the sequence of `cause`, which was read from the store `here`.
    pub(crate) fn written_for(cause: &Message, here: StoreId) -> Followed {
        let mut carried = Self::from_json(&cause.metadata);
        let (original, mut copies, place) =
            (carried.origin.take(), std::mem::take(&mut carried.via), place_of(cause, here));
        let stamped = Stamped::new(original.as_ref().unwrap_or(&place), &place);
        let sequence = match original {
            Some(original) => {
                copies.push(place);
                original
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
    /// fields name a place in the store where this message was first written: `here`, unless the message is a copy. A
    /// copy can name the original of its cause instead ([`Metadata::cause_origin`]).
    pub fn cause(&self, here: StoreId) -> Option<Sequence> {
        self.stamped_cause(here).or_else(|| self.cause_origin.clone()).or_else(|| self.cause_place(here))
    }

    fn stamped_cause(&self, here: StoreId) -> Option<Sequence> {
        let place = self.cause_place(here);
        let causation = place.map(|place| (place.origin.category, place.global_position));
        self.sequence.clone().and_then(|stamped| stamped.resolve(self.home(here), causation.as_ref()))
    }

    /// The place that Eventide's causation fields name.
    fn cause_place(&self, here: StoreId) -> Option<Sequence> {
        let stream = self.causation_message_stream_name.as_deref()?;
        let category = StreamName::from_database(stream).category();
        Some(Sequence::new(self.home(here), category, self.causation_message_global_position?))
    }

    /// The store where the message was first written.
    fn home(&self, here: StoreId) -> StoreId {
        self.origin.as_ref().map_or(here, |original| original.origin.store_id)
    }

    /// Whether only Eventide's causation fields name the cause, and name a place in the store `here`.
    pub(crate) fn names_only_a_place_in(&self, here: StoreId) -> bool {
        let is_known = self.stamped_cause(here).is_some() || self.cause_origin.is_some();
        !is_known && self.cause_place(here).is_some_and(|place| place.origin.store_id == here)
    }

    /// Whether `preceding` caused a message with this metadata. Both were read from the store `here`. Positions of two
    /// stores are never compared.
    pub fn follows(&self, preceding: &Message, here: StoreId) -> bool {
        self.cause(here).is_some_and(|cause| places_of(preceding, here).contains(&cause))
    }
}
