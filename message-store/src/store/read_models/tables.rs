//! The tables of positions and versions, as a transaction reads and changes them.

use jiff::Timestamp;

use super::database::OwnTransaction;
use super::statements::Statements;
use super::{ReadModelVersion, Skipped, SqlValue, VersionState};
use crate::error::Class;
use crate::{Error, GlobalPosition, Message, MessageId, MessageRef, Position, Result, Source, StreamName, Uuid};

/// The tables within a transaction.
pub(super) struct Tables<'t> {
    pub(super) transaction: &'t mut dyn OwnTransaction,
    pub(super) statements: &'static Statements,
}

impl Tables<'_> {
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64> {
        self.transaction.execute(sql, parameters).await.map_err(failed)
    }

    /// The versions of a read model, in order.
    pub(super) async fn versions(&mut self, name: &str) -> Result<Vec<ReadModelVersion>> {
        let rows = self.transaction.query(&self.statements.versions, &[name.into()]).await.map_err(failed)?;
        versions_in(&rows)
    }

    /// As [`versions`](Self::versions). No other transaction changes their states before the end of this one.
    pub(super) async fn lock_versions(&mut self, name: &str) -> Result<Vec<ReadModelVersion>> {
        self.transaction.query(&self.statements.lock_versions, &[name.into()]).await.map_err(failed)?;
        self.versions(name).await
    }

    /// Whether the version has a row of its own, which may have lost its position.
    pub(super) async fn is_recorded(&mut self, name: &str, version: u32) -> Result<bool> {
        let rows = self.transaction.query(&self.statements.lock_versions, &[name.into()]).await.map_err(failed)?;
        Ok(rows.iter().any(|row| row.first() == Some(&SqlValue::from(i64::from(version)))))
    }

    /// The position under this key. No other transaction moves it before the end of this one.
    pub(super) async fn lock_position(&mut self, key: &str) -> Result<Option<GlobalPosition>> {
        let rows = self.transaction.query(&self.statements.lock_position, &[key.into()]).await.map_err(failed)?;
        rows.first().map(|row| Ok(GlobalPosition::new(integer(row, 0)?))).transpose()
    }

    /// Returns whether the key was free.
    pub(super) async fn add_position(&mut self, key: &str) -> Result<bool> {
        Ok(self.execute(&self.statements.add_position, &[key.into()]).await? > 0)
    }

    /// Returns whether the version, and the state of which there is one, were free.
    pub(super) async fn add_version(&mut self, name: &str, version: u32, state: VersionState) -> Result<bool> {
        let values = [
            name.into(),
            i64::from(version).into(),
            ReadModelVersion::key_of(name, version).into(),
            state.text().into(),
        ];
        Ok(self.execute(&self.statements.add_version, &values).await? > 0)
    }

    pub(super) async fn save_position(&mut self, key: &str, position: GlobalPosition) -> Result<()> {
        self.execute(&self.statements.save_position, &[key.into(), position.get().into()]).await.map(drop)
    }

    pub(super) async fn set_state(&mut self, name: &str, version: u32, state: VersionState) -> Result<()> {
        let values = [name.into(), i64::from(version).into(), state.text().into()];
        self.execute(&self.statements.set_state, &values).await.map(drop)
    }

    /// Every version of this state stands by.
    pub(super) async fn stand_by(&mut self, name: &str, state: VersionState) -> Result<()> {
        let values = [name.into(), state.text().into(), VersionState::StandsBy.text().into()];
        self.execute(&self.statements.replace_state, &values).await.map(drop)
    }

    /// The version has no effects for messages up to this position.
    pub(super) async fn hold_effects(&mut self, name: &str, version: u32, through: GlobalPosition) -> Result<()> {
        let values = [name.into(), i64::from(version).into(), through.get().into()];
        self.execute(&self.statements.hold_effects, &values).await.map(drop)
    }

    pub(super) async fn set_failure(&mut self, name: &str, version: u32, failure: Option<String>) -> Result<()> {
        let values = [name.into(), i64::from(version).into(), failure.into()];
        self.execute(&self.statements.set_failure, &values).await.map(drop)
    }

    pub(super) async fn add_skipped(&mut self, name: &str, version: u32, message: &Message, error: &str) -> Result<()> {
        // PostgreSQL has no text with this character.
        let error = error.replace('\0', "\u{fffd}");
        let values = [
            name.into(),
            i64::from(version).into(),
            message.global_position.get().into(),
            message.id.as_uuid().to_string().into(),
            message.stream.as_str().into(),
            message.position.get().into(),
            message.message_type.as_str().into(),
            error.into(),
        ];
        self.execute(&self.statements.add_skipped, &values).await.map(drop)
    }

    /// Forgets the messages after a position that the version has skipped.
    pub(super) async fn forget_skipped(&mut self, name: &str, version: u32, after: GlobalPosition) -> Result<()> {
        let values = [name.into(), i64::from(version).into(), after.get().into()];
        self.execute(&self.statements.forget_skipped, &values).await.map(drop)
    }
}

