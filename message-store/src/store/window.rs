//! Windows: how long a key is remembered.

use std::time::Duration;

use crate::{Error, Result};

/// How long a key is remembered, by the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(crate) lifetime: Duration,
    pub(crate) is_sliding: bool,
}

impl Window {
    /// The shortest window.
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// For requests that are handled: 7 days.
    pub const HANDLERS: Self = Self { lifetime: Duration::from_hours(7 * 24), is_sliding: false };
    /// For producers that try again: 2 minutes.
    pub const PRODUCERS: Self = Self { lifetime: Duration::from_mins(2), is_sliding: false };

    /// So long from when the key is taken, which is when its messages are written.
    ///
    /// # Errors
    /// [`Error::Invalid`] below 100 ms, and above 1,000 years.
    pub fn of(lifetime: Duration) -> Result<Self> {
        const LONGEST: Duration = Duration::from_hours(1_000 * 366 * 24);
        if !(Self::SHORTEST..=LONGEST).contains(&lifetime) {
            let reason = format!("{lifetime:?} is not between 100 ms and 1000 years; to switch it off, disable it");
            return Err(Error::invalid("window", reason));
        }
        Ok(Self { lifetime, is_sliding: false })
    }

    /// How long a key is remembered.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether every repeat begins it anew.
    pub fn is_sliding(&self) -> bool {
        self.is_sliding
    }

    /// So long from the last sight of a key: every repeat begins it anew.
    #[must_use]
    pub fn sliding(mut self) -> Self {
        self.is_sliding = true;
        self
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::HANDLERS
    }
}
