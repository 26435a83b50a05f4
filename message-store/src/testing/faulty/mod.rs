//! A store for tests with planned faults, whose clock a test can move forward.

mod calls;
mod contract;
mod leases;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use calls::Calls;
use leases::FaultyLeases;

use crate::{Append, Category, Error, GlobalPosition, Message, MessageStore, Result, StreamName};

/// Wraps a store. On request, calls fail, wait, or are overtaken by another writer; leases and wake-ups are lost; the
/// history changes; and time passes.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn MessageStore>,
    calls: Calls,
    refuse: AtomicU32,
    refuse_type: Mutex<(String, u32)>,
    look_ups_fail: AtomicBool,
    lose: AtomicU32,
    lose_leases: AtomicBool,
    rivals: Mutex<VecDeque<Append>>,
    histories: Arc<AtomicU64>,
    lose_wake_ups: AtomicBool,
    is_away: Arc<AtomicBool>,
    leases: FaultyLeases,
    times_out: Mutex<Vec<StreamName>>,
    stuck_timers: Mutex<Vec<StreamName>>,
    timed_out: AtomicU32,
    hold: AtomicU32,
    hold_read: Mutex<Option<Category>>,
    is_delayed: Notify,
    answers: Notify,
    clock: Mutex<Clock>,
}

/// How far this store's clock is ahead of the inner store's, now and when each message was written.
#[derive(Debug, Default)]
struct Clock {
    ahead: Duration,
    written: BTreeMap<GlobalPosition, Duration>,
}

impl FaultyStore {
    /// Wraps `inner`, without faults.
    pub fn new(inner: &Arc<dyn MessageStore>) -> Arc<Self> {
        let is_away = Arc::new(AtomicBool::new(false));
        let histories = Arc::<AtomicU64>::default();
        let leases = FaultyLeases {
            store: Arc::clone(inner),
            apart: None,
            is_away: Arc::clone(&is_away),
            are_heartbeats_lost: Arc::default(),
            histories: Arc::clone(&histories),
        };
        Arc::new(Self {
            inner: Arc::clone(inner),
            calls: Calls::new(),
            refuse: AtomicU32::new(0),
            refuse_type: Mutex::default(),
            look_ups_fail: AtomicBool::new(false),
            lose: AtomicU32::new(0),
            lose_leases: AtomicBool::new(false),
            rivals: Mutex::default(),
            histories,
            lose_wake_ups: AtomicBool::new(false),
            is_away,
            leases,
            times_out: Mutex::default(),
            stuck_timers: Mutex::default(),
            timed_out: AtomicU32::new(0),
            hold: AtomicU32::new(0),
            hold_read: Mutex::default(),
            is_delayed: Notify::new(),
            answers: Notify::new(),
            clock: Mutex::default(),
        })
    }

    /// Makes the next `appends` appends write nothing and fail with a transient error.
    pub fn refuse_appends(&self, appends: u32) {
        self.refuse.store(appends, Ordering::SeqCst);
    }

    /// As [`FaultyStore::refuse_appends`], for appends with a message of this type.
    pub fn refuse_appends_of(&self, message_type: &str, appends: u32) {
        *lock(&self.refuse_type) = (message_type.to_owned(), appends);
    }

    /// Sets whether look-ups of a message by its id fail with a transient error.
    pub fn fail_look_ups(&self, fail: bool) {
        self.look_ups_fail.store(fail, Ordering::SeqCst);
    }

    /// Makes the next `appends` appends write their messages and lose the answer.
    pub fn lose_answers(&self, appends: u32) {
        self.lose.store(appends, Ordering::SeqCst);
    }

    /// Writes one of these appends just before each of the next appends, as another writer would.
    pub fn append_before(&self, rivals: impl IntoIterator<Item = Append>) {
        lock(&self.rivals).extend(rivals);
    }

