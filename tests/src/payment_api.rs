//! A payment provider's HTTP API, with faults. `POST /payments/{payee}` pays, and `GET /payments/{payee}` returns
//! whether the payee was paid. The API has no idempotency keys, and may pay without an answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The fate of a call to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The provider pays and answers.
    Paid,
    /// The provider pays, and the connection breaks.
    PaidAndNoAnswer,
    /// The connection breaks before the provider pays.
    LostOnTheWay,
    /// The provider refuses, and does not pay.
    Refused,
    /// The caller's process ends before the provider pays.
    CallerEndsBefore,
    /// The provider pays, and the caller's process ends before the answer.
    CallerEndsAfter,
}

/// A payment provider that counts payments and calls.
#[derive(Debug, Default)]
pub struct Provider {
    payments: Mutex<BTreeMap<String, u64>>,
    fates: Mutex<BTreeMap<String, Vec<Fate>>>,
    calls: AtomicUsize,
    /// While it is set, a search cannot tell whether a payee was paid, as with a list that ends after a thousand
    /// payments.
    pub is_blind: AtomicBool,
    /// Notified when the caller's process is to end.
    pub caller_ends: Notify,
}

impl Provider {
    /// Sets the fates of the next calls for a payee. Later calls are paid.
    ///
    /// # Panics
    /// Panics if another thread has panicked.
    pub fn set(&self, payee: &str, fates: &[Fate]) {
        self.fates.lock().unwrap().insert(payee.to_owned(), fates.to_vec());
    }

    /// The number of payments to a payee.
    ///
    /// # Panics
    /// Panics if another thread has panicked.
    pub fn paid(&self, payee: &str) -> u64 {
        self.payments.lock().unwrap().get(payee).copied().unwrap_or_default()
    }

    /// The number of calls, for all payees.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Serves on a free port of the loopback address.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.answer(connection).await });
            }
        });
        address
    }

    async fn answer(&self, mut connection: TcpStream) -> Option<()> {
        let request = head(&mut connection).await?;
        let payee = request.split_whitespace().nth(1)?.strip_prefix("/payments/")?.to_owned();
        let (status, body) = if request.starts_with("POST") { self.pay(&payee).await? } else { self.list(&payee) };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        connection.write_all(answer.as_bytes()).await.ok()
    }

    /// Returns the status and the body; `None` breaks the connection.
    async fn pay(&self, payee: &str) -> Option<(&'static str, String)> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fate = {
            let mut fates = self.fates.lock().unwrap();
            let fates = fates.entry(payee.to_owned()).or_default();
            if fates.is_empty() { Fate::Paid } else { fates.remove(0) }
        };
        if matches!(fate, Fate::Paid | Fate::PaidAndNoAnswer | Fate::CallerEndsAfter) {
            *self.payments.lock().unwrap().entry(payee.to_owned()).or_default() += 1;
        }
        match fate {
            Fate::Paid => Some(("201 Created", receipt(payee))),
            Fate::Refused => Some(("402 Payment Required", "insufficient funds".to_owned())),
            Fate::PaidAndNoAnswer | Fate::LostOnTheWay => None,
            Fate::CallerEndsBefore | Fate::CallerEndsAfter => {
                self.caller_ends.notify_one();
                std::future::pending().await
            }
        }
    }

    fn list(&self, payee: &str) -> (&'static str, String) {
        if self.is_blind.load(Ordering::SeqCst) {
            ("206 Partial Content", "the list holds the last 1000 payments only".to_owned())
        } else if self.paid(payee) > 0 {
            ("200 OK", receipt(payee))
        } else {
            ("404 Not Found", String::new())
        }
    }
}

fn receipt(payee: &str) -> String {
    format!("receipt of {payee}")
}

/// Reads the head of a request, up to the empty line.
async fn head(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Calls the API. Returns the status and the body.
///
/// # Errors
/// Returns an error if no complete answer arrives.
pub async fn http(address: SocketAddr, method: &str, payee: &str) -> std::io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("{method} /payments/{payee} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}
