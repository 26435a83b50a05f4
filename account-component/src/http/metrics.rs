//! Metrics: those of the library, and the time that each request takes.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use message_store::{Error, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::app::App;
use super::problem::Problem;

/// A histogram, in seconds, by `method`, `route` and `status`.
const TIME: &str = "http_server_request_duration_seconds";
/// The boundaries of the histograms of times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// How often what was measured is added up, if nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Measures what this process does from now on. Call it before the component starts.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the process has a recorder of metrics already.
    pub fn install() -> Result<Self> {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS);
        let installed = builder.and_then(PrometheusBuilder::install_recorder);
        installed.map(Self).map_err(|error| Error::invalid("recorder of metrics", error.to_string()))
    }

    /// Adds up what was measured, for ever.
    pub(super) async fn keep_up(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}

/// Shows the metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The metrics of this process", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
    (status = 404, description = "This process measures nothing", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn show(State(app): State<App>) -> Response {
    let Some(Metrics(handle)) = app.metrics else {
        let detail = "this process measures nothing";
        return Problem::new(StatusCode::NOT_FOUND, "no-metrics", "There are no metrics", detail).into_response();
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response()
}

/// Measures the time of a request.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    metrics::histogram!(TIME, "method" => method, "route" => route, "status" => status).record(begun.elapsed());
    response
}
