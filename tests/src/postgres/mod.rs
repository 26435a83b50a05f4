//! The PostgreSQL that tests run on.
//!
//! Tests do not start this server themselves. The program `postgres-for-tests` finds or starts one, says which way it took, and stops
//! what it started when its parent ends, however that ends. A test process that was not started below one starts one.

mod database;
#[cfg(feature = "docker")]
mod docker;
mod given;
mod local;
mod server;

pub use database::TestDatabase;
pub use local::{LocalServer, Purpose, servers_are_left_out};
pub use server::{Server, Way};

/// The URL of a server to use; its user must be allowed to create databases.
pub const DATABASE_URL: &str = "MESSAGE_STORE_TEST_DATABASE_URL";
/// Forces one way: `url`, `docker` or `local`. Then no other is tried.
pub const FORCED_WAY: &str = "MESSAGE_STORE_TEST_POSTGRES";
/// The Docker image (`postgres:17` unless set).
pub const IMAGE: &str = "MESSAGE_STORE_TEST_POSTGRES_IMAGE";
/// Set by `postgres-for-tests` for what it runs: the server.
pub const SERVER: &str = "MESSAGE_STORE_TEST_SERVER";
