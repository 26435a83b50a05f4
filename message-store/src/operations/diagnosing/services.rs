//! Troubles that services report.

use std::time::Duration;

use super::store::APART;
use super::{Trouble, TroubleKind};
use crate::service::{ReportedConnections, ReportedConsumer, ServiceReport};
use crate::store::SavedReport;
use crate::{MessageStore, Result};

/// The number of times that a consumer must have found messages without a wake-up before that is a trouble.
const WITHOUT_WAKE_UP: u64 = 5;

/// How long a loss is named.
const DAY: Duration = Duration::from_hours(24);

pub(super) async fn look(store: &dyn MessageStore, patience: Duration, troubles: &mut Vec<Trouble>) -> Result<()> {
    let Some(reports) = store.service_reports() else { return Ok(()) };
    let mut read = Vec::new();
    for saved in reports.reports().await? {
        let report = ServiceReport::of(&saved)?;
        read.push((saved, report));
    }
    for (saved, report) in &read {
        if report.has_ended {
            let is_followed = read.iter().any(|(later, of)| {
                of.name == report.name && later.service != saved.service && later.started_at >= saved.started_at
            });
            if report.has_failed && !is_followed {
                let what = format!("{}: {}", named(report), report.reasons.join("; "));
                let mend = "Remove the cause, and start it again: nothing is lost. A message that no release of the program can read \
                            is passed over by `message-store consumers reset`, or set aside by `Consumer::on_failure`";
                troubles.push(Trouble::new(TroubleKind::ServiceFailed, what, mend));
            }
            continue;
        }
        if saved.age > patience {
            let what = format!("{} has not reported for {} s, and has not ended", named(report), saved.age.as_secs());
            let mend = "Look whether its process runs. If it has crashed, start it again: nothing is lost";
            troubles.push(Trouble::new(TroubleKind::ServiceSilent, what, mend));
        } else {
            of_service(saved, report, patience, troubles);
        }
    }
    Ok(())
}

fn named(report: &ServiceReport) -> String {
    format!("the service {} (process {} on {})", report.name, report.process, report.host)
}

fn of_service(saved: &SavedReport, report: &ServiceReport, patience: Duration, troubles: &mut Vec<Trouble>) {
    if !report.is_ready {
        let what = format!("{} is not ready: {}", named(report), report.reasons.join("; "));
        let mend = "It goes on by itself when the reason is gone; `message-store services` shows it";
        troubles.push(Trouble::new(TroubleKind::ServiceNotReady, what, mend));
    }
    // A moment in which callers wait is none.
    let waits_long = |connections: &ReportedConnections| {
        let waited = connections.waiting_since.zip(report.clock).map(|(since, clock)| clock.duration_since(since));
        waited.and_then(|waited| Duration::try_from(waited).ok()).is_some_and(|waited| waited >= patience)
    };
    if let Some(connections) = report.connections.filter(waits_long) {
        let (waiting, limit) = (connections.waiting, connections.limit);
        let what = format!("in {}, {waiting} callers wait for one of {limit} connections", named(report));
        let mend = "Give the store more connections (`PostgresOptions::connections`), or let fewer handlers call it at once \
                    (`Consumer::concurrency`)";
        troubles.push(Trouble::new(TroubleKind::FullPool, what, mend));
    }
    troubles.extend(lost_messages(report));
    troubles.extend(standby_away(report, patience));
    let apart = report.clock.map(|clock| saved.reported_at.duration_since(clock).abs());
    if let Some(apart) = apart.and_then(|apart| Duration::try_from(apart).ok()).filter(|apart| *apart > APART) {
        let what = format!("the clock of {} and the store's differ by {} s", named(report), apart.as_secs());
        let mend = "Let both machines set their clocks by the network (NTP)";
        troubles.push(Trouble::new(TroubleKind::ClocksApart, what, mend));
    }
    // A store without a server wakes no other process.
    if report.connections.is_some() {
        troubles.extend(report.consumers.iter().filter_map(|consumer| without_wake_ups(report, consumer)));
    }
}

fn standby_away(report: &ServiceReport, patience: Duration) -> Option<Trouble> {
    let reads = report.standby_reads.as_ref()?;
    let since = reads.away_since?;
    let lasted = Duration::try_from(report.clock?.duration_since(since)).unwrap_or_default();
    if lasted < patience {
        return None;
    }
    let what = format!(
        "{} reads categories from the primary, because no standby has served since {since}: {}",
        named(report),
        reads.reason.as_deref().unwrap_or_default()
    );
    let mend = "Start the standby, or leave category_reads=standby out of the URL. Nothing is missing: the primary serves the reads";
    Some(Trouble::new(TroubleKind::StandbyAway, what, mend))
}

/// The loss of messages within the last day.
fn lost_messages(report: &ServiceReport) -> Option<Trouble> {
    let change = report.history_change.as_ref()?;
    let (id, position, clock) = (change.lost_id?, change.lost_at?, report.clock?);
    if Duration::try_from(clock.duration_since(change.at)).is_ok_and(|age| age > DAY) {
        return None;
    }
    let what = format!(
        "the store has lost its latest messages: {} noticed at {} that the message {id} at global position {position} is not there any \
         more ({})",
        named(report),
        change.at,
        change.reason
    );
    let mend = "Nothing that was decided on them is written. Keep the data of the server that has them, and send what is to be done \
                again. A synchronous standby has every acknowledged message";
    Some(Trouble::new(TroubleKind::MessagesLost, what, mend))
}

fn without_wake_ups(report: &ServiceReport, consumer: &ReportedConsumer) -> Option<Trouble> {
    if consumer.found_after_wake_ups > 0 || consumer.found_after_polls < WITHOUT_WAKE_UP {
        return None;
    }
    let what = format!(
        "the consumer of {} in {} has found messages {} times, and never by a wake-up",
        consumer.position_stream,
        named(report),
        consumer.found_after_polls
    );
    let mend = "Its messages wait for the poll interval. A pooler that lends connections for one transaction passes no wake-ups: \
                give the store a URL of the server itself. A writer that ends right after its append sends none";
    Some(Trouble::new(TroubleKind::NoWakeUps, what, mend))
}
