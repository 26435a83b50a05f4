//! Sketches of backends and extensions that are difficult for the contract. They show that the contract allows them.
//! This file is compiled. The last two tests run parts of it, without a database server.
//!
//! The needs of each sketch, and the part of the contract that meets them:
//!
//! - NATS `JetStream` has no transactions over several logs, and remembers ids for a window only. Keys are an optional
//!   part of a store, and this one has none. An append to two logs is refused with `Error::Unsupported`, before
//!   anything is written.
//! - Several stores behind a router have no common order. So `read_all` is refused with the same error, and `given_out`
//!   needs a category. The router has its own identity: a category has one home, so the router's identity and a
//!   position identify a message.
//! - A member of a group reads some slots of a category, each from its own position. It makes one read from the lowest
//!   of these positions, and compares `Batch::messages` with the positions. `Filter` can get a field for slots. A
//!   backend that does not know that field applies it with `Filter::passes`.
//! - A fence and a condition are parts of a request. `AppendRequest` can get fields for both. A backend that does not
//!   know them refuses such a request in `accept`.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use message_store::{
    AppendRequest, Appended, Batch, Category, Error, Filter, GlobalPosition, History, Message, MessageId, MessageStore,
    MessageStoreExt as _, Read, Result, StoreId, StreamName, StreamRead, Timestamp, connect,
};

fn away<T>() -> Result<T> {
    Err(Error::backend("calling a server", true, "a sketch has none"))
}

/// One log for each category.
#[derive(Debug)]
struct JetStream {
    id: StoreId,
}

#[async_trait]
impl MessageStore for JetStream {
    fn store_id(&self) -> StoreId {
        self.id
    }

    async fn append(&self, request: AppendRequest) -> Result<Appended> {
        let appends = self.accept(request)?;
        if appends.windows(2).any(|pair| pair[0].stream.category() != pair[1].stream.category()) {
            let what = "an append to several categories: each is a log of its own".to_owned();
            return Err(Error::Unsupported { store: self.describe(), what });
        }
        away()
    }

    async fn read_stream(&self, _stream: &StreamName, _read: StreamRead) -> Result<Vec<Message>> {
        away()
    }

    async fn read_category(&self, _category: &Category, _read: Read) -> Result<Batch> {
        away()
    }

    async fn read_all(&self, _read: Read) -> Result<Batch> {
        away()
    }

    async fn message(&self, _id: MessageId) -> Result<Option<Message>> {
        away()
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        away()
    }

    async fn now(&self) -> Result<Timestamp> {
        away()
    }
}

/// Each category has one home: the one with the highest name that is not above the name of the category.
#[derive(Debug)]
struct Routed {
    id: StoreId,
    homes: BTreeMap<String, Arc<dyn MessageStore>>,
}

impl Routed {
    fn home(&self, category: &Category) -> Result<&Arc<dyn MessageStore>> {
        let home = self.homes.range(..=category.as_str().to_owned()).next_back();
        home.map(|(_, store)| store).ok_or_else(|| Error::invalid("category", format!("{category} has no home")))
    }

    fn everywhere(&self, what: &str) -> Error {
        Error::Unsupported { store: self.describe(), what: format!("{what}: its stores have no order over all") }
    }
}

#[async_trait]
impl MessageStore for Routed {
    fn store_id(&self) -> StoreId {
        self.id
    }

    /// Changes when the history of any home changes.
    fn history(&self) -> History {
        History(self.homes.values().map(|home| home.history().0).sum())
    }

    async fn append(&self, request: AppendRequest) -> Result<Appended> {
        let appends = self.accept(request)?;
        let mut homes = Vec::new();
        for append in &appends {
            homes.push(self.home(&append.stream.category())?);
        }
        if homes.windows(2).any(|pair| !Arc::ptr_eq(pair[0], pair[1])) {
            return Err(self.everywhere("an append to several homes"));
        }
        homes[0].append(appends.into()).await
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        self.home(&stream.category())?.read_stream(stream, read).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        self.home(category)?.read_category(category, read).await
    }

