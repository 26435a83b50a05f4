//! A client that sends each request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client waits for an answer.
const GIVES_UP: Duration = Duration::from_secs(40);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answered {
    /// The type of the problem, if it is one.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.body["type"].as_str()
    }
}

/// A request without its connection.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let Self { line, headers, body } = self;
        let length = body.len();
        format!(
            "{line} HTTP/1.1\r\nhost: accounts\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Sends a request, and returns the answer; `None` if none came.
pub(crate) async fn send(server: SocketAddr, request: &Request) -> Option<Answered> {
    let exchange = async {
        let mut socket = TcpStream::connect(server).await.ok()?;
        socket.write_all(&request.bytes()).await.ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        // A server that is killed may have sent a part of the body.
        Some(Answered { status, body: serde_json::from_str(body).ok()? })
    };
    timeout(GIVES_UP, exchange).await.ok()?
}

/// Sends a request, or its first half, and cuts the connection.
pub(crate) async fn cut(server: SocketAddr, request: &Request, is_whole: bool) {
    let bytes = request.bytes();
    if let Ok(mut socket) = TcpStream::connect(server).await {
        let sent = if is_whole { bytes.len() } else { bytes.len() / 2 };
        let _ = socket.write_all(&bytes[..sent]).await;
    }
}
