//! Support for the end-to-end tests: a PostgreSQL server, a database for each test, and the subjects of the conformance
//! suite.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod accounts;
pub mod bounds;
pub mod cutting_proxy;
pub mod elastic;
pub mod expire;
pub mod imports;
pub mod marked;
pub mod memory;
pub mod message_db;
pub mod moving;
pub mod nats;
pub mod other_process;
pub mod payment_api;
pub mod postgres;
pub mod random;
pub mod subjects;
pub mod sums;
pub mod warnings;
pub mod work;

/// The guide's chapter with snippets. They are compiled and run as doctests.
#[doc = include_str!("../../docs/guide/src/exactly-one-effect.md")]
pub mod guide {}

/// The guide's chapter on the archive and on erasures.
#[doc = include_str!("../../docs/guide/src/archive-and-erase.md")]
pub mod archive_and_erase {}

/// The guide's chapter on process managers.
#[doc = include_str!("../../docs/guide/src/process-managers.md")]
pub mod process_managers {}

/// The guide's chapter on conditions.
#[doc = include_str!("../../docs/guide/src/conditions.md")]
pub mod conditions {}

/// The guide's chapter on changing messages.
#[doc = include_str!("../../docs/guide/src/changing-messages.md")]
pub mod changing_messages {}

/// The guide's chapter on read models.
#[doc = include_str!("../../docs/guide/src/read-models.md")]
pub mod read_models {}
