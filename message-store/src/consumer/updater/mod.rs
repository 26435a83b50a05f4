//! Updaters: each keeps a read model up to date, in the background.
//!
//! Problem: a read model must follow its categories, through outages, beside other processes that do the same, and while a
//! new version of it is built. Fix: a loop that applies one batch after another. Each batch is a transaction, which locks
//! and checks the position of the read model ([`ReadModels::advance`](crate::store::ReadModels::advance)). Why several
//! processes may run the same updater: one of them is first with each batch. The others notice that, and then only look now
//! and then, without wake-ups. When the first one is gone, one of them finds messages that are not applied, and goes on.

mod update_loop;
#[allow(clippy::module_inception)]
mod updater;
mod updater_handle;
mod updater_metrics;
mod updater_status;

pub use updater::Updater;
pub use updater_handle::UpdaterHandle;
pub use updater_status::{UpdaterProgress, UpdaterStatus};
