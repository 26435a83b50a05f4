//! The status of an updater, for those who do not own it.

use std::fmt;

use tokio::sync::watch;

use crate::consumer::Outage;
use crate::consumer::outages::Outages;
use crate::store::VersionState;
use crate::{Category, GlobalPosition};

/// Shows what an updater does. All clones show the same updater, also after it has ended.
#[derive(Clone, Debug)]
pub struct UpdaterStatus {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) categories: Vec<Category>,
    pub(super) progress: watch::Receiver<UpdaterProgress>,
    pub(super) outages: Outages,
}

/// How far a version of a read model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdaterProgress {
    #[allow(missing_docs)]
    pub state: VersionState,
    /// The global position up to which the version has applied all messages. If another process updates the read model, this
    /// is a second old.
    pub position: GlobalPosition,
    /// The position up to which it is built, while it is built: that of the version that serves.
    pub end: GlobalPosition,
}

impl UpdaterStatus {
    /// The name of the read model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that this updater updates.
    pub fn version(&self) -> u32 {
        self.version
    }

    #[allow(missing_docs)]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// How far the version is.
    pub fn progress(&self) -> UpdaterProgress {
        *self.progress.borrow()
    }

    /// The outage that the updater waits out, if calls to the store fail. `None` if all goes well.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.current()
    }
}

impl fmt::Display for UpdaterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UpdaterProgress { state, position, end } = self.progress();
        let categories: Vec<&str> = self.categories.iter().map(Category::as_str).collect();
        writeln!(f, "Updater of the read model {}", self.name)?;
        writeln!(f, "  version      {}, {state}", self.version)?;
        write!(f, "  categories   {}", categories.join(", "))?;
        if state == VersionState::Building {
            write!(f, "\n  is built up to global position {position} of {end}")?;
        }
        Ok(())
    }
}
