//! A proxy that can drop a server's answer, and counts connections and bytes. After a dropped answer the client sees a
//! lost connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes between clients and a server. It drops the answer to the first request that contains the mark.
#[derive(Debug)]
pub struct CuttingProxy {
    address: SocketAddr,
    server: Arc<Mutex<String>>,
    cuts: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

impl CuttingProxy {
    /// Starts a proxy for the server at this address. A request must contain the whole mark in one read: send it alone.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start(server: String, mark: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Mutex::new(server));
        let towards = Arc::clone(&server);
        let cuts = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cuts);
        let (connections, answered) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (opened, sent) = (Arc::clone(&connections), Arc::clone(&answered));
        let refuses = Arc::new(AtomicBool::new(false));
        let refusing = Arc::clone(&refuses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let server = towards.lock().unwrap().clone();
                let Ok(server) = TcpStream::connect(server).await else { continue };
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, server, mark, Arc::clone(&counter), Arc::clone(&sent)));
            }
        });
        Self { address, server, cuts, connections, answered, refuses }
    }

    /// The address to which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a database, through the proxy.
    ///
    /// # Panics
    /// Panics if the URL names no port.
    pub fn url(&self, url: &str) -> String {
        let config: tokio_postgres::Config = url.parse().unwrap();
        url.replace(&format!(":{}/", config.get_ports()[0]), &format!(":{}/", self.address.port()))
    }

    /// Connects later clients to another server.
    ///
    /// # Panics
    /// Panics if another thread has panicked.
    pub fn lead_to(&self, server: String) {
        *self.server.lock().unwrap() = server;
    }

    /// Closes later connections at once.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    /// The number of dropped answers.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }

    /// The number of connections that were opened, including those that only cancelled a statement.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The number of bytes that the server sent.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    mark: &'static str,
    cuts: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let cut = Arc::new(AtomicBool::new(false));
    let marked = Arc::clone(&cut);
    let first = Arc::clone(&cuts);
    let requests = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let request = &buffer[..read];
            if request.windows(mark.len()).any(|part| part == mark.as_bytes()) && first.load(Ordering::SeqCst) == 0 {
                marked.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(request).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        answered.fetch_add(read, Ordering::SeqCst);
        if cut.swap(false, Ordering::SeqCst) {
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    requests.abort();
}
