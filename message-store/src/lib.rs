#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]
// If a backend is disabled, the code that only that backend uses is dead.
#![cfg_attr(not(all(feature = "postgres", feature = "sqlite")), allow(dead_code))]

mod canonical;
mod derived_id;
mod error;
mod expected_version;
mod finite;
mod hash;
mod json;
mod key;
mod limits;
mod message;
mod metadata;
mod outcome;
mod planted;
mod position;
mod random;
mod sequence;
mod stamped;
mod store_id;
mod stream_name;
mod tag;
mod variant;

pub mod store;
pub mod telemetry;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

mod open;

pub mod consumer;
pub mod entity;
pub mod handling;
pub mod intents;
pub mod operations;
pub mod service;
#[cfg(feature = "testing")]
pub mod testing;

pub use jiff::Timestamp;
pub use uuid::Uuid;

pub use derived_id::derived_id;
pub use error::{Error, Result, Source, chain};
pub use expected_version::ExpectedVersion;
pub use json::{Json, MAX_JSON_DEPTH};
pub use key::{Key, MAX_KEY_BYTES};
pub use limits::{Limits, MAX_MESSAGE_TYPE_BYTES};
pub use message::{Message, MessageId, MessageRef, NewMessage};
pub use metadata::Metadata;
pub use open::{Openers, connect};
pub use outcome::{Outcome, OutcomeKind};
pub use position::{GlobalPosition, Position, Version};
pub use sequence::{Origin, Sequence};
pub use stamped::Stamped;
pub use store::{
    Append, AppendRequest, Appended, Batch, DEFAULT_BATCH, Filter, GroupMember, History, MessageStore, MessageStoreExt,
    Place, Read, StreamRead, WakeUp,
};
pub use store_id::StoreId;
pub use stream_name::{Category, MAX_STREAM_NAME_BYTES, StreamName};
pub use tag::{MAX_TAG_BYTES, Tag};
pub use variant::{ChainFault, Fields, Split, TypeVersion, Upcaster};
