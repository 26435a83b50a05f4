//! The entry of a member into its group.

use std::time::Duration;

use tokio::time::sleep;

use crate::store::{Leases, Membership};
use crate::{Error, Result};

/// Gives the member its first lease. If another member of the same name has a lease, waits until that should have ended:
/// it may be a process that crashed and starts again.
///
/// # Errors
/// [`Error::Invalid`] if the other member renews its lease.
pub(in crate::consumer) async fn join(leases: &dyn Leases, member: &Membership, lease: Duration) -> Result<()> {
    let mut waited_for = None;
    loop {
        if leases.renew(member, lease, true).await? {
            return Ok(());
        }
        let members = leases.group(&member.group).await?.members;
        let Some(other) = members.into_iter().find(|other| other.name == member.name) else { continue };
        if waited_for.is_some_and(|(id, left)| id == other.id && other.lease_left >= left) {
            return Err(is_taken(member));
        }
        let pause = (other.lease_left / 2).max(lease / 32);
        if waited_for.is_none() {
            tracing::warn!(target: "message_store::consumer", member = %member.name, group = %member.group, lease_left = ?other.lease_left, "another member has this name; waiting for the end of its lease");
        }
        waited_for = Some((other.id, other.lease_left));
        sleep(pause).await;
    }
}

/// The error of a member whose name another member has.
pub(super) fn is_taken(member: &Membership) -> Error {
    let Membership { group, name, .. } = member;
    let reason =
        format!("another member of {group} is named {name:?}, and runs. Give each member a name of its own, or none");
    Error::invalid("name of a member", reason)
}
