//! The ways in which a case delivers its command, and the events that each way must lead to.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::value::RawValue;

use super::storage::read;
use crate::handling::Decider;
use crate::{Json, Message};

/// A way to deliver the command.
pub(super) enum Way {
    Once,
    Twice,
    Late,
    Behind {
        missed: usize,
    },
    LateAndBehind {
        missed: usize,
    },
    /// Another command like it followed, on the runtime that remembers the entity. `read` has the events of a runtime
    /// that had to read it.
    AgainOnWhatIsRemembered {
        read: Vec<Message>,
    },
}

impl Way {
    /// Checks the events that the runtime has written: they must be `expected`, or `expected_late` after a late
    /// delivery.
    #[track_caller]
    pub(super) fn check<D>(
        self,
        command: &D::Command,
        written: &[Message],
        expected: &[D::Event],
        expected_late: &[D::Event],
    ) where
        D: Decider,
        D::Command: Debug,
        D::Event: Debug + PartialEq,
    {
        let written = as_decided::<D>(written);
        match self {
            Self::Once => assert_eq!(written, expected, "what the runtime writes for {command:?}"),
            Self::Twice => assert_eq!(written, expected, "delivered twice, {command:?} must take effect once"),
            Self::Late => assert_eq!(written, expected_late, "delivered late, {command:?} must not be lost"),
            Self::Behind { missed } => assert_eq!(
                written, expected,
                "on a remembered entity that misses {missed} events, {command:?} must not be lost"
            ),
            Self::LateAndBehind { missed } => assert_eq!(
                written, expected_late,
                "delivered late, on a remembered entity that misses {missed} events, {command:?} must not be lost"
            ),
            Self::AgainOnWhatIsRemembered { read } => assert_eq!(
                written,
                as_decided::<D>(&read),
                "another {command:?} leads to other events on a remembered entity than on one that is read"
            ),
        }
    }
}

/// Decodes events without the fields that the runtime adds to their data.
fn as_decided<D: Decider>(messages: &[Message]) -> Vec<D::Event> {
    let added: Vec<&str> = D::SEQUENCE_FIELD.into_iter().chain(D::PROCESSED_TIME_FIELD).collect();
    let decode = |message: &Message| {
        let mut message = message.clone();
        if let Ok(mut fields) = message.data.decode::<BTreeMap<String, Box<RawValue>>>() {
            fields.retain(|field, _| !added.contains(&field.as_str()));
            message.data = Json::encode(&fields).unwrap();
        }
        read(&message, D::UPCASTERS)
    };
    messages.iter().flat_map(decode).collect()
}
