//! Operations: tasks of an operator, such as a transfer. No other folder of the library but `testing` may import from
//! here.

mod archiving;
mod erased_timers;
mod erasing;
mod explain;
mod transfer;
mod transfer_timers;

pub use archiving::{ArchivePlan, Archiving, Behind};
pub use erasing::Erasing;
pub use explain::{Explanation, Finding};
pub use transfer::{Copied, Transfer};
