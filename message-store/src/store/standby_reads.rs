//! Reads of categories that a standby serves.

use jiff::Timestamp;

/// The reads of categories by one handle, since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StandbyReads {
    /// The number of batches that the standby gave.
    pub from_standby: u64,
    /// The number of batches that the primary gave: at the end of a category, and while no standby serves.
    pub from_primary: u64,
    /// The bytes of the primary's log that the standby has not carried out. `None` if that is not known.
    pub bytes_behind: Option<u64>,
    /// Since when no standby serves, by the process's clock.
    pub away_since: Option<Timestamp>,
    /// Why no standby serves.
    pub reason: Option<String>,
}
