//! Switches that turn off one protection of the PostgreSQL store, so that a test can show that it would notice.

/// A protection of [`PostgresStore`](super::PostgresStore) that a test switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum PlantedBug {
    /// Reads leave out the archive.
    ArchiveNotRead,
    /// A connection whose user was dropped stays in the pool until its statement ends.
    AbandonedConnectionsStay,
    /// The warning that a commit did not wait for the standby to the end is not noticed.
    CutWaitsUnnoticed,
    /// A batch whose conditions took too long together is not tried in pieces.
    ConditionsTimeOutTogether,
    /// A primary in whose place a standby was promoted is used.
    DeposedPrimariesServe,
    /// A batch that needs more locks than the server has is not halved.
    FullLockTablesConcernAll,
    /// A batch continues after all of its callers were dropped.
    AbandonedBatchesGoOn,
    /// A read does not count the bytes of the rows that arrive.
    BytesNotCounted,
    /// A change of the server's history is not noticed.
    HistoryIgnored,
    /// The locks that are probed when a store is opened can be taken by several sessions.
    LocksExcludeNobody,
    /// A read does not know where the rows are large, so it never weighs them.
    LargeRowsForgotten,
    /// A read takes all rows for large, so it always weighs them.
    LargeRowsEverywhere,
    /// A call of `Once` waits for locks without a limit.
    OnceWaitsWithoutLimit,
    /// The sessions that read may plan to read the whole table.
    ReadsPlanFreely,
    /// After a lost answer, messages that the call wrote count as written before.
    LostAnswersCountAsBefore,
    /// After a lost answer, messages count as written by the call even if another call wrote them.
    LostAnswersCountAsNow,
    /// An answer that does not arrive is waited for without a limit.
    SilenceIsWaitedOut,
    /// Behind a pooler, a write does not notice that it reaches another server.
    PoolersChangeServers,
    /// Read models may take all connections that read.
    ReadModelsTakeAllConnections,
    /// An append that finds its messages written does not wait for the standby, which may lack them.
    RepeatsWaitForNoStandby,
    /// A category ends where the standby ends.
    StandbyEndsCategories,
    /// A standby of another history is read.
    StandbysOfAnyHistory,
    /// A batch that took too long is sent again in halves.
    TimeOutsAreHalved,
}
