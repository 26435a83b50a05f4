//! What every figure is given.

use crate::databases::Databases;
use crate::rounds::Effort;

pub struct Bench {
    pub databases: Databases,
    pub effort: Effort,
}
