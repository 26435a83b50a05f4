//! The account service over HTTP.
//!
//! Read it in this order: `accounts.rs` and `movements.rs` (the requests), `commands.rs` (what a request does), `keys.rs` (how a
//! request that is sent again is recognised), `preconditions.rs` (`If-Match`), `problem.rs` (what is answered when it does not
//! succeed), `transfers.rs`, `queries.rs` (what is read), `serving.rs` (limits of connections, heads, bodies and times), `probes.rs`,
//! `metrics.rs` and `tracing.rs`.
//!
//! Problem: a client that gets no answer must send its request again, and the money must move once. Fix: the client names its
//! intent, in the path (`PUT /accounts/7/deposits/d1`) or by a key that it has made up (`Idempotency-Key`). Why it is right: the
//! intent is the id of the deposit, which the component carries out once, however often and by whichever server it is asked to.
//! The key only adds that the client gets the same answer again.

mod accounts;
mod app;
mod commands;
mod extract;
mod kept;
mod keys;
mod metrics;
mod movements;
mod openapi;
mod preconditions;
mod probes;
mod problem;
mod queries;
mod serving;
mod tracing;
mod transfers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post, put};

pub use app::App;
pub use metrics::Metrics;
pub use openapi::document;
pub use problem::Problem;
pub use serving::{listen, serve};

/// The greatest length of a request's body, in bytes.
const BODY: usize = 64 * 1024;

/// The service's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/accounts/{account}", put(accounts::open).get(queries::account).delete(accounts::close))
        .route("/accounts/{account}/deposits", post(movements::deposit_by_key))
        .route("/accounts/{account}/deposits/{deposit}", put(movements::deposit))
        .route("/accounts/{account}/withdrawals", post(movements::withdraw_by_key))
        .route("/accounts/{account}/withdrawals/{withdrawal}", put(movements::withdraw))
        .route("/accounts/{account}/statement", get(queries::statement))
        .route("/transfers", post(transfers::order_by_key))
        .route("/transfers/{transfer}", put(transfers::order).get(transfers::show))
        .route("/days", get(queries::days))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::show))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(serving::limit_body))
        .layer(from_fn(serving::limit_time))
        .layer(from_fn(metrics::measure))
        .layer(from_fn(tracing::trace))
        .with_state(app)
}
