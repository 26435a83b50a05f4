//! What every figure is given.

use std::path::PathBuf;

use crate::databases::Databases;
use crate::rounds::Effort;

pub struct Bench {
    /// The program of the peers, if it was built.
    pub peers: Option<PathBuf>,
    pub databases: Databases,
    pub effort: Effort,
}
