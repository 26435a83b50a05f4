//! A proxy that can drop a server's answer, refuse, cut and silence connections, and counts connections and bytes. After
//! a dropped answer the client sees a lost connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes between clients and a server. It drops the answer to the first request that contains the mark.
#[derive(Debug)]
pub struct CuttingProxy {
    address: SocketAddr,
    server: Arc<Mutex<String>>,
    cuts: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
    /// The state of the connections that are open now.
    open: Arc<watch::Sender<State>>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Connections before this one are cut.
    cut_before: usize,
    /// Connections before this one pass nothing on, and stay open.
    silent_before: usize,
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
        let open = Arc::new(watch::Sender::new(State::default()));
        let changes = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let server = towards.lock().unwrap().clone();
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let number = opened.fetch_add(1, Ordering::SeqCst);
                let passing = pass(client, server, mark, Arc::clone(&counter), Arc::clone(&sent));
                tokio::spawn(pass_until_changed(passing, number, changes.subscribe()));
            }
        });
        Self { address, server, cuts, connections, answered, refuses, open }
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

    /// Accepts later connections again.
    pub fn accept(&self) {
        self.refuses.store(false, Ordering::SeqCst);
    }

    /// Closes all open connections.
    pub fn cut(&self) {
        let number = self.connections();
        self.open.send_modify(|state| state.cut_before = number);
    }

    /// From now on, the open connections pass nothing on, and stay open.
    pub fn silence(&self) {
        let number = self.connections();
        self.open.send_modify(|state| state.silent_before = number);
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

/// Passes bytes until the connection is cut or goes silent.
async fn pass_until_changed(passing: impl Future<Output = ()>, number: usize, mut changes: watch::Receiver<State>) {
    let mut passing = std::pin::pin!(passing);
    tokio::select! {
        () = &mut passing => return,
        Ok(_) = changes.wait_for(|state| number < state.cut_before.max(state.silent_before)) => {}
    }
    // The connection stays open while `passing` is not dropped.
    let _ = changes.wait_for(|state| number < state.cut_before).await;
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
    let requests = async move {
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
    };
    let answers = async move {
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
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