    /// Begins another history, as a failover that lost messages does.
    pub fn change_history(&self) {
        self.histories.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of answers that are still to be lost.
    pub fn answers_to_lose(&self) -> u32 {
        self.lose.load(Ordering::SeqCst)
    }

    /// Makes the store lose every later lease of a key at once.
    pub fn lose_leases(&self) {
        self.lose_leases.store(true, Ordering::SeqCst);
    }

    /// Makes every later wake-up one that never comes.
    pub fn lose_wake_ups(&self) {
        self.lose_wake_ups.store(true, Ordering::SeqCst);
    }

    /// Sets whether appends and reads fail with a transient error. Appends to a stream of
    /// [`FaultyStore::time_out_appends_to`] still time out.
    pub fn set_unavailable(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Sets whether members of elastic groups cannot renew their leases.
    pub fn lose_heartbeats(&self, are_lost: bool) {
        self.leases.are_heartbeats_lost.store(are_lost, Ordering::SeqCst);
    }

    /// Makes every later append to one of these streams write nothing and time out.
    pub fn time_out_appends_to(&self, streams: &[&str]) {
        *lock(&self.times_out) = streams.iter().map(|stream| StreamName::new(stream).unwrap()).collect();
    }

    /// Makes every later call that fires a timer whose message is for one of these streams fail for good.
    pub fn refuse_timers_to(&self, streams: &[&str]) {
        *lock(&self.stuck_timers) = streams.iter().map(|stream| StreamName::new(stream).unwrap()).collect();
    }

    /// The number of appends that have timed out.
    pub fn timed_out(&self) -> u32 {
        self.timed_out.load(Ordering::SeqCst)
    }

    /// Makes the next `appends` appends write their messages, and wait for [`FaultyStore::release_answer`] before they
    /// return.
    pub fn delay_answers(&self, appends: u32) {
        self.hold.store(appends, Ordering::SeqCst);
    }

    /// Makes the next read of this category that finds no message wait for [`FaultyStore::release_answer`] before it
    /// returns.
    pub fn delay_last_read_of(&self, category: &str) {
        *lock(&self.hold_read) = Some(Category::new(category).unwrap());
    }

    /// Waits until an append or a read waits for [`FaultyStore::release_answer`].
    pub async fn answer_is_delayed(&self) {
        self.is_delayed.notified().await;
    }

    /// Lets the waiting append or read return.
    pub fn release_answer(&self) {
        self.answers.notify_one();
    }

    /// Ends the process after so many steps, as the caller of this store sees it: no further call returns. A read is
    /// one step. An append has two: before and after it is written.
    pub fn die_after(&self, steps: u32) {
        self.calls.die_after(steps);
    }

    /// Waits until the process has ended.
    pub async fn has_died(&self) {
        self.calls.has_died().await;
    }

    /// The number of messages that reads of categories and streams have returned.
    pub fn messages_read(&self) -> u64 {
        self.calls.messages_read()
    }

    /// Moves this store's clock forward.
    pub fn pass(&self, time: Duration) {
        lock(&self.clock).ahead += time;
    }

    fn assert_here(&self) -> Result<()> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::backend("a planted fault", true, "the store does not answer"));
        }
        Ok(())
    }

    fn is_of_refused_type(&self, appends: &[Append]) -> bool {
        let (refused, left) = &mut *lock(&self.refuse_type);
        let mut messages = appends.iter().flat_map(|append| &append.messages);
        if *left == 0 || !messages.any(|message| message.message_type == *refused) {
            return false;
        }
        *left -= 1;
        true
    }

    fn assert_in_time(&self, appends: &[Append]) -> Result<()> {
        if appends.iter().any(|append| lock(&self.times_out).contains(&append.stream)) {
            self.timed_out.fetch_add(1, Ordering::SeqCst);
            return Err(Error::TimedOut { context: "a planted fault".to_owned(), cause: "it took too long".into() });
        }
        Ok(())
    }

    fn dated(&self, mut message: Message) -> Message {
        if let Some(ahead) = lock(&self.clock).written.get(&message.global_position) {
            message.time += *ahead;
        }
        message
    }

    fn all_dated(&self, messages: Vec<Message>) -> Vec<Message> {
        messages.into_iter().map(|message| self.dated(message)).collect()
    }
}

fn take(faults: &AtomicU32) -> bool {
    faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
