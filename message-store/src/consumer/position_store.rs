//! Where a consumer's position is kept: in the store itself, as Eventide does, in the stream
//! `{category}+position[-identifier]`, whose last message says how far all is handled.
//!
//! Each save expects the version of the one before. So a position has one owner: whoever starts later takes it over, and the
//! earlier one learns of it at its next save, and stops.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Category, Error, GlobalPosition, MessageStore, MessageStoreExt as _, NewMessage, Result, StreamName, Version,
};

#[derive(Serialize, Deserialize)]
enum PositionMessage {
    Recorded {
        position: GlobalPosition,
        /// The consumer has stopped in good order.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stopped: bool,
    },
}

#[derive(Debug)]
pub(super) struct PositionStore {
    store: Arc<dyn MessageStore>,
    stream: StreamName,
    version: Version,
    saved: GlobalPosition,
    was_broken_off: bool,
}

impl PositionStore {
    /// The stream of a consumer's position.
    pub(super) fn stream_name(category: &Category, identifier: Option<&str>) -> Result<StreamName> {
        let category = Category::new(format!("{category}+position"))?;
        match identifier {
            Some(identifier) => category.stream(identifier),
            None => StreamName::new(category.as_str()),
        }
    }

    /// Reads the position, and takes it over.
    pub(super) async fn take_over(store: &Arc<dyn MessageStore>, stream: StreamName) -> Result<Self> {
        let last = store.last_message(&stream, None).await?;
        let mut saved = GlobalPosition::ZERO;
        let mut version = Version::NO_STREAM;
        let mut was_broken_off = false;
        if let Some(message) = last {
            version = Version::at(message.position);
            if let Some(PositionMessage::Recorded { position, stopped }) = message.decode_variant()? {
                saved = position;
                was_broken_off = !stopped;
            }
        }
        let mut positions = Self { store: Arc::clone(store), stream, version, saved, was_broken_off };
        positions.record(saved, false).await?;
        Ok(positions)
    }

    /// Everything up to here was handled, when it was last saved.
    pub(super) fn saved(&self) -> GlobalPosition {
        self.saved
    }

    /// Whether the consumer before this one did not stop in good order.
    pub(super) fn was_broken_off(&self) -> bool {
        self.was_broken_off
    }

    /// Says that the consumer stops in good order.
    pub(super) async fn say_stopped(&mut self) -> Result<()> {
        self.record(self.saved, true).await
    }

    /// Saves a position, if it is another one.
    pub(super) async fn save(&mut self, position: GlobalPosition) -> Result<()> {
        if position == self.saved { Ok(()) } else { self.record(position, false).await }
    }

    async fn record(&mut self, position: GlobalPosition, stopped: bool) -> Result<()> {
        let message = NewMessage::from_variant(&PositionMessage::Recorded { position, stopped })?;
        let append = || self.store.append_to(&self.stream, self.version, vec![message.clone()]);
        let mut result = append().await;
        if matches!(result, Err(Error::CommitUnknown { .. })) {
            // The same message again: its id settles it.
            result = append().await;
        }
        match result {
            Ok(appended) => {
                self.version = appended.written.last().map_or(self.version, |written| written.position.into());
                self.saved = position;
                Ok(())
            }
            Err(Error::WrongExpectedVersion { stream, expected, actual }) => {
                Err(Error::PositionTaken { consumer: stream, expected, actual })
            }
            Err(error) => Err(error),
        }
    }
}
