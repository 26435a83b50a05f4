//! Handles of metrics. Without the feature `metrics`, they do nothing and take no space.

#[cfg(feature = "metrics")]
use std::collections::HashMap;
#[cfg(feature = "metrics")]
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::Metric;
#[cfg(feature = "metrics")]
use super::metric::CATEGORY;

/// The greatest number of categories with a label of their own.
#[cfg(feature = "metrics")]
const MOST_CATEGORIES: usize = 200;
/// The label of further categories.
#[cfg(feature = "metrics")]
const OTHER: &str = "other";

/// Whether metrics are recorded.
pub(crate) const fn is_on() -> bool {
    cfg!(feature = "metrics")
}

#[cfg(feature = "metrics")]
fn labels(metric: &Metric, values: &[&str]) -> Vec<metrics::Label> {
    debug_assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
    metric.labels.iter().zip(values).map(|(name, value)| metrics::Label::new(*name, (*value).to_owned())).collect()
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident by $make:ident: $($method:ident($value:ident: $type:ty) = $call:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name {
            #[cfg(feature = "metrics")]
            handle: metrics::$name,
        }

        impl $name {
            /// `values` are those of the metric's labels, in order.
            #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
            pub(crate) fn of(metric: &'static Metric, values: &[&str]) -> Self {
                Self {
                    #[cfg(feature = "metrics")]
                    handle: metrics::$make!(metric.name, labels(metric, values)),
                }
            }

            $(
                #[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
                pub(crate) fn $method(&self, $value: $type) {
                    #[cfg(feature = "metrics")]
                    {
                        let call: fn(&metrics::$name, $type) = $call;
                        call(&self.handle, $value);
                    }
                }
            )*
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

handle! {
    /// A number that only grows.
    Counter by counter:
        add(count: u64) = |handle, count| handle.increment(count);
}
handle! {
    /// A number that grows and falls.
    Gauge by gauge:
        set(value: u64) = |handle, value| handle.set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
        set_time(time: Duration) = |handle, time| handle.set(time.as_secs_f64());
}
handle! {
    /// Values of which the distribution matters.
    Histogram by histogram:
        record(count: usize) = |handle, count| handle.record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        record_time(time: Duration) = |handle, time| handle.record(time.as_secs_f64());
}

/// A counter for each category. A handle is made once for each.
#[derive(Debug)]
pub(crate) struct CounterByCategory {
    #[cfg(feature = "metrics")]
    metric: &'static Metric,
    #[cfg(feature = "metrics")]
    counters: RwLock<HashMap<String, Counter>>,
}

impl CounterByCategory {
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    pub(crate) fn of(metric: &'static Metric) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            metric,
            #[cfg(feature = "metrics")]
            counters: RwLock::default(),
        }
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "nothing is counted")]
    pub(crate) fn add(&self, _category: &str, _count: u64) {}

    #[cfg(feature = "metrics")]
    pub(crate) fn add(&self, category: &str, count: u64) {
        if let Some(counter) = self.counters.read().unwrap_or_else(PoisonError::into_inner).get(category) {
            counter.add(count);
            return;
        }
        debug_assert_eq!(self.metric.labels, [CATEGORY]);
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        let label = if counters.len() < MOST_CATEGORIES { category } else { OTHER };
        let counter = counters.entry(label.to_owned()).or_insert_with(|| Counter::of(self.metric, &[label]));
        counter.add(count);
    }
}
