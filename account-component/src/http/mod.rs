//! The account service over HTTP.
//!
//! Read it in this order: `commands.rs` (what a request does), `keys.rs` (how a request that is sent again is recognised),
//! `problem.rs` (what is answered when it does not succeed), `queries.rs` (what is read), `probes.rs`.
//!
//! Problem: a client that gets no answer must send its request again, and the money must move once. Fix: the client names its
//! intent, in the path (`PUT /accounts/7/deposits/d1`) or by a key that it has made up (`Idempotency-Key`). Why it is right: the
//! intent is the id of the deposit, which the component carries out once, however often and by whichever server it is asked to.
//! The key only adds that the client gets the same answer again.

mod app;
mod commands;
mod kept;
mod keys;
mod openapi;
mod probes;
mod problem;
mod queries;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use message_store::Result;
use tokio::net::TcpListener;

pub use app::App;
pub use openapi::document;
pub use problem::Problem;

/// The greatest length of a request's body, in bytes.
const BODY: usize = 64 * 1024;

/// The service's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/accounts/{account}", put(commands::open).get(queries::account).delete(commands::close))
        .route("/accounts/{account}/deposits", post(commands::deposit_by_key))
        .route("/accounts/{account}/deposits/{deposit}", put(commands::deposit))
        .route("/accounts/{account}/withdrawals", post(commands::withdraw_by_key))
        .route("/accounts/{account}/withdrawals/{withdrawal}", put(commands::withdraw))
        .route("/accounts/{account}/statement", get(queries::statement))
        .route("/days", get(queries::days))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/openapi.json", get(openapi::show))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(app)
}

/// Serves until `stop` completes. Requests that are under way then have this time to end.
///
/// # Errors
/// The errors of the listener.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    drain_within: Duration,
) -> std::io::Result<()> {
    let (stopped, stopping) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        let _ = stopped.send(());
    };
    let serving = axum::serve(listener, router(app)).with_graceful_shutdown(stop).into_future();
    let late = async {
        let _ = stopping.await;
        tokio::time::sleep(drain_within).await;
    };
    tokio::select! {
        served = serving => served,
        () = late => Ok(()),
    }
}

/// Listens on this address.
///
/// # Errors
/// The error of the system, if the port is in use, say.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| message_store::Error::backend(format!("listening on {address}"), false, error))
}
