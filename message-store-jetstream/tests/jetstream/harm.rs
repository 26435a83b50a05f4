//! Faults of a cluster: servers that are killed or paused, and connections that are cut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::nats::Cluster;
use message_store_tests::random::Random;
use tokio::time::sleep;

const SERVERS: usize = 3;

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    LeaderKilled,
    FollowerKilled,
    /// One after another.
    EachKilled,
    AllKilled,
    /// It hangs, and goes on.
    LeaderPaused,
    ConnectionsCut,
}

/// The faults of a text such as `20*leader-killed,connections-cut`, in turns of their kinds.
pub(crate) fn faults(text: &str) -> Vec<Fault> {
    let mut kinds: Vec<(usize, Fault)> = text.split(',').map(kind).collect();
    let mut faults = Vec::new();
    while kinds.iter().any(|(count, _)| *count > 0) {
        for (count, fault) in kinds.iter_mut().filter(|(count, _)| *count > 0) {
            *count -= 1;
            faults.push(*fault);
        }
    }
    faults
}

fn kind(text: &str) -> (usize, Fault) {
    let (count, name) = text.split_once('*').unwrap_or(("1", text));
    let fault = match name {
        "leader-killed" => Fault::LeaderKilled,
        "follower-killed" => Fault::FollowerKilled,
        "each-killed" => Fault::EachKilled,
        "all-killed" => Fault::AllKilled,
        "leader-paused" => Fault::LeaderPaused,
        "connections-cut" => Fault::ConnectionsCut,
        other => panic!("{other} is no fault"),
    };
    (count.parse().unwrap(), fault)
}

/// Servers with a proxy before each.
pub(crate) struct Proxied {
    pub(crate) cluster: Cluster,
    proxies: Vec<CuttingProxy>,
}

impl Proxied {
    pub(crate) async fn new(cluster: Cluster) -> Self {
        let mut proxies = Vec::new();
        for address in cluster.addresses() {
            proxies.push(CuttingProxy::start(address, "(no request has this)").await);
        }
        Self { cluster, proxies }
    }

    /// The URL of a store, through the proxies.
    pub(crate) fn url(&self, url: &str) -> String {
        let addresses = self.cluster.addresses();
        let places = addresses.iter().zip(&self.proxies);
        places.fold(url.to_owned(), |url, (address, proxy)| url.replace(address, &proxy.address().to_string()))
    }

    /// The number of the server that leads the log of a store.
    async fn leader(&self, url: &str) -> usize {
        let log = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        let addresses = self.cluster.addresses();
        let servers: Vec<async_nats::ServerAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let client = async_nats::connect(servers).await.unwrap();
        let deadline = Instant::now() + Duration::from_mins(3);
        loop {
            let info = client.request(format!("$JS.API.STREAM.INFO.MS_{log}"), "".into()).await;
            let info = info.ok().and_then(|info| serde_json::from_slice::<serde_json::Value>(&info.payload).ok());
            let leader =
                info.as_ref().and_then(|info| info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok());
            if let Some(leader) = leader {
                return leader;
            }
            assert!(Instant::now() < deadline, "the log has no leader: {info:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Brings these faults about, one after another.
    pub(crate) async fn harm(&mut self, url: &str, random: &mut Random, faults: &[Fault], is_written: &AtomicBool) {
        for (number, fault) in faults.iter().enumerate() {
            sleep(Duration::from_millis(500)).await;
            let leader = self.leader(url).await;
            println!("fault {}: {fault:?}, while n{leader} leads", number + 1);
            let cluster = &mut self.cluster;
            match fault {
                Fault::LeaderKilled => {
                    cluster.kill(leader);
                    sleep(Duration::from_millis(200 + random.below(2_000) as u64)).await;
                    cluster.start_node(leader);
                }
                Fault::FollowerKilled => {
                    let other = (leader + 1 + random.below(2)) % SERVERS;
                    cluster.kill(other);
                    sleep(Duration::from_millis(500)).await;
                    cluster.start_node(other);
                }
                Fault::EachKilled => {
                    for node in 0..SERVERS {
                        cluster.kill(node);
                        cluster.start_node(node);
                        sleep(Duration::from_secs(2)).await;
                    }
                }
                Fault::AllKilled => {
                    for node in 0..SERVERS {
                        cluster.kill(node);
                    }
                    for node in 0..SERVERS {
                        cluster.start_node(node);
                    }
                }
                Fault::LeaderPaused => {
                    cluster.pause(leader);
                    sleep(Duration::from_secs(6)).await;
                    cluster.go_on(leader);
                }
                Fault::ConnectionsCut => self.proxies.iter().for_each(CuttingProxy::cut),
            }
            sleep(Duration::from_secs(2)).await;
            if is_written.load(Ordering::SeqCst) {
                println!("all commands were written after {} faults", number + 1);
            }
        }
    }
}
