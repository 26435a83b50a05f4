//! The metrics of appends, for backends.

use std::time::Instant;

use crate::telemetry::metric::{APPEND_CONFLICTS, APPEND_DURATION, SENT};
use crate::telemetry::{CounterByCategory, Histogram, is_on};
use crate::{Append, Appended, Error, Result};

/// The handles of the metrics of one open store.
#[derive(Debug)]
pub(crate) struct AppendMetrics {
    sent: CounterByCategory,
    conflicts: CounterByCategory,
    ok: Histogram,
    refused: Histogram,
    failed: Histogram,
}

/// An append that is under way: its begin, and the number of messages for each category. `None` if metrics are off.
#[derive(Debug)]
pub(crate) struct AppendUnderWay(Option<(Instant, Vec<(String, u64)>)>);

impl AppendMetrics {
    pub(crate) fn new() -> Self {
        let duration = |result| Histogram::of(&APPEND_DURATION, &[result]);
        Self {
            sent: CounterByCategory::of(&SENT),
            conflicts: CounterByCategory::of(&APPEND_CONFLICTS),
            ok: duration("ok"),
            refused: duration("refused"),
            failed: duration("failed"),
        }
    }

    pub(crate) fn begin(appends: &[Append]) -> AppendUnderWay {
        let sizes = |append: &Append| (append.stream.category_str().to_owned(), append.messages.len() as u64);
        AppendUnderWay(is_on().then(|| (Instant::now(), appends.iter().map(sizes).collect())))
    }

    /// Records the end of an append.
    pub(crate) fn end(&self, AppendUnderWay(begun): AppendUnderWay, result: &Result<Appended>) {
        let Some((begun, sizes)) = begun else { return };
        let duration = match result {
            Ok(Appended { already_written, .. }) => {
                if !already_written {
                    for (category, size) in sizes {
                        self.sent.add(&category, size);
                    }
                }
                &self.ok
            }
            Err(Error::WrongExpectedVersion { stream, .. }) => {
                self.conflicts.add(stream.category_str(), 1);
                &self.refused
            }
            Err(error) if error.is_transient() => &self.failed,
            Err(_) => &self.refused,
        };
        duration.record_time(begun.elapsed());
    }
}
