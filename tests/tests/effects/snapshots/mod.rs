//! Snapshots: a cache that is never wrong.

mod at_random;
mod discarded;
mod taken;
mod tally;
