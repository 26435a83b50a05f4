//! The metrics of an updater: those of a consumer that an operator watches.

use std::time::Duration;

use crate::store::{Backlog, ReadModelVersion, VersionState};
use crate::telemetry::Gauge;
use crate::telemetry::metric::{LAG_MESSAGES, LAG_TIME, OUTAGE};
use crate::{Category, MessageStore, Result, Timestamp};

/// The handles of the metrics. The label of the consumer is the key of the version.
#[derive(Debug)]
pub(super) struct UpdaterMetrics {
    lag: Gauge,
    lag_time: Gauge,
    outage: Gauge,
}

impl UpdaterMetrics {
    pub(super) fn of(categories: &[Category], name: &str, version: u32) -> Self {
        let category = categories.iter().map(Category::as_str).collect::<Vec<_>>().join(",");
        let name = ReadModelVersion::key_of(name, version);
        let gauge = |metric| Gauge::of(metric, &[&category, &name]);
        Self { lag: gauge(&LAG_MESSAGES), lag_time: gauge(&LAG_TIME), outage: gauge(&OUTAGE) }
    }

    /// `time` is how long the outage has lasted.
    pub(super) fn outage(&self, time: Option<Duration>) {
        self.outage.set_time(time.unwrap_or_default());
    }

    /// Measures the lag of a version. One that stands by has none.
    pub(super) async fn sample(
        &self,
        store: &dyn MessageStore,
        categories: &[Category],
        version: &ReadModelVersion,
    ) -> Result<()> {
        let (mut messages, mut oldest) = (0, None::<Timestamp>);
        if matches!(version.state, VersionState::Serving | VersionState::Building) {
            for category in categories {
                let Backlog { messages: more, oldest: first, .. } = store.backlog(category, version.position).await?;
                messages += more;
                oldest = [oldest, first].into_iter().flatten().min();
            }
        }
        self.lag.set(messages);
        let now = store.now().await?;
        let age = oldest.and_then(|oldest| Duration::try_from(now.duration_since(oldest)).ok());
        self.lag_time.set_time(age.unwrap_or_default());
        Ok(())
    }
}
