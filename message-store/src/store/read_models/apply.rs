//! The transaction that applies a batch, or passes over a message.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::database::OwnTransaction;
use super::statements::Statements;
use super::tables::Tables;
use super::{Advanced, ReadModel, ReadModelBug, ReadModelVersion, VersionState};
use crate::error::panic_text;
use crate::planted::Planted;
use crate::{Batch, Error, GlobalPosition, Message, Result, Source};

/// A batch, and the version as it was when the batch was read.
pub(super) struct ApplyBatch {
    pub(super) model: Arc<dyn ReadModel>,
    pub(super) found: ReadModelVersion,
    pub(super) batch: Batch,
    /// The position of the version that serves.
    pub(super) serves_at: GlobalPosition,
    /// Passes over the messages of the batch, with this error.
    pub(super) skips: Option<String>,
    pub(super) planted: Planted<ReadModelBug>,
}

impl ApplyBatch {
    /// `None` if another transaction was first.
    pub(super) async fn run(
        self,
        transaction: &mut dyn OwnTransaction,
        statements: &'static Statements,
    ) -> Result<Option<Advanced>> {
        let Self { model, found, batch, serves_at, skips, planted } = self;
        let (name, version) = (model.name(), model.version());
        let mut tables = Tables { transaction, statements };
        let position = tables.lock_position(&found.key).await?;
        // In a later statement than the lock, so that it shows what a switch has left.
        let now = tables.versions(name).await?.into_iter().find(|now| now.version == version);
        let Some(now) = now else { return Ok(None) };
        let is_same_position = position == Some(found.position) || planted.is(ReadModelBug::PositionUnchecked);
        let is_same_state = now.state == found.state || planted.is(ReadModelBug::StateUnchecked);
        if !is_same_position || !is_same_state {
            return Ok(None);
        }
        for message in &batch.messages {
            if let Some(error) = &skips {
                tables.add_skipped(name, version, message, error).await?;
            } else {
                let has_effects = has_effects(&now, message, planted);
                apply(&*model, tables.transaction, message, has_effects).await?;
            }
        }
        tables.save_position(&found.key, batch.looked_through).await?;
        if now.failure.is_some() {
            tables.set_failure(name, version, None).await?;
        }
        let (messages, position) = (batch.messages.len(), batch.looked_through);
        Ok(Some(Advanced::Applied { messages, state: now.state, position, serves_at: serves_at.max(position) }))
    }
}

/// Whether a message that a version applies has its effects.
pub(super) fn has_effects(version: &ReadModelVersion, message: &Message, planted: Planted<ReadModelBug>) -> bool {
    let is_new = message.global_position > version.effects_after;
    is_new && (version.state == VersionState::Serving || planted.is(ReadModelBug::EffectsWhileBuilding))
}

/// Applies a message. A panic is an error.
pub(super) async fn apply(
    model: &dyn ReadModel,
    transaction: &mut dyn OwnTransaction,
    message: &Message,
    has_effects: bool,
) -> Result<()> {
    let applying = async {
        if message.is_erased() {
            return model.apply_erased(&mut *transaction, message).await;
        }
        model.apply(&mut *transaction, message).await?;
        if has_effects {
            model.effects(&mut *transaction, message).await?;
        }
        Ok(())
    };
    let applied = AssertUnwindSafe(applying)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(format!("it panicked: {}", panic_text(&*panic)).into()));
    applied.map_err(|error: Source| {
        let error = if transaction.had_passing_fault() {
            // The author's error may be a text of that of the database.
            Error::backend("a statement of a read model", true, error).into()
        } else {
            error
        };
        Error::read_model(model.name(), message, error)
    })
}
