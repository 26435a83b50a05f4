//! The screens.

mod categories;
mod consumers;
mod dead_letters;
mod entity;
mod message;
mod overview;
mod repeats;
mod search;
mod stream;
mod tail;

use crate::failure::Failure;

pub(crate) use categories::{categories, category};
pub(crate) use consumers::consumers;
pub(crate) use dead_letters::dead_letters;
pub(crate) use entity::entity;
pub(crate) use message::message;
pub(crate) use overview::overview;
pub(crate) use repeats::repeats;
pub(crate) use search::search;
pub(crate) use stream::stream;
pub(crate) use tail::tail;

/// What is answered for a path without a page.
pub(crate) async fn none() -> Failure {
    Failure::not_found("there is no such page")
}
