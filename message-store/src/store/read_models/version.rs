//! What a store knows of the versions of read models, and of the messages that they have skipped.

use std::fmt;

use jiff::Timestamp;

use crate::{GlobalPosition, MessageRef};

/// A version of a read model, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadModelVersion {
    /// The name of the read model.
    pub name: String,
    #[allow(missing_docs)]
    pub version: u32,
    #[allow(missing_docs)]
    pub state: VersionState,
    /// The global position up to which it has applied all messages of its categories.
    pub position: GlobalPosition,
    /// It has no effects for messages up to this position: they have had theirs.
    pub effects_after: GlobalPosition,
    /// The error for which it stopped last, if it has applied nothing since.
    pub failure: Option<String>,
    /// The name under which the position is stored.
    pub(super) key: String,
}

impl ReadModelVersion {
    /// The name under which the position of a version is stored. That of version 1 is the name under which releases
    /// without versions store it.
    pub(crate) fn key_of(name: &str, version: u32) -> String {
        if version <= 1 { name.to_owned() } else { format!("{name}@{version}") }
    }
}

/// The state of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionState {
    /// It is built beside the version that serves, and will replace it.
    Building,
    /// Readers see it. Each read model has one such version.
    Serving,
    /// Another version serves. This one is not updated, and can serve again.
    StandsBy,
    /// Its tables are gone.
    Dropped,
}

impl VersionState {
    /// The text in the database.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Serving => "serving",
            Self::StandsBy => "standing by",
            Self::Dropped => "dropped",
        }
    }

    /// A text that a later release wrote is a version that this one leaves alone.
    pub(super) fn of(text: &str) -> Self {
        let all = [Self::Building, Self::Serving, Self::Dropped];
        all.into_iter().find(|state| state.text() == text).unwrap_or(Self::StandsBy)
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A message that a read model could not apply and has passed over ([`OnApplyFailure::Skip`](super::OnApplyFailure)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The version that skipped it.
    pub version: u32,
    #[allow(missing_docs)]
    pub message: MessageRef,
    #[allow(missing_docs)]
    pub message_type: String,
    /// The text of the read model's error.
    pub error: String,
    /// The time of the skip, by the database's clock.
    pub skipped_at: Timestamp,
}
