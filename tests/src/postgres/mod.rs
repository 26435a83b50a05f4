//! The PostgreSQL server for the tests.
//!
//! Tests do not start this server themselves. The program `postgres-for-tests` finds or starts a server and prints
//! which way it took. It stops the server that it started when its parent ends, also when the parent is killed. A test
//! process without such a parent starts the program.

mod database;
#[cfg(feature = "docker")]
mod docker;
mod given;
mod local;
mod pair;
mod pooler;
mod server;

pub use database::TestDatabase;
pub use local::{End, LocalServer, Purpose, programs_are_left_out, servers_are_left_out};
pub use pair::{Fault, Pair, Standby};
pub use pooler::{Pooler, poolers_are_left_out};
pub use server::{Server, Way};

/// The environment variable with the URL of an existing server. Its user must be allowed to create databases.
pub const DATABASE_URL: &str = "MESSAGE_STORE_TEST_DATABASE_URL";
/// The environment variable that selects one way: `url`, `docker` or `local`. Then no other way is tried.
pub const FORCED_WAY: &str = "MESSAGE_STORE_TEST_POSTGRES";
/// The environment variable with the Docker image (default `postgres:17`).
pub const IMAGE: &str = "MESSAGE_STORE_TEST_POSTGRES_IMAGE";
/// The environment variable with the server's URL, which `postgres-for-tests` sets for its child processes.
pub const SERVER: &str = "MESSAGE_STORE_TEST_SERVER";
