//! One step of an update: a batch, or the switch.

use std::sync::Arc;

use super::apply::ApplyBatch;
use super::begin::begin;
use super::database::{Database, Work};
use super::switch::{LAST_BATCH, switch};
use super::tables::{Tables, versions_in};
use super::{Advanced, OnApplyFailure, ReadModel, ReadModelBug, ReadModelVersion, Update, VersionState};
use crate::{Batch, Error, GlobalPosition, History, Read, Result};

/// A version that is built has this many times the messages in one transaction.
const WHILE_BUILDING: usize = 10;

/// An update of one version, which was found in the store.
struct Advance<'a, D> {
    database: &'a D,
    model: &'a Arc<dyn ReadModel>,
    update: &'a Update,
    /// That of the version that was found.
    history: History,
    found: ReadModelVersion,
    /// The position of the version that serves.
    serves_at: GlobalPosition,
}

pub(super) async fn advance<D: Database>(
    database: &D,
    model: &Arc<dyn ReadModel>,
    update: &Update,
) -> Result<Advanced> {
    loop {
        let history = database.history_now();
        let versions = versions(database, Some(model.name())).await?;
        let Some(found) = versions.iter().find(|found| found.version == model.version()).cloned() else {
            let first = Read::from(GlobalPosition::ZERO.next()).limit(1);
            if versions.is_empty() && database.read_of(&update.categories, first.clone()).await?.is_at_end(&first) {
                // Nothing is written for a read model without messages.
                return Ok(Advanced::AtEnd);
            }
            if begin(database, model).await? == VersionState::StandsBy {
                return Ok(Advanced::StandsBy);
            }
            continue;
        };
        let serving = versions.iter().find(|version| version.state == VersionState::Serving);
        let serves_at = serving.map_or(found.position, |serving| serving.position);
        let advance = Advance { database, model, update, history, found, serves_at };
        return match advance.found.state {
            VersionState::Serving => advance.serve().await,
            VersionState::Building => advance.build().await,
            _ if update.planted.is(ReadModelBug::StateUnchecked) => advance.serve().await,
            _ => Ok(Advanced::StandsBy),
        };
    }
}

/// The versions of one read model, or of all.
pub(super) async fn versions<D: Database>(database: &D, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
    versions_in(&database.rows(&database.statements().versions, vec![name.into()]).await?)
}

impl<D: Database> Advance<'_, D> {
    async fn serve(self) -> Result<Advanced> {
        let read = Read::from(self.found.position.next()).limit(self.update.limit);
        let batch = self.read(read.clone()).await?;
        if batch.is_at_end(&read) {
            return Ok(Advanced::AtEnd);
        }
        self.apply(batch).await
    }

    async fn build(self) -> Result<Advanced> {
        let read = Read::from(self.found.position.next()).limit(self.update.limit.saturating_mul(WHILE_BUILDING));
        let batch = self.read(read.clone()).await?;
        let passes = self.update.planted.is(ReadModelBug::BuildPassesServing);
        let batch = if passes { batch } else { through(batch, self.serves_at) };
        let is_last = batch.is_at_end(&read) || (!passes && batch.looked_through >= self.serves_at);
        let is_switched_early = self.update.planted.is(ReadModelBug::SwitchedEarly);
        if (is_last && batch.messages.len() <= LAST_BATCH) || is_switched_early {
            match switch(self.database, self.model, self.update, self.history).await {
                Err(error @ Error::ReadModel { .. }) if !error.is_transient() => {
                    if batch.messages.is_empty() {
                        // The message was not there when the batch was read. The next step reads it.
                        return Ok(Advanced::Overtaken);
                    }
                    // It fails in the batch too, and is stopped at or skipped there.
                }
                switched => return Ok(switched?.unwrap_or(Advanced::Overtaken)),
            }
        }
        self.apply(batch).await
    }

    async fn read(&self, messages: Read) -> Result<Batch> {
        self.database.read_of(&self.update.categories, messages).await
    }

    /// Applies a batch. After a failure, it stops or skips the message.
    async fn apply(self, batch: Batch) -> Result<Advanced> {
        let error = match self.try_to_apply(batch.clone(), None).await {
            Err(error @ Error::ReadModel { .. }) => error,
            result => return result,
        };
        let skips_all = self.update.planted.is(ReadModelBug::PassingFaultsSkipped);
        if error.is_transient() && !skips_all {
            return Err(error);
        }
        let Error::ReadModel { message: failed, .. } = &error else { return Err(error) };
        if self.update.on_failure == OnApplyFailure::Stop {
            self.record(&error).await;
            return Err(error);
        }
        let before = through(batch.clone(), failed.global_position.previous());
        if !before.messages.is_empty() {
            return self.try_to_apply(before, None).await;
        }
        let only = through(batch, failed.global_position);
        tracing::warn!(target: "message_store::store", read_model = self.model.name(), version = self.model.version(), %error, "a read model skips a message");
        self.try_to_apply(only, Some(error.to_string())).await
    }

    /// Applies a batch, or skips its messages.
    async fn try_to_apply(&self, batch: Batch, skips: Option<String>) -> Result<Advanced> {
        let (statements, planted) = (self.database.statements(), self.update.planted);
        let (model, found, serves_at) = (Arc::clone(self.model), self.found.clone(), self.serves_at);
        let apply = ApplyBatch { model, found, batch, serves_at, skips, planted };
        let work: Work<Advanced> = Box::new(move |transaction| Box::pin(apply.run(transaction, statements)));
        let fence = self.update.fence.as_ref();
        let Some(applied) = self.database.in_transaction(Some(self.history), fence, work).await? else {
            return Ok(Advanced::Overtaken);
        };
        if let (Advanced::Applied { position, .. }, VersionState::Serving) = (applied, self.found.state) {
            self.database.moved_here().to(self.model.name(), position);
        }
        Ok(applied)
    }

    /// Records the failure for callers that wait, and for operators. If that fails too, the caller has the error.
    async fn record(&self, error: &Error) {
        let (model, statements, text) = (Arc::clone(self.model), self.database.statements(), error.to_string());
        let work: Work<()> = Box::new(move |transaction| {
            Box::pin(async move {
                let mut tables = Tables { transaction, statements };
                let text = text.replace('\0', "\u{fffd}");
                tables.set_failure(model.name(), model.version(), Some(text)).await.map(Some)
            })
        });
        let recorded = self.database.in_transaction(Some(self.history), self.update.fence.as_ref(), work).await;
        if let Err(error) = recorded {
            tracing::warn!(target: "message_store::store", read_model = self.model.name(), %error, "the failure of a read model could not be recorded");
        }
    }
}

/// The part of a batch up to this position.
pub(super) fn through(mut batch: Batch, position: GlobalPosition) -> Batch {
    batch.messages.retain(|message| message.global_position <= position);
    batch.looked_through = batch.looked_through.min(position);
    batch
}
