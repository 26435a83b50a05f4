//! A server: its limits, its metrics, and how it stops.

use std::sync::Arc;
use std::time::Duration;

use account_component::component::service;
use account_component::http::{App, Metrics, listen, router, serve};
use message_store::{MessageStore, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::client::{Client, run};

/// Sends a request as it is, and returns what is answered before the connection ends.
async fn raw(address: std::net::SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection may be reset after its answer.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_limits_and_metrics_and_stops_when_its_requests_have_ended() {
    let metrics = Metrics::install().unwrap();
    assert!(Metrics::install().is_err(), "a second one would measure nothing");
    let store: Arc<dyn MessageStore> = connect("sqlite::memory:").await.unwrap();
    let component = service(&store, 8).start().await.unwrap();
    let app = App::new(&store, Some(component.clone())).unwrap().with_metrics(metrics);
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        serve(app, listener, stopped, Duration::from_mins(1)).await;
    });
    let request = |line: &str, headers: &str| {
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 0\r\n\r\n")
    };
    assert!(raw(address, &request("GET /livez", "")).await.starts_with("HTTP/1.1 200"));
    let many = "x: 1\r\n".repeat(80);
    assert!(raw(address, &request("GET /livez", &many)).await.starts_with("HTTP/1.1 431"));
    let large = format!("x: {}\r\n", "x".repeat(20_000));
    assert!(raw(address, &request("GET /livez", &large)).await.starts_with("HTTP/1.1 431"));
    // A body that is too large is refused by what its head says.
    let large =
        "POST /accounts/7/deposits HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    assert!(raw(address, large).await.starts_with("HTTP/1.1 413"));
    let shown = raw(address, &request("GET /metrics", "")).await;
    assert!(shown.contains("text/plain; version=0.0.4"), "{shown}");
    let counted = "http_server_request_duration_seconds_count{method=\"GET\",route=\"/livez\",status=\"200\"} 1";
    assert!(shown.contains(counted) && shown.contains("message_store"), "{shown}");

    // A request that is under way when the server stops is answered, and no other is taken.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let body = r#"{"customerId":"c"}"#;
    let head = format!(
        "PUT /accounts/7 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let is_under_way = async || raw(address, &request("GET /livez", "")).await.starts_with("HTTP/1.1 200");
    assert!(is_under_way().await);
    stop.send(()).unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.await.unwrap();
    component.stop();
    component.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_component_carries_out_its_requests() {
    let store: Arc<dyn MessageStore> = connect("sqlite::memory:").await.unwrap();
    // Nothing has added up the days yet.
    let days = Client::of(router(App::new(&store, None).unwrap())).get("/days").await;
    assert_eq!(days.body["type"], "/problems/not-shown-yet");
    let client = Client::of(router(App::new(&store, None).unwrap()));
    client.open("7").await;
    client.open("8").await;
    client.deposit("d1", "5").await;
    assert_eq!(client.balance("7").await.to_string(), "5.0");
    assert_eq!(client.get("/readyz").await.body["isWell"], true);
    assert_eq!(client.get("/metrics").await.status, 404);
    // A transfer is begun. It goes on when the component runs.
    let begun = client.send("PUT /transfers/t1", &[], r#"{"from":"7","to":"8","amount":2}"#).await;
    assert_eq!((begun.status.as_u16(), begun.body["stage"].as_str()), (202, Some("withdrawing")));
    let (client, component) = run(&store).await;
    let ended = client.send("GET /transfers/t1", &[("prefer", "wait=25")], "").await;
    assert_eq!(ended.body["stage"], "transferred");
    component.stop();
    component.ended().await.unwrap();
}
