//! Servers are killed and paused while eight writers send the commands of a ledger, some of them repeatedly, and a group of
//! three carries them out. Then nothing that was acknowledged may be missing or be there twice, no position may be missing, and
//! the balances must be right.
//!
//! `MESSAGE_STORE_NATS_FAULTS` sets the number of faults (default 5), `MESSAGE_STORE_NATS_COMMANDS` that of commands,
//! `MESSAGE_STORE_NATS_SEED` the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use account_component::component::{COMMANDS, command_stream, commands};
use account_component::{Account, Command, Money};
use futures_util::TryStreamExt as _;
use message_store::consumer::{ConsumerHandle, ElasticGroup};
use message_store::entity::EntityStore;
use message_store::{
    Append, Category, GlobalPosition, MessageId, MessageStore, MessageStoreExt as _, NewMessage, Place, Position, Read,
    StreamName, Timestamp,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Flush};
use message_store_tests::random::{Random, setting};

const WRITERS: usize = 8;
const MEMBERS: usize = 3;
const ACCOUNTS: usize = 60;
const SERVERS: usize = 3;
/// The time in which everything must be handled after the last fault.
const HANGS: Duration = Duration::from_mins(3);

/// A command, and whether it is sent a second time, as another message of the same intent.
struct Planned {
    command: Command,
    is_repeated: bool,
}

/// The commands of each writer, in order; an account has one writer. The expected balances.
fn plan(random: &mut Random, count: usize) -> (Vec<Vec<Planned>>, BTreeMap<String, Money>) {
    let mut writers: Vec<Vec<Planned>> = (0..WRITERS).map(|_| Vec::new()).collect();
    let mut balances = BTreeMap::new();
    let time = Timestamp::UNIX_EPOCH;
    for number in 0..ACCOUNTS {
        let account_id = format!("a{number}");
        balances.insert(account_id.clone(), Money::ZERO);
        let command = Command::Open { account_id, customer_id: "c".to_owned(), time };
        writers[number % WRITERS].push(Planned { command, is_repeated: number % 3 == 0 });
    }
    for number in 0..count {
        let account = random.below(ACCOUNTS);
        let (account_id, id) = (format!("a{account}"), format!("i{number}"));
        let amount = Money::from_hundredths(1 + i64::try_from(random.below(10_000)).unwrap());
        let balance = balances.get_mut(&account_id).unwrap();
        let command = if random.below(5) < 3 {
            *balance += amount;
            Command::Deposit { deposit_id: id, account_id, amount, time, expected_version: None }
        } else {
            if *balance >= amount {
                *balance -= amount;
            }
            Command::Withdraw { withdrawal_id: id, account_id, amount, time, expected_version: None }
        };
        writers[account % WRITERS].push(Planned { command, is_repeated: random.below(5) == 0 });
    }
    (writers, balances)
}

/// Appends a message until it is acknowledged.
async fn send(store: &dyn MessageStore, command: &Command) -> (MessageId, StreamName, Place) {
    let message = NewMessage::from_variant(command).unwrap();
    let (id, stream) = (message.id, command_stream(command.account_id()).unwrap());
    let deadline = Instant::now() + HANGS;
    loop {
        match store.append(Append::to(stream.clone()).message(message.clone()).into()).await {
            Ok(appended) => return (id, stream, appended.written[0]),
            Err(error) => assert!(error.is_transient() && Instant::now() < deadline, "{error}"),
        }
    }
}

/// Sends commands, and returns what was acknowledged.
async fn write(url: String, commands: Vec<Planned>) -> Vec<(MessageId, StreamName, Place)> {
    let store = JetstreamStore::open(&url).await.unwrap();
    let mut acknowledged = Vec::new();
    for Planned { command, is_repeated } in commands {
        acknowledged.push(send(&store, &command).await);
        if is_repeated {
            acknowledged.push(send(&store, &command).await);
        }
    }
    acknowledged
}

async fn member(url: &str, number: usize) -> ConsumerHandle {
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(url).await.unwrap());
    let group = ElasticGroup::new().member(format!("m{number}")).slots(12).lease(Duration::from_secs(10));
    commands(&store).concurrency(8).elastic_group(group).start(&store).await.unwrap()
}

