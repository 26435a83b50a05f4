//! The fingerprint of a projection: a hash of all that the library can see of how a state follows from messages.
//!
//! What it cannot see is the code of `apply` and of the upcasters. The author's version stands for it.

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::Projection;
use super::snapshot_content::FORMAT;
use crate::Upcaster;
use crate::variant::{field_names, names};

/// # Errors
/// The state cannot be encoded.
pub(super) fn fingerprint<P>(version: u32) -> serde_json::Result<String>
where
    P: Projection + Serialize + DeserializeOwned,
{
    let default = serde_json::to_string(&P::default())?;
    let upcasters = P::UPCASTERS.iter().map(Upcaster::shape).collect::<Vec<_>>().join(";");
    let mut hash = Sha256::new();
    for part in [
        FORMAT,
        &version.to_string(),
        type_name::<P>(),
        P::CATEGORY,
        &names::<P::Event>().join(","),
        &upcasters,
        &field_names::<P>().join(","),
        &default,
    ] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let half = hash.first_chunk().copied().unwrap_or_default();
    Ok(uuid::Uuid::from_bytes(half).simple().to_string())
}
