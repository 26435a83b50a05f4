//! The server: it takes connections, within limits, and stops within its deadline.
//!
//! Problem: a client that sends nothing, or sends it slowly, costs a connection for as long as it wants. Fix: the head of a request
//! has a size and a time, a request has a time, and there are so many connections at most: further ones wait to be accepted.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use message_store::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::app::App;
use super::problem::Problem;
use super::{BODY, router};

/// The greatest length of a request's head, in bytes, and the greatest number of its headers. A longer one is answered with 431.
const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How long the head of a request may take to come, from the end of the request before it.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a request may take, with its body.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a client may take none of what is sent to it.
const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// The greatest number of connections.
const CONNECTIONS: usize = 1_000;
/// The pause after a connection could not be accepted, because the process has no more files, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on this address.
///
/// # Errors
/// The error of the system, if the port is in use, say.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| Error::backend(format!("listening on {address}"), false, error))
}

/// Serves until `stop` completes. Requests that are under way then have this time to end.
pub async fn serve(app: App, listener: TcpListener, stop: impl Future<Output = ()>, drain_within: Duration) {
    let upkeep = app.metrics.clone().map(|metrics| tokio::spawn(metrics.keep_up()));
    let service = TowerToHyperService::new(router(app));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_headers(HEADERS).max_buf_size(HEAD);
    // A client may say that it sends no more, and wait for its answer.
    server.half_close(true);
    let (connections, graceful) = (Arc::new(Semaphore::new(CONNECTIONS)), GracefulShutdown::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&connections).acquire_owned().await;
            (accept(&listener).await, place)
        };
        let (socket, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(TAKE_WITHIN));
        let socket = TokioIo::new(Box::pin(socket));
        let connection = graceful.watch(server.serve_connection(socket, service.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                ::tracing::debug!(target: "account_component::http", %error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(drain_within, graceful.shutdown()).await.is_err() {
        ::tracing::warn!(target: "account_component::http", "requests were under way when the time to stop was over");
    }
    if let Some(upkeep) = upkeep {
        upkeep.abort();
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // Answers are small, and are sent at once.
                let _ = socket.set_nodelay(true);
                return socket;
            }
            Err(error) => {
                ::tracing::warn!(target: "account_component::http", %error, "a connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Refuses a body whose head says that it is too large, before it comes.
pub(super) async fn limit_body(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY as u64) {
        return Problem::too_large().into_response();
    }
    next.run(request).await
}

/// Ends a request that takes too long. What was written for it stays, and the same request finds it.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    match timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_long().into_response(),
    }
}
