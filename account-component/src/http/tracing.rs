//! Traces: each request has a span, and its messages carry the trace (W3C trace context), so all that follows from it can be found.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use message_store::{Metadata, NewMessage, Result};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest context that is carried on, in bytes. The standard's has 55.
const LONGEST: usize = 512;

/// The trace of a request, as its messages carry it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    parent: Option<String>,
    state: Option<String>,
}

impl Trace {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| {
            let text = headers.get(name)?.to_str().ok()?;
            (text.len() <= LONGEST).then(|| text.to_owned())
        };
        Self { parent: text(TRACEPARENT), state: text(TRACESTATE) }
    }

    /// Adds the trace to the metadata of a new message, which has no other.
    pub(super) fn on(&self, message: NewMessage) -> Result<NewMessage> {
        match &self.parent {
            Some(parent) => message.with_metadata(&Metadata::default().trace(parent, self.state.as_deref())),
            None => Ok(message),
        }
    }
}

/// Gives a request its span.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let method = request.method().as_str();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!(
        target: "account_component::http",
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        url.path = request.uri().path(),
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    continue_trace(&span, request.headers_mut());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// The span continues the trace of the caller, and the messages of the request that of the span.
#[cfg(feature = "otlp")]
fn continue_trace(span: &Span, headers: &mut HeaderMap) {
    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry_http::{HeaderExtractor, HeaderInjector};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let propagator = TraceContextPropagator::new();
    // It fails if nothing is exported. The caller's context is then carried on.
    if span.set_parent(propagator.extract(&HeaderExtractor(headers))).is_ok() {
        propagator.inject_context(&span.context(), &mut HeaderInjector(headers));
    }
}

/// Without an export, the messages carry the context of the caller.
#[cfg(not(feature = "otlp"))]
fn continue_trace(_: &Span, _: &mut HeaderMap) {}
