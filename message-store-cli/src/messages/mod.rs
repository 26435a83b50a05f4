//! The commands that write and read messages.

mod get;
mod last;
mod name;
mod read;
mod rows;
mod search;
mod tail;
mod write;

pub(crate) use get::Get;
pub(crate) use last::Last;
pub(crate) use name::{Name, name};
pub(crate) use read::Read;
pub(crate) use search::Search;
pub(crate) use tail::Tail;
pub(crate) use write::Write;
