//! A cluster of servers for tests: each with its own port, folder and process, which can be killed, paused and started again.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::OnceLock;
use tempfile::TempDir;

use super::{Flush, free_port, run, wait_for};

/// Servers that replicate their logs.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    _folder: TempDir,
}

#[derive(Debug)]
struct Node {
    port: u16,
    folder: PathBuf,
    flush: Flush,
    settings: String,
    keeper: Option<Child>,
}

impl Cluster {
    /// Starts three servers. Clients know only those that their URL names, so that a proxy stays between.
    ///
    /// # Panics
    /// Panics if they do not start.
    #[must_use]
    pub fn start(flush: Flush) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let routes: Vec<String> = ports.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
        let nodes = ports.iter().enumerate().map(|(number, (port, route))| {
            let folder = folder.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            let settings = format!(
                "server_name: n{number}\ncluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{}], no_advertise: true }}\n",
                routes.join(", ")
            );
            Node { port: *port, folder, flush, settings, keeper: None }
        });
        let mut cluster = Self { nodes: nodes.collect(), _folder: folder };
        for number in 0..cluster.nodes.len() {
            cluster.start_node(number);
        }
        for node in &cluster.nodes {
            wait_for(node.port);
        }
        cluster
    }

    /// Servers that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Flush::Later))
    }

    /// The addresses of the servers.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect()
    }

    /// The URL of a store on all three servers, which no other test uses.
    #[must_use]
    pub fn store(&self) -> String {
        let store = message_store::Uuid::new_v4().simple();
        format!("nats://{}/t{store}?replicas=3", self.addresses().join(","))
    }

    /// Starts a server again.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start_node(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.keeper = Some(run(&node.folder, node.port, node.flush, &node.settings));
    }

    /// Kills a server, which has no time to write anything.
    ///
    /// # Panics
    /// Panics if its shell does not end.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut keeper) = self.nodes[number].keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// Stops a server without ending it, as a machine that hangs.
    ///
    /// # Panics
    /// Panics if it does not run.
    pub fn pause(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// Panics if it does not run.
    pub fn go_on(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let pid = std::fs::read_to_string(self.nodes[number].folder.join("nats.pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.kill(number);
        }
    }
}
