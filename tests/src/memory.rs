//! The memory of a process, as Linux counts it.

use std::fs;

/// The greatest amount of memory that a process had, in KiB. `None` on other systems, and if the process has ended.
#[must_use]
pub fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}
