//! Operations: tasks of an operator, such as a transfer. No other folder of the library but `testing` may import from
//! here.

mod archiving;
mod erasing;
mod explain;
mod transfer;

pub use archiving::{ArchivePlan, Archiving, Behind};
pub use erasing::Erasing;
pub use explain::{Explanation, Finding};
pub use transfer::{Copied, Transfer};
