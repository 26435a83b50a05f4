//! What the library tells about itself: log records, spans and metrics.
//!
//! **Log records and spans** are those of [`tracing`]. Their targets are stable: each is one of [`TARGETS`]. A delivery of a
//! message is a span `process` of the level `DEBUG` in the target `message_store::consumer`. Its fields have the names of
//! OpenTelemetry's semantic conventions for messaging, and `traceparent` and `tracestate` are the W3C trace context that
//! the message carries ([`Metadata::traceparent`](crate::Metadata)), so a subscriber can continue the trace. The messages that a
//! handler writes carry it on.
//!
//! **Metrics** need the feature `metrics`, and go to the recorder of the crate `metrics` that the program has installed
//! *before* it opens a store. [`METRICS`] lists them, with units and labels, after the same conventions. Labels are bounded:
//! categories, consumers, outcomes; never streams. After 200 categories, further ones share the label `other`.

mod emit;
pub(crate) mod metric;

#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(unused_imports))]
pub(crate) use emit::{Counter, CounterByCategory, Gauge, Histogram, is_on};
pub use metric::{METRICS, Metric, MetricKind};

/// The targets of log records and spans: one for each part of the library.
pub const TARGETS: &[&str] = &[
    "message_store::store",
    "message_store::postgres",
    "message_store::sqlite",
    "message_store::entity",
    "message_store::intents",
    "message_store::handling",
    "message_store::consumer",
    "message_store::service",
    "message_store::operations",
];

/// Describes all metrics to the recorder that is installed.
#[cfg(feature = "metrics")]
pub fn describe_metrics() {
    for metric in METRICS {
        metric.describe();
    }
}
