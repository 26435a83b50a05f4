//! The switch: a version that was built begins to serve.
//!
//! Problem: the version that is built may read other categories than the one that serves. It finds no more messages, and
//! yet one of another category may appear below the position of the version that serves, because its transaction is open.
//! Fix: the end counts only if the store had settled that position before the last read. Until then, nothing is switched.

use std::sync::Arc;

use super::advance::through;
use super::apply::apply;
use super::database::{Database, OwnTransaction, Work};
use super::statements::Statements;
use super::tables::{Tables, author_failed};
use super::{Advanced, ReadModel, ReadModelBug, Update, VersionState};
use crate::{DEFAULT_BATCH, GlobalPosition, History, Read, Result};

/// The most messages that are applied while the version that serves stands still.
pub(super) const LAST_BATCH: usize = DEFAULT_BATCH;

/// Applies the last messages, and exchanges the versions. `AtEnd` if a message may still appear below the position of the
/// version that serves. `None` if another transaction was first.
pub(super) async fn switch<D: Database>(
    database: &D,
    model: &Arc<dyn ReadModel>,
    update: &Update,
    history: History,
) -> Result<Option<Advanced>> {
    let (switch, statements) = (Switch { model: Arc::clone(model), update: update.clone() }, database.statements());
    let work: Work<Option<GlobalPosition>> = Box::new(move |transaction| Box::pin(switch.run(transaction, statements)));
    let Some(position) = database.in_transaction(Some(history), update.fence.as_ref(), work).await? else {
        return Ok(None);
    };
    let Some(position) = position else { return Ok(Some(Advanced::AtEnd)) };
    tracing::info!(target: "message_store::store", read_model = model.name(), version = model.version(), %position, "this version of the read model serves now");
    database.moved_here().to(model.name(), position);
    Ok(Some(Advanced::Switched))
}

struct Switch {
    model: Arc<dyn ReadModel>,
    update: Update,
}

impl Switch {
    async fn run(
        self,
        transaction: &mut dyn OwnTransaction,
        statements: &'static Statements,
    ) -> Result<Option<Option<GlobalPosition>>> {
        let (name, version) = (self.model.name(), self.model.version());
        let mut tables = Tables { transaction, statements };
        let versions = tables.lock_versions(name).await?;
        let Some(own) = versions.iter().find(|own| own.version == version && own.state == VersionState::Building)
        else {
            return Ok(None);
        };
        let serving = versions.iter().find(|other| other.state == VersionState::Serving);
        // In the order of the versions, as every other transaction that locks two.
        let (mut position, mut serves_at) = (own.position, GlobalPosition::ZERO);
        for other in &versions {
            if other.version == own.version {
                position = tables.lock_position(&own.key).await?.unwrap_or(position);
            } else if other.state == VersionState::Serving {
                serves_at = tables.lock_position(&other.key).await?.unwrap_or(other.position);
            }
        }
        if !self.update.planted.is(ReadModelBug::SwitchedEarly) {
            position = self.catch_up(&mut tables, position, serves_at).await?;
            tables.save_position(&own.key, position).await?;
            if position < serves_at {
                return Ok(Some(None));
            }
        }
        if let Some(serving) = serving
            && !self.update.planted.is(ReadModelBug::MarkForgotten)
        {
            tables.hold_effects(name, version, serving.effects_after.max(serves_at)).await?;
        }
        tables.stand_by(name, VersionState::Serving).await?;
        tables.set_state(name, version, VersionState::Serving).await?;
        let failed = |error| author_failed(format!("the switch to version {version} of the read model {name}"), error);
        self.model.switch(tables.transaction).await.map_err(failed)?;
        Ok(Some(Some(position)))
    }

    /// Applies the messages up to the position of the version that serves. Returns the position then, which is lower if
    /// others may still appear.
    async fn catch_up(
        &self,
        tables: &mut Tables<'_>,
        mut position: GlobalPosition,
        serves_at: GlobalPosition,
    ) -> Result<GlobalPosition> {
        let mut settled = None;
        while position < serves_at {
            let read = Read::from(position.next()).limit(self.update.limit);
            let batch = through(tables.transaction.read(&self.update.categories, read.clone()).await?, serves_at);
            if batch.is_at_end(&read) {
                match settled {
                    // What was not there when it was read may be there now.
                    None => settled = Some(tables.transaction.settled().await?),
                    Some(settled) if settled < serves_at => return Ok(position),
                    Some(_) => return Ok(serves_at),
                }
                continue;
            }
            for message in &batch.messages {
                // They had their effects when the version that serves applied them.
                apply(&*self.model, tables.transaction, message, false).await?;
            }
            position = batch.looked_through;
        }
        Ok(position)
    }
}
