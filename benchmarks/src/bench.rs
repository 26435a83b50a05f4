//! The settings that every figure receives.

use std::path::PathBuf;

use crate::databases::Databases;
use crate::rounds::Effort;

pub struct Bench {
    /// The program that runs the other event stores; `None` if it was not built.
    pub peers: Option<PathBuf>,
    pub databases: Databases,
    pub effort: Effort,
}
