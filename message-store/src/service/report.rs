//! What a service reports to its store, so that other processes see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::consumer::{ConsumerStatus, Repeat, UpdaterStatus};
use crate::store::{HistoryChange, SavedReport, StandbyReads, VersionState};
use crate::{GlobalPosition, MessageId, Position, Result, StreamName, Timestamp};

/// What a service reports. A field that another version of this library does not write has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ServiceReport {
    /// Its name ([`Service::name`](super::Service::name)).
    pub name: String,
    #[allow(missing_docs)]
    pub host: String,
    /// The number of its process.
    pub process: u32,
    /// The version of this library.
    pub version: String,
    /// As [`Health::is_ready`](super::Health::is_ready).
    pub is_ready: bool,
    /// It has ended. If it is not set and the report is old, the process has crashed or stands still.
    pub has_ended: bool,
    /// It has ended with an error, which is the only reason.
    pub has_failed: bool,
    /// As [`Health::reasons`](super::Health::reasons).
    pub reasons: Vec<String>,
    /// As [`Health::under_way`](super::Health::under_way).
    pub under_way: Vec<String>,
    /// The time of the report by the process's clock.
    pub clock: Option<Timestamp>,
    #[allow(missing_docs)]
    pub connections: Option<ReportedConnections>,
    /// The reads of categories from a standby. `None` if no standby is to serve any.
    pub standby_reads: Option<ReportedStandbyReads>,
    /// How the history of its store began that it sees. `None` for the one with which it started.
    pub history_change: Option<ReportedHistoryChange>,
    #[allow(missing_docs)]
    pub consumers: Vec<ReportedConsumer>,
    #[allow(missing_docs)]
    pub read_models: Vec<ReportedReadModel>,
}

/// The connections of a service to its store, before it reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ReportedConnections {
    pub in_use: usize,
    pub limit: usize,
    /// The number of callers that waited for one.
    pub waiting: usize,
    /// Since when callers have waited at each report, by the process's clock.
    pub waiting_since: Option<Timestamp>,
}

/// The reads of categories of a service, since it opened its store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ReportedStandbyReads {
    pub from_standby: u64,
    pub from_primary: u64,
    /// The bytes of the primary's log that the standby has not carried out.
    pub bytes_behind: Option<u64>,
    /// Since when no standby serves, by the service's clock.
    pub away_since: Option<Timestamp>,
    /// Why no standby serves.
    pub reason: Option<String>,
}

/// The beginning of a history of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ReportedHistoryChange {
    /// When the service noticed it, by its clock.
    pub at: Timestamp,
    pub reason: String,
    /// A message that the service had written or read before, and that is not in the store any more.
    pub lost_id: Option<MessageId>,
    /// The global position of that message. Another one may have it now.
    pub lost_at: Option<GlobalPosition>,
}

/// A consumer of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct ReportedConsumer {
    pub category: String,
    /// The stream with its position, or the name of its elastic group.
    pub position_stream: String,
    pub handler: String,
    pub handled_through: i64,
    /// The slots of a member of an elastic group.
    pub slots: Vec<u16>,
    /// Why it is paused.
    pub pause: Option<String>,
    pub outage: Option<String>,
    /// The outcomes since it started, by the names of their kinds.
    pub outcomes: BTreeMap<String, u64>,
    /// The number of times that it found messages after a wake-up.
    pub found_after_wake_ups: u64,
    /// The number of times that it found messages without a wake-up, after it had waited.
    pub found_after_polls: u64,
    /// The last messages that were repeats, the latest first.
    pub repeats: Vec<ReportedRepeat>,
}

/// A message that was a repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ReportedRepeat {
    /// The name of the kind of its outcome.
    pub outcome: String,
    pub id: MessageId,
    pub stream: StreamName,
    pub position: Position,
    pub global_position: GlobalPosition,
    pub original_id: MessageId,
    pub original_stream: StreamName,
    pub original_position: Position,
    pub at: Timestamp,
}

/// A read model of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ReportedReadModel {
    pub name: String,
    pub version: u32,
    pub is_building: bool,
    pub position: i64,
    pub end: i64,
}

impl ServiceReport {
    /// Reads the report of a service.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for JSON that is no report.
    pub fn of(saved: &SavedReport) -> Result<Self> {
        let invalid = |error: crate::Error| crate::Error::invalid("report of a service", error.to_string());
        saved.report.decode().map_err(invalid)
    }
}

impl From<StandbyReads> for ReportedStandbyReads {
    fn from(reads: StandbyReads) -> Self {
        let StandbyReads { from_standby, from_primary, bytes_behind, away_since, reason } = reads;
        Self { from_standby, from_primary, bytes_behind, away_since, reason }
    }
}

impl From<HistoryChange> for ReportedHistoryChange {
    fn from(HistoryChange { at, reason, lost }: HistoryChange) -> Self {
        Self { at, reason, lost_id: lost.map(|lost| lost.id), lost_at: lost.map(|lost| lost.global_position) }
    }
}

impl From<&ConsumerStatus> for ReportedConsumer {
    fn from(status: &ConsumerStatus) -> Self {
        let (started, counts) = (status.startup_report(), status.counts());
        let (found_after_wake_ups, found_after_polls) = status.found_after_waits();
        Self {
            category: started.category.to_string(),
            position_stream: started.position_stream.to_string(),
            handler: started.handler.to_owned(),
            handled_through: status.handled_through().get(),
            slots: status.slots(),
            pause: status.pause().map(|pause| pause.reason),
            outage: status.outage().map(|outage| outage.to_string()),
            outcomes: counts.iter().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
            found_after_wake_ups,
            found_after_polls,
            repeats: counts.repeats().map(ReportedRepeat::from).collect(),
        }
    }
}

impl From<&Repeat> for ReportedRepeat {
    fn from(Repeat { message, kind, original, at, .. }: &Repeat) -> Self {
        Self {
            outcome: kind.name().to_owned(),
            id: message.id,
            stream: message.stream.clone(),
            position: message.position,
            global_position: message.global_position,
            original_id: original.id,
            original_stream: original.stream.clone(),
            original_position: original.position,
            at: *at,
        }
    }
}

impl From<&UpdaterStatus> for ReportedReadModel {
    fn from(status: &UpdaterStatus) -> Self {
        let progress = status.progress();
        Self {
            name: status.name().to_owned(),
            version: status.version(),
            is_building: progress.state == VersionState::Building,
            position: progress.position.get(),
            end: progress.end.get(),
        }
    }
}
