//! Protections of the PostgreSQL store switched off, one at a time, so that a test can show that it would notice.

/// A protection of [`PostgresStore`](super::PostgresStore) to be switched off. For tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum PlantedBug {
    /// A connection whose user gave up keeps its place in the pool until its statement ends.
    AbandonedConnectionsStay,
    /// A batch whose callers have all gone goes on.
    AbandonedBatchesGoOn,
    /// A server with another history is taken for the one before.
    HistoryIgnored,
    /// What a lost answer had written counts as written before.
    LostAnswersCountAsBefore,
    /// What a lost answer had written counts as written now, also when another call wrote it.
    LostAnswersCountAsNow,
    /// A batch that took too long is halved, and its halves are tried.
    TimeOutsAreHalved,
}
