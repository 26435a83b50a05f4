//! The health of a service.

use std::fmt;

/// The health of a service: for the probes of a platform, and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The service runs or stops. If not, the process should be started again.
    pub is_live: bool,
    /// The service handles messages: it runs, and no consumer or updater waits out an outage.
    pub is_ready: bool,
    /// The reasons why it is not ready, one for each consumer or updater that has one.
    pub reasons: Vec<String>,
    /// What is under way, and no reason to be not ready: read models that are built, with their progress.
    pub under_way: Vec<String>,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready { "ready" } else { "not ready" })?;
        if !self.reasons.is_empty() {
            write!(f, ": {}", self.reasons.join("; "))?;
        }
        if !self.under_way.is_empty() {
            write!(f, " ({})", self.under_way.join("; "))?;
        }
        Ok(())
    }
}
