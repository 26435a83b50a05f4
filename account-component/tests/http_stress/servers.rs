//! The servers: processes of `account-component serve`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;

/// Is printed before the address.
const LISTENS: &str = "listening on http://";

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server, and waits until it listens.
    fn start(url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_account-component"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", url]).env("RUST_LOG", "error");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, rest)) = line.split_once(LISTENS) {
                break rest.split(';').next().unwrap().parse().unwrap();
            }
        };
        // What it says later is shown.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("server: {line}")));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) struct Servers {
    url: String,
    servers: RwLock<Vec<Server>>,
}

impl Servers {
    pub(crate) async fn start(url: &str, count: usize) -> Self {
        let started = url.to_owned();
        let servers = tokio::task::spawn_blocking(move || (0..count).map(|_| Server::start(&started)).collect());
        Self { url: url.to_owned(), servers: RwLock::new(servers.await.unwrap()) }
    }

    pub(crate) fn count(&self) -> usize {
        self.servers.read().unwrap().len()
    }

    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let servers = self.servers.read().unwrap();
        servers[number % servers.len()].address
    }

    /// Kills a server, and starts another one in its place.
    pub(crate) async fn kill_and_start(&self, number: usize) {
        let (url, index) = (self.url.clone(), number % self.count());
        let killed = {
            let mut servers = self.servers.write().unwrap();
            servers[index].child.kill().unwrap();
            servers[index].child.id()
        };
        println!("killed the server {killed}");
        let server = tokio::task::spawn_blocking(move || Server::start(&url)).await.unwrap();
        self.servers.write().unwrap()[index] = server;
    }
}
