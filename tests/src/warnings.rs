//! Collects warnings from the log.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The warnings of this thread, from [`Warnings::collect`] until its guard is dropped.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Begins to collect warnings. Collection ends when the returned guard is dropped.
    pub fn collect(&self) -> tracing::subscriber::DefaultGuard {
        // Without a subscriber in all threads, another thread that logs first can mark a warning as not wanted.
        static IN_ALL_THREADS: Once = Once::new();
        IN_ALL_THREADS.call_once(|| drop(tracing::subscriber::set_global_default(Self::default())));
        tracing::subscriber::set_default(self.clone())
    }

    /// The collected warnings, with their fields.
    pub fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
