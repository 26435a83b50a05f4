//! A proxy that drops single answers of a NATS server, as a connection does that is lost and made again between two of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Passes messages between clients and a server.
#[derive(Debug)]
pub struct DroppingProxy {
    address: SocketAddr,
    /// The text of the message to drop.
    mark: Arc<Mutex<Option<String>>>,
}

impl DroppingProxy {
    /// Starts a proxy for the server at this address.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mark = Arc::<Mutex<Option<String>>>::default();
        let marks = Arc::clone(&mark);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                tokio::spawn(pass_answers(from_server, to_client, Arc::clone(&marks)));
            }
        });
        Self { address, mark }
    }

    /// `HOST:PORT`, to which clients connect.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Drops the next message to a client that contains this text.
    ///
    /// # Panics
    /// Panics if another thread has panicked.
    pub fn drop_next(&self, mark: impl Into<String>) {
        *self.mark.lock().unwrap() = Some(mark.into());
    }

    /// Whether the message was dropped.
    ///
    /// # Panics
    /// Panics if another thread has panicked.
    pub fn has_dropped(&self) -> bool {
        self.mark.lock().unwrap().is_none()
    }
}

/// Passes what the server sends, one message at a time: a line, and for `MSG` and `HMSG` as many bytes as its last word says.
async fn pass_answers(server: OwnedReadHalf, mut client: OwnedWriteHalf, mark: Arc<Mutex<Option<String>>>) {
    let mut server = BufReader::new(server);
    loop {
        let mut message = Vec::new();
        if !server.read_until(b'\n', &mut message).await.is_ok_and(|read| read > 0) {
            return;
        }
        let line = String::from_utf8_lossy(&message).into_owned();
        let has_content = line.starts_with("MSG ") || line.starts_with("HMSG ");
        if let Some(length) = line.split_whitespace().next_back().filter(|_| has_content) {
            let begin = message.len();
            message.resize(begin + length.parse::<usize>().unwrap() + 2, 0);
            if server.read_exact(&mut message[begin..]).await.is_err() {
                return;
            }
        }
        let is_dropped = has_content && {
            let text = String::from_utf8_lossy(&message);
            mark.lock().unwrap().take_if(|mark| text.contains(mark.as_str())).is_some()
        };
        if !is_dropped && client.write_all(&message).await.is_err() {
            return;
        }
    }
}
