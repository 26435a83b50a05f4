//! A server exports the spans of its requests and of its messages to a collector.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use message_store::{StreamName, StreamRead, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector, which keeps what it gets.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&got);
    let traces = post(async move |body: Bytes| keep.lock().unwrap().extend_from_slice(&body));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/v1/traces", traces)).into_future());
    (url, got)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spans_of_a_request_and_of_its_messages_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let (endpoint, got) = collector().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_account-component"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", &url]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_SERVICE_NAME", "bank");
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening on http://")).unwrap();
    let address = line.split("http://").nth(1).unwrap().split(';').next().unwrap().to_owned();

    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = r#"{"customerId":"c"}"#;
    let request = format!(
        "PUT /accounts/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntraceparent: {TRACEPARENT}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    // The command carries the trace, with the span of the request as its parent.
    let store = connect(&url).await.unwrap();
    let events = StreamName::new("account-7").unwrap();
    let event = store.read_stream(&events, StreamRead::default()).await.unwrap().pop().unwrap();
    let carried = event.decode_metadata().traceparent.unwrap();
    assert!(carried.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && carried != TRACEPARENT, "{carried}");

    // What is not sent yet is sent when the server stops.
    let stopped = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stopped.success() && server.wait().unwrap().success());
    let got = got.lock().unwrap();
    for part in ["PUT /accounts/{account}", "http.response.status_code", "process", "messaging.message.id", "bank"] {
        assert!(contains(&got, part.as_bytes()), "{part}");
    }
    assert!(contains(&got, &TRACE), "the span continues the caller's trace");
}
