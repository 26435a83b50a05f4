//! The figures, one file each.

pub mod appends;
pub mod readers_safety;
