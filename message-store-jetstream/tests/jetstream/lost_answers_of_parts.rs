//! Answers that are lost after a key was taken, or a timer, a lease or a snapshot was changed: the change is made once, and its
//! caller learns what became of it.

use std::sync::Arc;
use std::time::Duration;

use message_store::store::{
    Claim, Due, Fence, Membership, SlotSave, Snapshot, SnapshotKey, TimerChange, TimerKey, TimerQuery, Window,
};
use message_store::{
    Append, AppendRequest, Error, Json, Key, MessageStore, NewMessage, Position, Read, StreamName, Uuid,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::nats::Server;

/// What a request has whose answer is lost, the first time.
const MARK: &str = "lost-answer";
const HOUR: Duration = Duration::from_hours(1);

struct Cut {
    proxy: CuttingProxy,
    store: Arc<dyn MessageStore>,
    direct: Arc<dyn MessageStore>,
}

impl Cut {
    async fn new() -> Self {
        let (server, url) = (Server::shared(), Server::shared().store());
        let proxy = CuttingProxy::start(server.address(), MARK).await;
        let through = url.replace(&server.address(), &proxy.address().to_string());
        let store = Arc::new(JetstreamStore::open(&through).await.unwrap());
        Self { proxy, store, direct: Arc::new(JetstreamStore::open(&url).await.unwrap()) }
    }

    fn assert_lost(&self) {
        assert_eq!(self.proxy.cuts(), 1, "no answer was lost");
    }
}

fn stream() -> StreamName {
    StreamName::new("place-1").unwrap()
}

fn append() -> AppendRequest {
    Append::to(stream()).message(NewMessage::new("Taken", Json::NULL)).into()
}

fn mark() -> Json {
    Json::encode(MARK).unwrap()
}

async fn count(store: &dyn MessageStore) -> usize {
    store.read_all(Read::default()).await.unwrap().messages.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_by_the_call_whose_answer_was_lost() {
    for request in [append(), Vec::<Append>::new().into()] {
        let cut = Cut::new().await;
        let has_messages = !request.appends().is_empty();
        let claim = Claim::new("hooks", Key::new("k").unwrap(), "f", Window::of(HOUR).unwrap());
        let keys = cut.store.deduplication().unwrap();
        assert_eq!(keys.append_once(&claim, request, mark()).await.unwrap(), None, "this call has taken it");
        cut.assert_lost();
        let record = cut.direct.deduplication().unwrap().append_once(&claim, append(), Json::NULL).await.unwrap();
        assert_eq!(record.unwrap().result, mark());
        assert_eq!(count(&*cut.direct).await, usize::from(has_messages));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_whose_answer_was_lost_is_set_once() {
    let cut = Cut::new().await;
    let key = TimerKey::new(stream(), "time-out");
    let set = TimerChange::set(key, Due::After(HOUR), stream(), NewMessage::new("TimeOut", mark()));
    let timers = cut.store.timers().unwrap();
    let error = timers.change(vec![set.clone()]).await.unwrap_err();
    cut.assert_lost();
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error}");
    timers.change(vec![set]).await.unwrap();
    assert_eq!(cut.direct.timers().unwrap().list(TimerQuery::new()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_fires_with_a_lost_answer_fires_once() {
    let cut = Cut::new().await;
    let key = TimerKey::new(stream(), "time-out");
    let set = TimerChange::set(key, Due::After(Duration::ZERO), stream(), NewMessage::new("TimeOut", mark()));
    cut.direct.timers().unwrap().change(vec![set]).await.unwrap();
    let due = cut.direct.timers().unwrap().list(TimerQuery::new()).await.unwrap();
    assert_eq!(cut.store.timers().unwrap().fire(&due).await.unwrap(), 1);
    cut.assert_lost();
    assert_eq!(cut.direct.timers().unwrap().fire(&due).await.unwrap(), 0);
    assert_eq!(count(&*cut.direct).await, 1);
    assert!(cut.store.timers().unwrap().list(TimerQuery::new()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_owned_saved_and_written_for_once_whatever_answer_is_lost() {
    let cut = Cut::new().await;
    let leases = cut.store.leases().unwrap();
    leases.create_group("g", vec![Json::NULL]).await.unwrap();
    let member = Membership::new("g", "one");
    assert!(leases.renew(&member, HOUR, true).await.unwrap());
    let free = leases.group("g").await.unwrap().slots;
    let owned = leases.claim(&member, &free).await.unwrap();
    let epoch = owned[0].epoch;
    assert_eq!(leases.save(&member, vec![SlotSave::new(0, epoch, mark())], None).await.unwrap(), [0]);
    cut.assert_lost();
    let group = cut.direct.leases().unwrap().group("g").await.unwrap();
    assert_eq!((&group.slots[0].progress, group.slots[0].epoch), (&mark(), epoch));
    let fenced = append().fenced_by(Fence::new(member.clone(), 0, epoch));
    cut.store.append(fenced.clone()).await.unwrap();
    let release = SlotSave::new(0, epoch, Json::NULL).and_release();
    assert_eq!(leases.save(&member, vec![release], None).await.unwrap(), [0]);
    let other = append().fenced_by(Fence::new(member, 0, epoch));
    let error = cut.store.append(other).await.unwrap_err();
    assert!(matches!(error, Error::SlotLost { .. }), "{error}");
    // What was written before the slot was lost is recognised.
    assert!(cut.store.append(fenced).await.unwrap().already_written);
    assert_eq!(count(&*cut.direct).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_has_the_lease_whose_answer_was_lost_and_claims_a_slot_once() {
    let cut = Cut::new().await;
    let (through, direct) = (cut.store.leases().unwrap(), cut.direct.leases().unwrap());
    direct.create_group("g", vec![mark()]).await.unwrap();
    // The document has the mark. So the first change through the proxy, this renewal, has a lost answer.
    let member = Membership::new("g", "one");
    assert!(through.renew(&member, HOUR, true).await.unwrap());
    cut.assert_lost();
    let free = direct.group("g").await.unwrap().slots;
    let (claimed, again) = (through.claim(&member, &free).await.unwrap(), through.claim(&member, &free).await.unwrap());
    assert_eq!((claimed[0].epoch, again[0].epoch), (free[0].epoch + 1, free[0].epoch + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_a_report_are_kept_although_the_answer_was_lost() {
    let cut = Cut::new().await;
    let key = SnapshotKey { stream: stream(), projection: "p".to_owned(), fingerprint: "f".to_owned() };
    let snapshot = Snapshot { position: Position::FIRST, content: MARK.to_owned() };
    cut.store.snapshots().unwrap().save(&key, &snapshot, cut.store.history()).await.unwrap();
    cut.assert_lost();
    assert_eq!(cut.direct.snapshots().unwrap().load(&key).await.unwrap(), Some(snapshot));
    let cut = Cut::new().await;
    cut.store.service_reports().unwrap().save_report(Uuid::new_v4(), &mark()).await.unwrap();
    cut.assert_lost();
    assert_eq!(cut.direct.service_reports().unwrap().reports().await.unwrap().len(), 1);
}
