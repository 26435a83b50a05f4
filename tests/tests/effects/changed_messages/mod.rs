//! Messages change from one release to the next, and what was stored before is still read.

mod commands;
mod entities;
mod golden_files;
mod releases;
mod rolling_deploy;
mod starts;
