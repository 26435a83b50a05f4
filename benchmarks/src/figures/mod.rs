//! The figures, one file each.

pub mod appends;
