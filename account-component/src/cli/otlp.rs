//! Export of spans by OTLP, over HTTP.
//!
//! The variables of `OpenTelemetry` set it up: `OTEL_EXPORTER_OTLP_ENDPOINT` (without it, nothing is exported),
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, and others. The endpoint is reached without TLS: a
//! collector on this machine, or beside it.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::Handle;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::Layer as _;
use tracing_subscriber::registry::LookupSpan;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
const NAME: &str = "account-component";
/// The spans of requests, and of the messages that are handled.
const SPANS: &str = "message_store=debug,account_component=info";
/// How long a request to the collector may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// An export that is under way.
pub(crate) struct Export(SdkTracerProvider);

impl Export {
    /// Begins an export, if the environment names an endpoint.
    pub(crate) fn begin() -> Result<Option<Self>> {
        if ENDPOINTS.iter().all(|name| env::var_os(name).is_none_or(|endpoint| endpoint.is_empty())) {
            return Ok(None);
        }
        let client =
            Client { inner: HyperClient::with_default_connector(ANSWERS_WITHIN, None), runtime: Handle::current() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.context("the export of spans (OTEL_EXPORTER_OTLP_ENDPOINT) cannot begin")?;
        let resource = Resource::builder();
        let resource =
            if env::var_os("OTEL_SERVICE_NAME").is_none() { resource.with_service_name(NAME) } else { resource };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Some(Self(provider.build())))
    }

    /// Takes the spans of the program.
    pub(crate) fn layer<S>(&self) -> Filtered<OpenTelemetryLayer<S, Tracer>, EnvFilter, S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer(NAME)).with_filter(EnvFilter::new(SPANS))
    }

    /// Sends the spans that are not sent yet.
    pub(crate) async fn end(self) {
        // It waits for a thread that waits for this runtime.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = ended {
            eprintln!("warning: the last spans were not exported: {error}");
        }
    }
}

/// A client that works in the program's runtime, whatever thread asks for it.
#[derive(Debug)]
struct Client {
    inner: HyperClient,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.inner.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