    async fn read_all(&self, _read: Read) -> Result<Batch> {
        Err(self.everywhere("reading all messages"))
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        for home in self.homes.values() {
            if let Some(found) = home.message(id).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn given_out(&self, category: Option<&Category>) -> Result<GlobalPosition> {
        let category = category.ok_or_else(|| self.everywhere("the highest position of all"))?;
        self.home(category)?.given_out(Some(category)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.homes.values().next().ok_or_else(|| self.everywhere("a clock"))?.now().await
    }
}

/// A slot of a group: the epoch under which the member owns it, and the position up to which it is handled.
#[derive(Clone, Copy)]
struct Slot {
    number: u16,
    epoch: u64,
    handled: GlobalPosition,
}

fn slot_of(stream: &StreamName) -> u16 {
    stream
        .cardinal_id()
        .map_or(0, |id| id.bytes().fold(0, |sum: u16, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 64)
}

/// The messages of a batch that belong to these slots.
async fn read_slots(store: &dyn MessageStore, category: &Category, slots: &[Slot]) -> Result<Vec<Message>> {
    let lowest = slots.iter().map(|slot| slot.handled).min().unwrap_or(GlobalPosition::new(0));
    let read = Read::from(lowest.next()).filter(Filter::default());
    let is_ours = |message: &Message| {
        let number = slot_of(&message.stream);
        slots.iter().any(|slot| slot.number == number && message.global_position > slot.handled)
    };
    Ok(store.read_category(category, read).await?.messages.into_iter().filter(is_ours).collect())
}

/// The methods of a store with leases. Each write of an owner names its epoch. Positions and letters are messages, so
/// they are covered too.
#[async_trait]
trait Leases: Send + Sync {
    async fn claim(&self, group: &str, member: &str, slots: u16) -> Result<Vec<Slot>>;
    async fn append_fenced(&self, request: AppendRequest, group: &str, slot: Slot) -> Result<Appended>;
}

/// The append is refused if a message after this position matches.
struct Condition {
    filter: Filter,
    categories: Vec<Category>,
    after: GlobalPosition,
}

/// The methods of a store that checks a condition under its locks.
#[async_trait]
trait Conditions: Send + Sync {
    async fn append_unless(&self, request: AppendRequest, condition: &Condition) -> Result<Appended>;
}

fn append_to(names: &[&str]) -> AppendRequest {
    let message = || message_store::NewMessage::new("T", message_store::Json::NULL);
    let streams = names.iter().map(|name| StreamName::new(*name).unwrap());
    streams.map(|stream| message_store::Append::to(stream).message(message())).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn what_an_engine_cannot_do_is_refused_before_anything_is_written() {
    let jetstream = JetStream { id: StoreId::new() };
    let refused = jetstream.append(append_to(&["account-1", "transfer-1"])).await;
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    assert!(jetstream.deduplication().is_none());
}

#[tokio::test]
async fn several_stores_are_one_and_a_group_reads_its_slots() {
    let (low, high) = (connect("sqlite::memory:").await.unwrap(), connect("sqlite::memory:").await.unwrap());
    let homes = [("a".to_owned(), low), ("m".to_owned(), high)].into_iter().collect();
    let routed = Routed { id: StoreId::new(), homes };
    let account = Category::new("account").unwrap();
    for name in ["account-1", "account-2", "transfer-1"] {
        routed.append(append_to(&[name])).await.unwrap();
    }
    let across = routed.append(append_to(&["account-1", "transfer-1"])).await;
    assert!(matches!(across, Err(Error::Unsupported { .. })), "{across:?}");
    assert_eq!(routed.given_out(Some(&account)).await.unwrap(), GlobalPosition::new(2));
    let ours = |message: &str| Slot {
        number: slot_of(&StreamName::new(message).unwrap()),
        epoch: 1,
        handled: GlobalPosition::new(0),
    };
    let read = read_slots(&routed, &account, &[ours("account-2")]).await.unwrap();
    assert_eq!(read.iter().map(|message| message.stream.as_str()).collect::<Vec<_>>(), ["account-2"]);
    let handled = Slot { handled: GlobalPosition::new(2), ..ours("account-2") };
    assert!(read_slots(&routed, &account, &[handled]).await.unwrap().is_empty());
}