/// The number of the server that leads the log of a store.
async fn leader(cluster: &Cluster, url: &str) -> usize {
    let log = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let servers: Vec<async_nats::ServerAddr> =
        cluster.addresses().iter().map(|address| address.parse().unwrap()).collect();
    let client = async_nats::connect(servers).await.unwrap();
    let deadline = Instant::now() + HANGS;
    loop {
        let info = client.request(format!("$JS.API.STREAM.INFO.MS_{log}"), "".into()).await;
        let info = info.ok().and_then(|info| serde_json::from_slice::<serde_json::Value>(&info.payload).ok());
        let leader = info.as_ref().and_then(|info| info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok());
        if let Some(leader) = leader {
            return leader;
        }
        assert!(Instant::now() < deadline, "the log has no leader: {info:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Harms the cluster, as often as asked for.
async fn harm(cluster: &mut Cluster, url: &str, random: &mut Random, faults: usize, is_written: &AtomicBool) {
    for number in 0..faults {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let leader = leader(cluster, url).await;
        match number % 5 {
            0 | 2 => {
                println!("fault {number}: the leader n{leader} is killed");
                cluster.kill(leader);
                tokio::time::sleep(Duration::from_millis(200 + random.below(2_000) as u64)).await;
                cluster.start_node(leader);
            }
            1 => {
                println!("fault {number}: the leader n{leader} is paused");
                cluster.pause(leader);
                tokio::time::sleep(Duration::from_secs(6)).await;
                cluster.go_on(leader);
            }
            3 => {
                let other = (leader + 1 + random.below(2)) % SERVERS;
                println!("fault {number}: the follower n{other} is killed");
                cluster.kill(other);
                tokio::time::sleep(Duration::from_millis(500)).await;
                cluster.start_node(other);
            }
            _ => {
                println!("fault {number}: all servers are killed");
                for node in 0..SERVERS {
                    cluster.kill(node);
                }
                for node in 0..SERVERS {
                    cluster.start_node(node);
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        if is_written.load(Ordering::SeqCst) {
            println!("all commands were written after {} faults", number + 1);
        }
    }
}

/// What is wrong with the messages of a category.
async fn faults_in(
    store: &dyn MessageStore,
    category: &Category,
) -> (Vec<String>, BTreeMap<MessageId, (StreamName, Place)>) {
    let mut wrong = Vec::new();
    let (mut found, mut next) = (BTreeMap::new(), BTreeMap::new());
    let mut last = GlobalPosition::ZERO;
    let messages: Vec<_> = store.category_messages(category, Read::default()).try_collect().await.unwrap();
    for message in messages {
        let place = Place { position: message.position, global_position: message.global_position };
        if message.global_position <= last {
            wrong.push(format!("{:?} stands behind {last:?}", message.reference()));
        }
        last = message.global_position;
        let expected = next.entry(message.stream.clone()).or_insert(Position::FIRST);
        if message.position != *expected {
            wrong.push(format!("{:?}: the position {expected:?} is missing", message.reference()));
        }
        *expected = message.position.next();
        if found.insert(message.id, (message.stream.clone(), place)).is_some() {
            wrong.push(format!("{:?} is there twice", message.reference()));
        }
    }
    (wrong, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_servers_are_killed_and_paused() {
    let number = |name, default| usize::try_from(setting(name).unwrap_or(default)).unwrap();
    let (faults, count) = (number("MESSAGE_STORE_NATS_FAULTS", 5), number("MESSAGE_STORE_NATS_COMMANDS", 4_000));
    let seed = setting("MESSAGE_STORE_NATS_SEED").unwrap_or(7);
    println!("MESSAGE_STORE_NATS_FAULTS={faults} MESSAGE_STORE_NATS_COMMANDS={count} MESSAGE_STORE_NATS_SEED={seed}");
    let mut random = Random(seed);
    let (plan, balances) = plan(&mut random, count);
    let mut cluster = Cluster::start(Flush::Later);
    let url = cluster.store();
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&url).await.unwrap());
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(member(&url, number).await);
    }
    let is_written = AtomicBool::new(false);
    let write = async {
        let writers = plan.into_iter().map(|commands| tokio::spawn(write(url.clone(), commands)));
        let acknowledged = futures_util::future::try_join_all(writers).await.unwrap();
        is_written.store(true, Ordering::SeqCst);
        acknowledged.into_iter().flatten().collect::<Vec<_>>()
    };
    let begun = Instant::now();
    let (acknowledged, ()) = tokio::join!(write, harm(&mut cluster, &url, &mut random, faults, &is_written));
    println!("{} commands were acknowledged in {:?}", acknowledged.len(), begun.elapsed());

    // Everything is handled.
    let end = acknowledged.iter().map(|(_, _, place)| place.global_position).max().unwrap();
    let category = Category::new(COMMANDS).unwrap();
    let deadline = Instant::now() + HANGS;
    loop {
        let status = message_store::consumer::GroupStatus::of(&store, COMMANDS, None).await.unwrap().unwrap();
        let through = status.slots.iter().map(|slot| slot.position).min().unwrap();
        if through >= end {
            break;
        }
        assert!(Instant::now() < deadline, "the group hangs at {through:?} of {end:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
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
