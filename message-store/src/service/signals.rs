//! The signals that ask a process to stop.

/// Waits for Ctrl-C or, on Unix, SIGTERM. Returns the name of the signal.
pub async fn stop_signal() -> &'static str {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                name = interrupt() => return name,
            }
        }
    }
    interrupt().await
}

async fn interrupt() -> &'static str {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(target: "message_store::service", %error, "this process cannot receive Ctrl-C");
        std::future::pending::<()>().await;
    }
    "Ctrl-C"
}
