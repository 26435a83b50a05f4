//! The figures, grouped by subject.

pub mod appends;
pub mod commands;
pub mod growth;
pub mod jetstream;
pub mod locked_category;
pub mod message_db;
pub mod peers;
pub mod readers_safety;
pub mod reads;
pub mod sizes;
pub mod sqlite;
pub mod wake_ups;
