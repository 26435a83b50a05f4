//! The commands that tell what became of a message and of an entity.

mod dot;
mod explain;
mod history;
mod trace;

pub(crate) use explain::Explain;
pub(crate) use history::History;
pub(crate) use trace::Trace;
