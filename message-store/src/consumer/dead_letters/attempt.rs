//! One attempt to handle a message. A panic of the handler is returned as an error.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::timeout;
use tracing::{Instrument as _, Span, field};

use super::{Classed, SetAside};
use crate::consumer::consumer_metrics::ConsumerMetrics;
use crate::error::{Class, panic_text};
use crate::handling::{Context, Handler};
use crate::store::Fence;
use crate::telemetry::is_on;
use crate::{Message, Outcome, Source};

impl SetAside {
    pub(super) async fn attempt<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        fence: Option<Fence>,
    ) -> Result<Outcome, Source> {
        let context = Context::new(&self.letters.store, handler.name(), message)
            .with_shutdown(self.outages.shutdown())
            .with_fence(fence);
        let begun = is_on().then(Instant::now);
        let handled = async {
            if message.is_erased() {
                handler.handle_erased(message, &context).await
            } else {
                handler.handle(message, &context).await
            }
        };
        let handled = catch_panic(handled).instrument(span_of(message));
        let _recorded = begun.map(|begun| Recorded(&self.metrics, begun));
        let outcome = match self.pace.time_limit {
            None => handled.await?,
            Some(limit) => match timeout(limit, handled).await {
                Ok(handled) => handled?,
                Err(_) => return Err(took_too_long(limit)),
            },
        };
        self.time_outs.end();
        Ok(outcome)
    }
}

/// The span of a delivery. Its fields cost nothing if no subscriber wants it.
fn span_of(message: &Message) -> Span {
    let span = tracing::debug_span!(
        target: "message_store::consumer",
        "process",
        messaging.system = "message_store",
        messaging.operation.name = "process",
        messaging.destination.name = message.stream.category_str(),
        messaging.message.id = %message.id,
        message_type = message.message_type,
        stream = %message.stream,
        position = message.position.get(),
        global_position = message.global_position.get(),
        traceparent = field::Empty,
        tracestate = field::Empty,
    );
    if !span.is_disabled() {
        let metadata = message.decode_metadata();
        for (name, value) in [("traceparent", &metadata.traceparent), ("tracestate", &metadata.tracestate)] {
            if let Some(value) = value {
                span.record(name, value.as_str());
            }
        }
    }
    span
}

/// Records the time of an attempt when it is dropped, however the attempt ends.
struct Recorded<'a>(&'a ConsumerMetrics, Instant);

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        self.0.attempted(self.1.elapsed());
    }
}

/// The error of an attempt that reached its time limit.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not end within its time limit of {limit:?}")]
struct TookTooLong {
    limit: Duration,
    source: Class,
}

fn took_too_long(limit: Duration) -> Source {
    TookTooLong { limit, source: Class::OverLimit }.into()
}

/// The result of a call of the handler. A panic is an error.
pub(super) async fn catch_panic<T>(call: impl Future<Output = Result<T, Source>>) -> Result<T, Source> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Source {
    Classed::panicked(format!("the handler panicked: {}", panic_text(panic))).into()
}