/// The versions in the rows of a query.
pub(super) fn versions_in(rows: &[Vec<SqlValue>]) -> Result<Vec<ReadModelVersion>> {
    let mut versions = Vec::with_capacity(rows.len());
    let mut without_state = Vec::new();
    for row in rows {
        let state = optional_text(row, 2)?;
        if state.is_none() {
            without_state.push(versions.len());
        }
        versions.push(ReadModelVersion {
            name: text(row, 0)?,
            version: u32::try_from(integer(row, 1)?).map_err(|error| unreadable(error.into()))?,
            state: state.as_deref().map_or(VersionState::Serving, VersionState::of),
            position: GlobalPosition::new(integer(row, 3)?),
            effects_after: GlobalPosition::new(integer(row, 4)?),
            failure: optional_text(row, 5)?,
            key: text(row, 6)?,
        });
    }
    for index in without_state {
        // A release without versions has begun with it after a version that serves.
        let name = &versions[index].name;
        let is_serving = |(other, version): (usize, &ReadModelVersion)| {
            other != index && version.name == *name && version.state == VersionState::Serving
        };
        if versions.iter().enumerate().any(is_serving) {
            versions[index].state = VersionState::StandsBy;
        }
    }
    Ok(versions)
}

/// The skipped messages in the rows of a query.
pub(super) fn skipped_in(rows: &[Vec<SqlValue>]) -> Result<Vec<Skipped>> {
    let skipped = rows.iter().map(|row| {
        let id = Uuid::parse_str(&text(row, 2)?).map_err(|error| unreadable(error.into()))?;
        Ok(Skipped {
            version: u32::try_from(integer(row, 0)?).map_err(|error| unreadable(error.into()))?,
            message: MessageRef {
                id: MessageId::from_uuid(id),
                stream: StreamName::from_database(&text(row, 3)?),
                position: Position::new(integer(row, 4)?),
                global_position: GlobalPosition::new(integer(row, 1)?),
            },
            message_type: text(row, 5)?,
            error: text(row, 6)?,
            skipped_at: Timestamp::from_microsecond(integer(row, 7)?).map_err(|error| unreadable(error.into()))?,
        })
    });
    skipped.collect()
}

/// The error of one of this library's own statements.
pub(super) fn failed(error: Source) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => unreadable(error),
    }
}

/// The error of an author's code that applies no message.
pub(super) fn author_failed(what: String, error: Source) -> Error {
    let is_passing = matches!(Class::of(&*error), Some(Class::Passing | Class::TimedOut));
    Error::backend(what, is_passing, error)
}

fn unreadable(error: Source) -> Error {
    Error::backend("reading the read models", false, error)
}

fn text(row: &[SqlValue], column: usize) -> Result<String> {
    optional_text(row, column)?.ok_or_else(|| unreadable(format!("column {column} is missing").into()))
}

fn optional_text(row: &[SqlValue], column: usize) -> Result<Option<String>> {
    match row.get(column) {
        Some(SqlValue::Text(text)) => Ok(Some(text.clone())),
        Some(SqlValue::Null) => Ok(None),
        other => Err(unreadable(format!("column {column} is {other:?}, and no text").into())),
    }
}

fn integer(row: &[SqlValue], column: usize) -> Result<i64> {
    match row.get(column) {
        Some(SqlValue::Integer(number)) => Ok(*number),
        other => Err(unreadable(format!("column {column} is {other:?}, and no number").into())),
    }
}
