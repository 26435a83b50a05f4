//! Elastic groups on this store: members come, go and crash, and each message has one effect, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use message_store::MessageStore;
use message_store::consumer::OnFailure;
use message_store_jetstream::JetstreamStore;
use message_store_tests::accounts::{balance, messages_of, send_deposits};
use message_store_tests::elastic::{join, out_of_order, status, until, until_divided};
use message_store_tests::marked::Marked;
use message_store_tests::nats::{Cluster, Server};

type Store = Arc<dyn MessageStore>;

const ACCOUNTS: usize = 24;

async fn send_until(store: Store, is_over: Arc<AtomicBool>) -> u64 {
    let mut rounds = 0;
    while !is_over.load(Ordering::SeqCst) {
        for account in 0..ACCOUNTS {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        rounds += 1;
    }
    rounds
}

/// One member, then two and three. One leaves, and one crashes. Each has a connection of its own.
async fn members_come_go_and_crash(url: String) {
    let open = async || Arc::new(JetstreamStore::open(&url).await.unwrap()) as Store;
    let store = open().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send_until(store.clone(), Arc::clone(&is_over)));
    let mut members = Vec::new();
    for _ in 0..3 {
        let own = open().await;
        members.push(join(&own, &Marked::new(&own, None), OnFailure::Stop).await);
        until_divided(&members.iter().collect::<Vec<_>>()).await;
    }
    assert_eq!(status(&store).await.members.len(), 3);
    let _ = members.remove(0).stop().await.unwrap();
    until_divided(&members.iter().collect::<Vec<_>>()).await;
    drop(members.remove(0));
    until_divided(&[&members[0]]).await;
    is_over.store(true, Ordering::SeqCst);
    let rounds = sending.await.unwrap();
    let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
    members[0].wait_for(last).await.unwrap();
    let _ = members.remove(0).stop().await.unwrap();
    for account in 0..ACCOUNTS {
        assert_eq!(balance(&store, &account.to_string()).await, rounds, "of account {account}");
    }
    assert_eq!(out_of_order(&store, ACCOUNTS).await, Vec::<String>::new());
    until("nobody owns a slot", async || status(&store).await.unowned().count() == 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_each_message_has_one_effect_while_members_come_go_and_crash() {
    members_come_go_and_crash(Server::shared().store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers_each_message_has_one_effect_while_members_come_go_and_crash() {
    members_come_go_and_crash(Cluster::shared().store()).await;
}
