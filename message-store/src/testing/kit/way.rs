//! The ways in which a case delivers its command, and the events that each way must lead to.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::value::RawValue;

use super::difference::assert_same;
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
        let (expected, what) = match &self {
            Self::Once => (expected, format!("what the runtime writes for {command:?}")),
            Self::Twice => (expected, format!("delivered twice, {command:?} must take effect once: what it writes")),
            Self::Late => (expected_late, format!("delivered late, {command:?} must not be lost: what it writes")),
            Self::Behind { missed } => (
                expected,
                format!(
                    "on a remembered entity that misses {missed} events, {command:?} must not be lost: what it writes"
                ),
            ),
            Self::LateAndBehind { missed } => (
                expected_late,
                format!(
                    "delivered late, on a remembered entity that misses {missed} events, {command:?} must not be lost: \
                     what it writes"
                ),
            ),
            Self::AgainOnWhatIsRemembered { read } => {
                let what =
                    format!("what another {command:?} leads to on a remembered entity, beside one that is read,");
                return assert_same(&written, &as_decided::<D>(read), what);
            }
        };
        assert_same(&written[..], expected, what);
    }
}

/// Decodes events without the fields that the runtime adds to their data.
pub(super) fn as_decided<D: Decider>(messages: &[Message]) -> Vec<D::Event> {
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
