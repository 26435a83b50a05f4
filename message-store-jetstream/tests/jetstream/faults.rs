//! Servers are killed and paused, and connections are cut, while eight writers send the commands of a ledger, some of them
//! repeatedly, and a group of three carries them out. Then nothing that was acknowledged may be missing or be there twice, no
//! position may be missing, and the balances must be right.
//!
//! `MESSAGE_STORE_NATS_FAULTS` names the faults (see [`faults`]), `MESSAGE_STORE_NATS_COMMANDS` sets the number of commands
//! (default 4,000), `MESSAGE_STORE_NATS_SEED` the seed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use account_component::component::{COMMANDS, command_stream, commands};
use account_component::{Account, Command};
use futures_util::future::try_join_all;
use message_store::consumer::{ConsumerHandle, ElasticGroup, GroupStatus};
use message_store::entity::EntityStore;
use message_store::{Append, Category, GlobalPosition, MessageId, MessageStore, NewMessage, Place, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Flush};
use message_store_tests::random::{Random, setting};

use super::harm::{Proxied, faults};
use super::ledger::{Planned, faults_in, plan};

const FAULTS: &str = "2*leader-killed,leader-paused,connections-cut,follower-killed,all-killed";
const MEMBERS: usize = 3;
/// The time in which an append or the group must go on after the last fault.
const HANGS: Duration = Duration::from_mins(3);

/// What a writer has sent.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<(MessageId, StreamName, Place)>,
    /// The longest time until an append was acknowledged.
    longest: Duration,
}

impl Sent {
    /// Appends a message until it is acknowledged.
    async fn send(&mut self, store: &dyn MessageStore, command: &Command) {
        let message = NewMessage::from_variant(command).unwrap();
        let (id, stream) = (message.id, command_stream(command.account_id()).unwrap());
        let begun = Instant::now();
        let place = loop {
            match store.append(Append::to(stream.clone()).message(message.clone()).into()).await {
                Ok(appended) => break appended.written[0],
                Err(error) => assert!(error.is_transient() && begun.elapsed() < HANGS, "{error}"),
            }
        };
        self.acknowledged.push((id, stream, place));
        self.longest = self.longest.max(begun.elapsed());
    }
}

async fn write(url: String, commands: Vec<Planned>) -> Sent {
    let store = JetstreamStore::open(&url).await.unwrap();
    let mut sent = Sent::default();
    for Planned { command, is_repeated } in commands {
        for _ in 0..=usize::from(is_repeated) {
            sent.send(&store, &command).await;
        }
    }
    sent
}

async fn member(url: &str, number: usize) -> ConsumerHandle {
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(url).await.unwrap());
    let group = ElasticGroup::new().member(format!("m{number}")).slots(12).lease(Duration::from_secs(10));
    commands(&store).concurrency(8).elastic_group(group).start(&store).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_servers_are_killed_and_paused_and_connections_are_cut() {
    let named = std::env::var("MESSAGE_STORE_NATS_FAULTS").unwrap_or_else(|_| FAULTS.to_owned());
    let faults = faults(&named);
    let count = usize::try_from(setting("MESSAGE_STORE_NATS_COMMANDS").unwrap_or(4_000)).unwrap();
    let seed = setting("MESSAGE_STORE_NATS_SEED").unwrap_or(7);
    println!("MESSAGE_STORE_NATS_FAULTS='{named}' MESSAGE_STORE_NATS_COMMANDS={count} MESSAGE_STORE_NATS_SEED={seed}");
    let mut random = Random(seed);
    let (plan, balances) = plan(&mut random, count);
    let mut proxied = Proxied::new(Cluster::start(Flush::Later)).await;
    let url = proxied.url(&proxied.cluster.store());
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&url).await.unwrap());
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(member(&url, number).await);
    }
    let is_written = AtomicBool::new(false);
    let begun = Instant::now();
    let write = async {
        let writers = plan.into_iter().map(|commands| tokio::spawn(write(url.clone(), commands)));
        let sent = try_join_all(writers).await.unwrap();
        is_written.store(true, Ordering::SeqCst);
        println!("the writers ended after {:?}", begun.elapsed());
        sent
    };
    let (sent, ()) = tokio::join!(write, proxied.harm(&url, &mut random, &faults, &is_written));
    let longest = sent.iter().map(|sent| sent.longest).max().unwrap();
    let acknowledged: Vec<_> = sent.into_iter().flat_map(|sent| sent.acknowledged).collect();
    println!(
        "{} appends were acknowledged, and {} faults ended after {:?}",
        acknowledged.len(),
        faults.len(),
        begun.elapsed()
    );
    println!("the longest append took {longest:?}");

    // Everything is handled.
    let end = acknowledged.iter().map(|(_, _, place)| place.global_position).max().unwrap();
    let category = Category::new(COMMANDS).unwrap();
    let (mut reached, mut deadline) = (GlobalPosition::ZERO, Instant::now() + HANGS);
    loop {
        let status = GroupStatus::of(&store, COMMANDS, None).await.unwrap().unwrap();
        let through = status.slots.iter().map(|slot| slot.position).min().unwrap();
        if through >= end {
            break;
        }
        if through > reached {
            (reached, deadline) = (through, Instant::now() + HANGS);
        }
        assert!(Instant::now() < deadline, "the group hangs at {through:?} of {end:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("everything was handled after {:?}", begun.elapsed());
    for member in members {
        member.stop().await.unwrap();
    }

    let (mut wrong, found) = faults_in(&*store, &category).await;
    for (id, stream, place) in &acknowledged {
        if found.get(id) != Some(&(stream.clone(), *place)) {
            wrong.push(format!("{id} was acknowledged at {place:?} of {stream}, and {:?} is there", found.get(id)));
        }
    }
    let ids: BTreeSet<_> = acknowledged.iter().map(|(id, _, _)| *id).collect();
    wrong.extend(found.keys().filter(|id| !ids.contains(id)).map(|id| format!("{id} was not acknowledged")));
    wrong.extend(faults_in(&*store, &Category::new("account").unwrap()).await.0);
    let accounts = EntityStore::<Account>::new(&store);
    for (account, balance) in balances {
        let found = accounts.fetch(&account).await.unwrap().state.balance;
        if found != balance {
            wrong.push(format!("account {account} has {found}, and must have {balance}"));
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}
