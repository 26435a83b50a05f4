//! Opening a store: servers that are too old, that want TLS or a password, and logs of others.

use std::time::Duration;

use message_store::{Append, Error, Json, MessageStore as _, NewMessage, StreamName};
use message_store_jetstream::{JetstreamOptions, JetstreamStore};
use message_store_tests::nats::{Flush, Server};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A server that says that it has this version, and answers pings.
async fn server_of(version: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let info = format!(
                    r#"INFO {{"server_id":"x","server_name":"x","version":"{version}","proto":1,"go":"go1.2","host":"127.0.0.1","port":{port},"headers":true,"max_payload":1048576,"jetstream":true,"client_id":1,"client_ip":"127.0.0.1"}}{}"#,
                    "\r\n"
                );
                client.write_all(info.as_bytes()).await.unwrap();
                let mut lines = BufReader::new(client);
                let mut line = String::new();
                while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    if line.starts_with("PING") && lines.get_mut().write_all(b"PONG\r\n").await.is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
    });
    format!("nats://127.0.0.1:{port}/main")
}

#[tokio::test]
async fn a_server_before_2_12_is_refused_by_its_version() {
    let error = JetstreamStore::open(&server_of("2.11.9").await).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("2.11.9") && error.contains("2.12"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_or_answers_no_call_or_has_no_jetstream_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = format!("nats://{}/main", listener.local_addr().unwrap());
    let without = Server::start(Flush::Later, "jetstream: disabled\n");
    let given_up = async |url: String, reason: &str| {
        let opened = tokio::time::timeout(Duration::from_mins(3), JetstreamStore::open(&url)).await;
        let error = opened.unwrap().unwrap_err();
        assert!(matches!(error, Error::Backend { transient: true, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&url) && text.contains(reason), "{text}");
    };
    tokio::join!(
        given_up(silent, ""),
        given_up(server_of("2.12.8").await, "timed out"),
        given_up(without.store(), "JetStream is not enabled"),
    );
}

#[tokio::test]
async fn a_store_that_does_not_exist_is_not_made_by_accident() {
    let url = Server::shared().store();
    let existing = || JetstreamOptions::from_url(&url).unwrap().existing();
    let error = JetstreamStore::open_with(existing()).await.unwrap_err();
    assert!(matches!(error, Error::Schema { .. }) && error.to_string().contains("message-store migrate"), "{error}");
    let made = JetstreamStore::open(&url).await.unwrap();
    assert_eq!(JetstreamStore::open_with(existing()).await.unwrap().store_id(), made.store_id());
}

#[tokio::test]
async fn a_log_that_another_program_made_is_refused() {
    let url = Server::shared().store();
    let name = url.rsplit('/').next().unwrap();
    let client = async_nats::connect(Server::shared().address()).await.unwrap();
    for (setting, what) in
        [(r#""allow_atomic":false"#, "atomic"), (r#""allow_atomic":true,"max_age":1000000000"#, "max_age")]
    {
        let config = format!(
            r#"{{"name":"MS_{name}","subjects":["ms.{name}.>"],"retention":"limits","storage":"file","discard":"new","num_replicas":1,{setting}}}"#
        );
        let created = client.request(format!("$JS.API.STREAM.CREATE.MS_{name}"), config.into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&created.payload).contains("\"error\""), "{created:?}");
        let error = JetstreamStore::open(&url).await.unwrap_err();
        assert!(matches!(error, Error::Schema { .. }) && error.to_string().contains(what), "{error}");
        client.request(format!("$JS.API.STREAM.DELETE.MS_{name}"), "".into()).await.unwrap();
    }
}

#[tokio::test]
async fn two_processes_that_make_a_store_at_once_make_one() {
    let url = Server::shared().store();
    let opened = futures_util::future::join_all((0..8).map(|_| JetstreamStore::open(&url))).await;
    let ids: std::collections::HashSet<_> = opened.into_iter().map(|store| store.unwrap().store_id()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_user_and_a_token_open_a_store_and_stand_in_no_error() {
    let users = r#"authorization { users: [{ user: "ann", password: "s3cret/1" }] }"#;
    let server = Server::start(Flush::Later, users);
    let url = |user: &str| format!("nats://{user}{}/main", server.address());
    let store = JetstreamStore::open(&url("ann:s3cret%2F1@")).await.unwrap();
    let text = format!("{} {store:?}", store.describe());
    assert!(!text.contains("s3cret") && !text.contains("ann"), "{text}");
    for wrong in ["ann:wr0ng@", "wr0ng@", ""] {
        let error = JetstreamStore::open(&url(wrong)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, Error::Backend { .. }) && !text.contains("wr0ng"), "{text}");
    }
    let server = Server::start(Flush::Later, "authorization { token: \"t0ken\" }");
    for url in
        [format!("nats://t0ken@{}/main", server.address()), format!("nats://{}/main?token=t0ken", server.address())]
    {
        JetstreamStore::open(&url).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_that_the_server_does_not_take_is_too_large() {
    let server = Server::start(Flush::Later, "max_payload: 64KB\n");
    let store = JetstreamStore::open(&server.store()).await.unwrap();
    let data = |bytes: usize| Json::encode(&"x".repeat(bytes)).unwrap();
    let append =
        |bytes| Append::to(StreamName::new("account-1").unwrap()).message(NewMessage::new("Filled", data(bytes)));
    store.append(append(40_000).into()).await.unwrap();
    // White space counts for the server, and not for the limit of a message.
    let spaced = Json::parse(format!("[{}1]", " ".repeat(70_000))).unwrap();
    let spaced = Append::to(StreamName::new("account-1").unwrap()).message(NewMessage::new("Filled", spaced));
    for refused in [append(60_000), spaced] {
        let error = store.append(refused.into()).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
    assert_eq!(store.read_all(message_store::Read::default()).await.unwrap().messages.len(), 1);
}
