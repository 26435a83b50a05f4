//! Where a consumer's position is kept: in the store itself, as Eventide does, in the stream
//! `{category}+position[-identifier]`, whose last message says how far all is handled.
//!
//! Each save expects the version of the one before. So a position has one owner: whoever starts later takes it over, and the
//! earlier one learns of it at its next save, and stops.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Append, Category, Error, GlobalPosition, MessageStore, MessageStoreExt as _, NewMessage, Result, StreamName,
    Version,
};

/// How often a position is taken over from a consumer that keeps saving it: it stops at its next save.
const TAKE_OVERS: u32 = 10;

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

    /// Reads the position, and takes it over: also from a consumer that is just saving it.
    pub(super) async fn take_over(store: &Arc<dyn MessageStore>, stream: StreamName) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut positions = Self::read(store, &stream).await?;
            match positions.record(positions.saved, false).await {
                Err(Error::PositionTaken { .. }) if attempt < TAKE_OVERS => attempt += 1,
                result => return result.map(|()| positions),
            }
        }
    }

    async fn read(store: &Arc<dyn MessageStore>, stream: &StreamName) -> Result<Self> {
        let mut positions = Self {
            store: Arc::clone(store),
            stream: stream.clone(),
            version: Version::NO_STREAM,
            saved: GlobalPosition::ZERO,
            was_broken_off: false,
        };
        if let Some(message) = store.last_message(stream, None).await? {
            positions.version = Version::at(message.position);
            if let Some(PositionMessage::Recorded { position, stopped }) = message.decode_variant()? {
                positions.saved = position;
                positions.was_broken_off = !stopped;
            }
        }
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
        let append = Append::to(self.stream.clone()).expecting(self.version).message(message);
        match self.store.append_settled(vec![append]).await {
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
