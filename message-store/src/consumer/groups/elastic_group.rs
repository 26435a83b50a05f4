//! The settings of an elastic group.

use std::time::Duration;

use crate::Uuid;

/// The default number of slots.
const SLOTS: u16 = 64;
/// The default length of a lease.
const LEASE: Duration = Duration::from_secs(10);
/// The shortest lease: a member renews it several times before it ends.
const SHORTEST_LEASE: Duration = Duration::from_millis(200);

/// An elastic group of consumers. Its members divide a fixed number of slots among themselves. Each slot has the entities
/// whose ids have certain hashes, and one owner at a time.
///
/// A member that starts gets its share from the others within a second, and one that stops leaves its share to them. The
/// slots of a member that crashes, or whose host is gone, are taken over when its lease has ended.
///
/// ```no_run
/// use message_store::consumer::{Consumer, ElasticGroup};
/// # use message_store::handling::Handler;
/// # async fn example(handler: impl Handler, store: &std::sync::Arc<dyn message_store::MessageStore>) -> message_store::Result<()> {
/// // The same line in each process.
/// let consumer = Consumer::new("account:command", handler).identifier("accounts").elastic_group(ElasticGroup::new());
/// # let _ = consumer.start(store).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ElasticGroup {
    pub(in crate::consumer) member: Option<String>,
    pub(in crate::consumer) slots: u16,
    pub(in crate::consumer) lease: Duration,
}

impl Default for ElasticGroup {
    fn default() -> Self {
        Self { member: None, slots: SLOTS, lease: LEASE }
    }
}

impl ElasticGroup {
    /// A group of 64 slots with leases of 10 s, and a new name for this member.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of this member, as operators see it. Only one member of a name can run. Default: the host's name if the
    /// environment has it, the number of the process, and a random part.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// The number of slots (64), which is the highest useful number of members. All members must name the same number.
    /// It cannot change later.
    pub fn slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }

    /// The length of a lease (10 s, at least 200 ms). A member renews it every quarter of that time. The slots of a member
    /// that is gone are free after it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(SHORTEST_LEASE);
        self
    }

    pub(in crate::consumer) fn member_name(&self) -> String {
        self.member.clone().unwrap_or_else(|| {
            let random = Uuid::new_v4().simple().to_string();
            let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "member".to_owned());
            format!("{host}-{}-{}", std::process::id(), &random[..8])
        })
    }
}
