//! A cluster of servers for tests: each with its own port, folder and process, which can be killed, paused and started again.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::{free_port, run, wait_for};

/// Servers that replicate their logs.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    _folder: TempDir,
}

#[derive(Debug)]
struct Node {
    port: u16,
    folder: PathBuf,
    settings: String,
    keeper: Option<Child>,
}

impl Cluster {
    /// Starts three servers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let routes: Vec<String> = ports.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
        let nodes = ports.iter().enumerate().map(|(number, (port, route))| {
            let folder = folder.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            let settings = format!(
                "server_name: n{number}\ncluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{}] }}\n",
                routes.join(", ")
            );
            Node { port: *port, folder, settings, keeper: None }
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

    /// The URL of a store on all three servers.
    pub(crate) fn store(&self) -> String {
        let servers: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("nats://{}/t{}?replicas=3", servers.join(","), message_store::Uuid::new_v4().simple())
    }

    /// The number of servers.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn start_node(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.keeper = Some(run(&node.folder, node.port, &node.settings));
    }

    /// Kills a server, which has no time to write anything.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut keeper) = self.nodes[number].keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// Stops a server without ending it, as a machine that hangs.
    pub(crate) fn pause(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    pub(crate) fn go_on(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let pid = std::fs::read_to_string(self.nodes[number].folder.join("nats.pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    /// The server that leads the log of a store.
    pub(crate) async fn leader(&self, url: &str) -> usize {
        let log = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        let servers = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port).parse().unwrap());
        let servers: Vec<async_nats::ServerAddr> = servers.collect();
        let client = async_nats::connect(servers).await.unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let info = client.request(format!("$JS.API.STREAM.INFO.MS_{log}"), "".into()).await;
            let info = info.ok().and_then(|info| serde_json::from_slice::<serde_json::Value>(&info.payload).ok());
            let leader =
                info.as_ref().and_then(|info| info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok());
            if let Some(leader) = leader {
                return leader;
            }
            assert!(Instant::now() < deadline, "the log has no leader: {info:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.kill(number);
        }
    }
}
