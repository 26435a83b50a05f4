//! The table of the guide that says which optional parts each kind of store has, and how much an append takes. It is made from
//! the stores. After a change of them, write it again:
//!
//! ```sh
//! MESSAGE_STORE_WRITE_GUIDE=1 cargo test -p message-store-jetstream --test jetstream parts
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use message_store::MessageStore;
use message_store_jetstream::JetstreamStore;
use message_store_tests::accounts::{postgres, sqlite};
use message_store_tests::nats::Server;

const PAGE: &str = "../docs/guide/src/beyond-one-machine.md";
const BEGIN: &str = "<!-- This table is made from the code: message-store-jetstream/tests/jetstream/parts.rs -->\n";
const END: &str = "<!-- The end of the table -->\n";

/// The optional parts of a store, and whether it has them.
fn parts(store: &dyn MessageStore) -> [(&'static str, bool); 9] {
    [
        ("Conditions of appends", store.conditions().is_some()),
        ("Keys with a window", store.deduplication().is_some()),
        ("Leases of groups", store.leases().is_some()),
        ("Timers", store.timers().is_some()),
        ("Snapshots", store.snapshots().is_some()),
        ("Reports of services", store.service_reports().is_some()),
        ("Read models in the store", store.read_models().is_some()),
        ("Archive", store.archive().is_some()),
        ("Erasure", store.erasure().is_some()),
    ]
}

/// A number as it is read.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn table(stores: &[(&str, Arc<dyn MessageStore>)]) -> String {
    let mut table = String::from("| |");
    for (name, _) in stores {
        write!(table, " {name} |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(stores.len()));
    let mut row = |name: &str, cell: &dyn Fn(&dyn MessageStore) -> String| {
        write!(table, "\n| {name} |").unwrap();
        for (_, store) in stores {
            write!(table, " {} |", cell(&**store)).unwrap();
        }
    };
    row("Messages of one append, at most", &|store| grouped(store.limits().append_messages));
    row("Bytes of one message, at most", &|store| grouped(store.limits().message_bytes));
    for (index, (name, _)) in parts(&*stores[0].1).into_iter().enumerate() {
        row(name, &|store| if parts(store)[index].1 { "yes" } else { "no" }.to_owned());
    }
    table.push('\n');
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_names_the_parts_of_each_kind_of_store() {
    let jetstream: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&Server::shared().store()).await.unwrap());
    let table = table(&[("PostgreSQL", postgres().await), ("SQLite", sqlite().await), ("JetStream", jetstream)]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("MESSAGE_STORE_WRITE_GUIDE").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}\n{table}\n{END}{after}")).unwrap();
        return;
    }
    let how =
        "write it again: MESSAGE_STORE_WRITE_GUIDE=1 cargo test -p message-store-jetstream --test jetstream parts";
    assert_eq!(found.trim(), table.trim(), "the table in {} is not that of the code; {how}", file.display());
}
