//! One update of a read model: what it reads, and what it does after a failure.

use crate::planted::Planted;
use crate::store::Fence;
use crate::{Category, DEFAULT_BATCH, GlobalPosition};

use super::{ReadModelBug, VersionState};

/// What [`ReadModels::advance`](super::ReadModels::advance) reads and does.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Update {
    /// The categories whose messages are applied. At least one.
    pub categories: Vec<Category>,
    /// The greatest number of messages of one transaction. A version that is built has ten times as many.
    pub limit: usize,
    /// What happens when a message cannot be applied.
    pub on_failure: OnApplyFailure,
    /// The fence of the slot that the owner must have.
    pub fence: Option<Fence>,
    pub(super) planted: Planted<ReadModelBug>,
}

impl Update {
    /// An update with the messages of a category.
    pub fn of(category: &Category) -> Self {
        Self {
            categories: vec![category.clone()],
            limit: DEFAULT_BATCH,
            on_failure: OnApplyFailure::Stop,
            fence: None,
            planted: Planted::NONE,
        }
    }

    /// Adds the messages of another category. Messages are applied in the order of their global positions; for that, the
    /// messages of all categories are read.
    pub fn and(mut self, category: &Category) -> Self {
        self.categories.push(category.clone());
        self
    }

    /// Sets the greatest number of messages of one transaction (1,000).
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages.max(1);
        self
    }

    /// Says what happens when a message cannot be applied ([`OnApplyFailure::Stop`]).
    pub fn on_failure(mut self, on_failure: OnApplyFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Applies messages only while the owner of a slot has the slot: the check is the last step of the transaction.
    pub fn fenced_by(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Switches a protection off, for a test of a test.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: ReadModelBug) -> Self {
        self.planted = Planted::one(bug);
        self
    }
}

/// What happens when a read model cannot apply a message, and the fault does not pass by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnApplyFailure {
    /// The update stops with an error that names the message. Nothing of the batch is applied.
    #[default]
    Stop,
    /// The message is recorded ([`ReadModels::skipped`](super::ReadModels::skipped)) and passed over, in one transaction.
    Skip,
}

/// What one call of [`ReadModels::advance`](super::ReadModels::advance) has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Advanced {
    /// It has applied messages.
    Applied {
        /// The number of messages that were applied or skipped.
        messages: usize,
        /// Whether the version serves or is built.
        state: VersionState,
        /// The position of the version now.
        position: GlobalPosition,
        /// The position up to which the version is built, which is that of the version that serves.
        serves_at: GlobalPosition,
    },
    /// There is no message to apply. A version that is built serves as soon as no message can appear below the position of
    /// the one that serves.
    AtEnd,
    /// Another caller was first. This call has changed nothing.
    Overtaken,
    /// The version was built, and serves now.
    Switched,
    /// Another version serves, and this one is not built. This call has changed nothing.
    StandsBy,
}
