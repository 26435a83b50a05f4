//! Windows: the time for which a key is remembered.

use std::time::Duration;

use crate::{Error, Result};

/// The time for which a key is remembered, by the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(crate) lifetime: Duration,
    pub(crate) is_sliding: bool,
}

impl Window {
    /// The shortest allowed window: 100 ms.
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The default for handlers of requests: 7 days.
    pub const HANDLERS: Self = Self { lifetime: Duration::from_hours(7 * 24), is_sliding: false };
    /// The default for producers that repeat an append: 2 minutes.
    pub const PRODUCERS: Self = Self { lifetime: Duration::from_mins(2), is_sliding: false };

    /// A window that begins when the key is taken, which is when its messages are written.
    ///
    /// # Errors
    /// [`Error::Invalid`] below 100 ms, and above 1,000 years.
    pub fn of(lifetime: Duration) -> Result<Self> {
        const LONGEST: Duration = Duration::from_hours(1_000 * 366 * 24);
        if !(Self::SHORTEST..=LONGEST).contains(&lifetime) {
            let reason =
                format!("{lifetime:?} is not between 100 ms and 1000 years; to switch de-duplication off, disable it");
            return Err(Error::invalid("window", reason));
        }
        Ok(Self { lifetime, is_sliding: false })
    }

    /// 100 ms to 1,000 years.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether every repeat of the key begins the window again.
    pub fn is_sliding(&self) -> bool {
        self.is_sliding
    }

    /// Makes the window begin again with every repeat of the key.
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
