//! What the program says about its work: on standard error, and to a collector of spans.

use anyhow::Result;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

/// Ends what is under way when the program ends.
#[must_use]
pub(crate) struct Logs {
    #[cfg(feature = "otlp")]
    spans: Option<super::otlp::Export>,
}

/// Logs to standard error, at the level that `RUST_LOG` or `--verbose` sets. Warnings are always logged.
///
/// # Errors
/// If spans cannot be exported as the environment says.
pub(crate) fn log(verbose: u8) -> Result<Logs> {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let default = format!("message_store={level},account_component={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    #[cfg(feature = "otlp")]
    {
        let spans = super::otlp::Export::begin()?;
        tracing_subscriber::registry().with(spans.as_ref().map(super::otlp::Export::layer)).with(logs).init();
        Ok(Logs { spans })
    }
    #[cfg(not(feature = "otlp"))]
    {
        tracing_subscriber::registry().with(logs).init();
        Ok(Logs {})
    }
}

impl Logs {
    /// Sends the spans that are not sent yet.
    pub(crate) async fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.end().await;
        }
        #[cfg(not(feature = "otlp"))]
        std::future::ready(()).await;
    }
}
