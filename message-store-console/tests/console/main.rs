//! The console on both stores: what its pages show, who may see them, and what they change.
#![allow(clippy::unwrap_used)]

mod actions;
mod browser;
mod guarded;
mod hostile;
mod measured;
mod pages;
mod seeded;
