//! The beginning of a version.

use std::sync::Arc;

use super::database::{Database, OwnTransaction, Work};
use super::statements::Statements;
use super::tables::{Tables, author_failed};
use super::{ReadModel, ReadModelVersion, VersionState};
use crate::{Error, GlobalPosition, Result};

/// The number of beginnings of other versions that may be first.
const RACES: usize = 20;

/// Makes a version known to the store, unless it is. Returns its state.
pub(super) async fn begin<D: Database>(database: &D, model: &Arc<dyn ReadModel>) -> Result<VersionState> {
    if model.version() == 0 || i32::try_from(model.version()).is_err() {
        return Err(Error::invalid("version of a read model", "versions are numbered from 1"));
    }
    for _ in 0..RACES {
        let (model, statements) = (Arc::clone(model), database.statements());
        let work: Work<VersionState> = Box::new(move |transaction| Box::pin(begin_in(transaction, statements, model)));
        if let Some(state) = database.in_transaction(None, None, work).await? {
            return Ok(state);
        }
    }
    Err(Error::backend(format!("beginning the read model {}", model.name()), true, "others were always first"))
}

/// `None` if another transaction was first.
async fn begin_in(
    transaction: &mut dyn OwnTransaction,
    statements: &'static Statements,
    model: Arc<dyn ReadModel>,
) -> Result<Option<VersionState>> {
    let mut tables = Tables { transaction, statements };
    let (name, version) = (model.name(), model.version());
    let known = tables.lock_versions(name).await?;
    if let Some(own) = known.iter().find(|known| known.version == version) {
        if version == 1 {
            // That of a release without versions.
            tables.add_version(name, 1, own.state).await?;
        }
        return Ok(Some(own.state));
    }
    if tables.is_recorded(name, version).await? {
        // Its position was deleted, so it begins again.
        tables.add_position(&ReadModelVersion::key_of(name, version)).await?;
        let known = tables.versions(name).await?;
        return Ok(known.into_iter().find(|known| known.version == version).map(|own| own.state));
    }
    let newest = known.iter().map(|known| known.version).max();
    let state = match newest {
        None => VersionState::Serving,
        Some(newest) if newest < version => VersionState::Building,
        // An earlier release. It is not recorded, because it has no tables.
        Some(_) => return Ok(Some(VersionState::StandsBy)),
    };
    if state == VersionState::Building {
        // Version 1 of a release without versions.
        if let Some(first) = known.iter().find(|known| known.version == 1) {
            tables.add_version(name, 1, first.state).await?;
        }
        tables.stand_by(name, VersionState::Building).await?;
    }
    let key = ReadModelVersion::key_of(name, version);
    if !tables.add_position(&key).await? {
        // A transaction that has begun the same version, or a read model whose name is this key.
        let is_taken = tables.versions(&key).await?.iter().any(|other| other.name == key && key != name);
        if is_taken {
            let reason =
                format!("version {version} of {name} is stored under the name {key}, which is another read model");
            return Err(Error::invalid("name of a read model", reason));
        }
        return Ok(None);
    }
    if !tables.add_version(name, version, state).await? {
        return Ok(None);
    }
    tables.save_position(&key, GlobalPosition::ZERO).await?;
    let failed =
        |error| author_failed(format!("creating the tables of version {version} of the read model {name}"), error);
    model.create(tables.transaction).await.map_err(failed)?;
    if state == VersionState::Serving {
        model.switch(tables.transaction).await.map_err(failed)?;
    }
    tracing::info!(target: "message_store::store", read_model = name, version, %state, "a version of a read model begins");
    Ok(Some(state))
}
