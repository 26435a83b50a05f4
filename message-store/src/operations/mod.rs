//! Operations: what operators do to a store and ask of it. Nothing below asks them.

mod explain;
mod transfer;

pub use explain::{Explanation, Finding};
pub use transfer::{Copied, Transfer};
