//! Elastic groups: slots move between members, and no message is lost, doubled or out of order.
#![allow(missing_docs)]

mod beginnings;
mod holds;
mod letters;
mod processes;
mod slots_lost;
mod slots_move;
mod soak;
