//! The metadata that a handler's author has set, merged with the metadata that follows from the cause.

use super::Metadata;
use crate::{Error, Json, Result};

impl Metadata {
    /// This metadata, which follows from the cause of a message, merged with the metadata that the message's author has
    /// set.
    ///
    /// The author's correlation, reply stream and trace context replace the inherited ones. Properties are merged by
    /// name, and the author's value counts for a name that both have. Everything else that the author has set is kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for metadata that is not an object of this form, and for fields that only the runtime sets:
    /// the cause (unless it is the same), the sequence, the handler, and what copies and reservations carry.
    pub(crate) fn merged_with(mut self, authors: &Json) -> Result<Self> {
        let mut set = Self::from_json(authors);
        let refuse = |reason: String| Err(Error::invalid("metadata", reason));
        if !set.unread.is_empty() {
            return refuse(format!("its field {} has a type that it cannot have", set.unread.join(", ")));
        }
        if let Some(field) = self.runtime_field_in(&set) {
            return refuse(format!(
                "it sets {field}, which the runtime sets for a message that is written for another; leave it out"
            ));
        }
        // A trace state belongs to its trace parent.
        if set.traceparent.is_some() {
            (self.traceparent, self.tracestate) = (set.traceparent.take(), set.tracestate.take());
        }
        self.tracestate = set.tracestate.or(self.tracestate);
        self.correlation_stream_name = set.correlation_stream_name.or(self.correlation_stream_name);
        self.reply_stream_name = set.reply_stream_name.or(self.reply_stream_name);
        self.schema_version = set.schema_version.or(self.schema_version);
        self.type_version = set.type_version.or(self.type_version);
        self.properties.append(&mut set.properties);
        self.local_properties.append(&mut set.local_properties);
        self.tags.append(&mut set.tags);
        self.other.append(&mut set.other);
        Ok(self)
    }

    /// A field that `set` has, that only the runtime sets, and that is not the same here.
    fn runtime_field_in(&self, set: &Self) -> Option<&'static str> {
        let causation = |metadata: &Self| {
            let Self { causation_message_stream_name, causation_message_position, .. } = metadata;
            let global_position = metadata.causation_message_global_position;
            (causation_message_stream_name.clone(), *causation_message_position, global_position)
        };
        let of_set = causation(set);
        [
            ("another cause", of_set != (None, None, None) && of_set != causation(self)),
            ("a sequence", set.sequence.is_some() && set.sequence != self.sequence),
            ("a handler", set.handler.is_some() && set.handler != self.handler),
            ("a reservation", set.reserves.is_some() || set.reserves_for.is_some()),
            ("a mark of erasure", set.erased),
            ("an origin", set.origin.is_some() || set.cause_origin.is_some() || !set.via.is_empty()),
            ("other fields of the toolkit", !set.own_other.is_empty()),
        ]
        .into_iter()
        .find_map(|(field, is_set)| is_set.then_some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn merged(followed: &str, authors: &str) -> Result<String> {
        Ok(Metadata::from_json(&json(followed)).merged_with(&json(authors))?.to_json()?.text().to_owned())
    }

    #[test]
    fn what_the_author_sets_is_kept_beside_what_is_inherited() {
        let followed = r#"{"correlationStreamName":"order-1","replyStreamName":"web-1","properties":{"tenant":"north","tier":1},"traceparent":"00-a","tracestate":"s=1"}"#;
        for (authors, expected) in [
            ("{}", followed),
            (
                r#"{"correlationStreamName":"transfer-7","localProperties":{"n":1},"schemaVersion":"2","mine":true}"#,
                r#"{"correlationStreamName":"transfer-7","replyStreamName":"web-1","schemaVersion":"2","properties":{"tenant":"north","tier":1},"localProperties":{"n":1},"traceparent":"00-a","tracestate":"s=1","mine":true}"#,
            ),
            (
                r#"{"replyStreamName":"desk-1","properties":{"tier":2,"rush":true},"traceparent":"00-b"}"#,
                r#"{"correlationStreamName":"order-1","replyStreamName":"desk-1","properties":{"rush":true,"tenant":"north","tier":2},"traceparent":"00-b"}"#,
            ),
        ] {
            let merged = merged(followed, authors).unwrap();
            assert!(json(&merged).same_as(&json(expected)), "{authors}: {merged}");
        }
    }

    #[test]
    fn fields_that_only_the_runtime_sets_are_refused_unless_they_are_the_same() {
        let followed = r#"{"causationMessageStreamName":"account-1","causationMessagePosition":0,"causationMessageGlobalPosition":5,"messageStore":{"sequence":5,"handler":"transfer"}}"#;
        assert!(merged(followed, followed).is_ok());
        for refused in [
            r#"{"causationMessageStreamName":"account-2","causationMessagePosition":0,"causationMessageGlobalPosition":6}"#,
            r#"{"causationMessageGlobalPosition":5}"#,
            r#"{"messageStore":{"sequence":6}}"#,
            r#"{"messageStore":{"handler":"other"}}"#,
            r#"{"messageStore":{"reserves":"Deposit"}}"#,
            r#"{"messageStore":{"later":1}}"#,
            r#"{"properties":[1]}"#,
            r#"{"correlationStreamName":7}"#,
            "[1]",
            "\"text\"",
        ] {
            assert!(matches!(merged(followed, refused), Err(Error::Invalid { .. })), "{refused}");
        }
    }
}
