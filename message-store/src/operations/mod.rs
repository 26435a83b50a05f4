//! Operations: tasks of an operator, such as a transfer. No other folder of the library but `testing` may import from
//! here.

mod archiving;
mod diagnosing;
mod entity_history;
mod erased_timers;
mod erasing;
mod explain;
mod export;
mod import;
mod search;
mod trace;
mod transfer;
mod verifying;

pub use archiving::{ArchivePlan, Archiving, Behind};
pub use diagnosing::{Diagnosing, Trouble, TroubleKind};
pub use entity_history::{Change, EntityHistory, FieldChange};
pub use erasing::Erasing;
pub use explain::{Explanation, Finding};
pub use export::{Export, ExportBegin, ExportPage, Exported, ExportedMessage, ExportedTimer};
pub use import::{Import, Imported};
pub use search::{Search, SearchPage};
pub use trace::{Trace, Traced, Tracing};
pub use transfer::{Copied, Transfer};
pub use verifying::{Defect, Verified, Verifying};
