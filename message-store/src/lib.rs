#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]
// Some things serve one backend only.
#![cfg_attr(not(all(feature = "postgres", feature = "sqlite")), allow(dead_code))]

mod append;
mod canonical;
mod error;
mod expected_version;
mod hash;
mod json;
mod limits;
mod message;
mod metadata;
mod position;
mod read;
mod store;
mod store_id;
mod stream_name;
mod transfer;
mod variant;
mod wake_up;

pub mod command;
pub mod consumer;
pub mod entity;
pub mod idempotence;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;

pub use append::{Append, Appended, Written};
pub use error::{Error, Result, Source, chain};
pub use expected_version::ExpectedVersion;
pub use json::{Json, MAX_JSON_DEPTH};
pub use limits::{Limits, MAX_MESSAGE_TYPE_BYTES};
pub use message::{Message, MessageId, MessageRef, NewMessage};
pub use metadata::Metadata;
pub use position::{GlobalPosition, Position, Version};
pub use read::{Batch, DEFAULT_BATCH, Filter, GroupMember, Read, StreamRead};
pub use store::{History, MessageStore, MessageStoreExt, connect};
pub use store_id::StoreId;
pub use stream_name::{Category, MAX_STREAM_NAME_BYTES, StreamName};
pub use transfer::{Copied, Transfer};
pub use wake_up::WakeUp;
