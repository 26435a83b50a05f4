//! What operators do: set a position, ask for another version, drop one.

use std::sync::Arc;

use super::database::{Database, Work};
use super::tables::{Tables, author_failed};
use super::{ReadModel, ReadModelVersion, VersionState};
use crate::{Error, GlobalPosition, Result};

/// Sets the position of the version that serves.
pub(super) async fn set_position<D: Database>(database: &D, name: &str, position: GlobalPosition) -> Result<bool> {
    let (name, statements) = (name.to_owned(), database.statements());
    let work: Work<bool> = Box::new(move |transaction| {
        Box::pin(async move {
            let mut tables = Tables { transaction, statements };
            let versions = tables.lock_versions(&name).await?;
            let Some(serving) = versions.into_iter().find(|version| version.state == VersionState::Serving) else {
                return Ok(Some(false));
            };
            let ReadModelVersion { version, key, .. } = serving;
            // That of a release without versions.
            tables.add_version(&name, version, VersionState::Serving).await?;
            let before = tables.lock_position(&key).await?.unwrap_or(position);
            tables.hold_effects(&name, version, before).await?;
            tables.forget_skipped(&name, version, position).await?;
            tables.save_position(&key, position).await?;
            Ok(Some(true))
        })
    });
    Ok(database.in_transaction(None, None, work).await?.unwrap_or(false))
}

/// Asks for a version to serve: its updater builds it further, and switches.
pub(super) async fn switch_to<D: Database>(database: &D, name: &str, version: u32) -> Result<bool> {
    let (name, statements) = (name.to_owned(), database.statements());
    let work: Work<bool> = Box::new(move |transaction| {
        Box::pin(async move {
            let mut tables = Tables { transaction, statements };
            let versions = tables.lock_versions(&name).await?;
            let Some(wanted) = versions.iter().find(|known| known.version == version) else { return Ok(Some(false)) };
            match wanted.state {
                VersionState::Dropped => {
                    let reason = format!("version {version} of {name} was dropped: give the model a new version");
                    return Err(Error::invalid("version of a read model", reason));
                }
                VersionState::Building => {}
                VersionState::Serving => tables.stand_by(&name, VersionState::Building).await?,
                VersionState::StandsBy => {
                    tables.stand_by(&name, VersionState::Building).await?;
                    tables.add_version(&name, version, VersionState::StandsBy).await?;
                    tables.set_state(&name, version, VersionState::Building).await?;
                }
            }
            Ok(Some(true))
        })
    });
    Ok(database.in_transaction(None, None, work).await?.unwrap_or(false))
}

/// Drops a version that does not serve. Waits for a batch of it that is under way.
pub(super) async fn drop_version<D: Database>(database: &D, model: &Arc<dyn ReadModel>, version: u32) -> Result<bool> {
    let (model, statements) = (Arc::clone(model), database.statements());
    let work: Work<bool> = Box::new(move |transaction| {
        Box::pin(async move {
            let name = model.name();
            let mut tables = Tables { transaction, statements };
            let versions = tables.lock_versions(name).await?;
            let Some(known) = versions.into_iter().find(|known| known.version == version) else {
                return Ok(Some(false));
            };
            match known.state {
                VersionState::Serving => {
                    let reason = format!("version {version} of {name} serves: switch to another one before");
                    return Err(Error::invalid("version of a read model", reason));
                }
                VersionState::Dropped => return Ok(Some(true)),
                VersionState::Building | VersionState::StandsBy => {}
            }
            tables.lock_position(&known.key).await?;
            tables.add_version(name, version, VersionState::StandsBy).await?;
            tables.set_state(name, version, VersionState::Dropped).await?;
            tables.save_position(&known.key, GlobalPosition::ZERO).await?;
            tables.forget_skipped(name, version, GlobalPosition::ZERO).await?;
            let failed = |error| author_failed(format!("dropping version {version} of the read model {name}"), error);
            model.remove(tables.transaction, version).await.map_err(failed)?;
            Ok(Some(true))
        })
    });
    Ok(database.in_transaction(None, None, work).await?.unwrap_or(false))
}
