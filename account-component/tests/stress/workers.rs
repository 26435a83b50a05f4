//! The worker processes: this program, started again with its one ignored test.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use account_component::Account;
use message_store::consumer::Consumer;
use message_store::handling::CommandHandler;
use message_store::testing::PlantedBug;
use message_store::{GlobalPosition, GroupMember, MessageStore, StreamName, connect};

/// The categories of the commands.
pub(crate) const CATEGORIES: [&str; 2] = ["account:command", "teller:command"];

const URL: &str = "MESSAGE_STORE_STRESS_URL";
const CATEGORY: &str = "MESSAGE_STORE_STRESS_CATEGORY";
const MEMBER: &str = "MESSAGE_STORE_STRESS_MEMBER";
const MEMBERS: &str = "MESSAGE_STORE_STRESS_MEMBERS";
const BUG: &str = "MESSAGE_STORE_STRESS_BUG";
/// The poll interval of a worker, and the interval at which the test reads its position.
const LOOK: Duration = Duration::from_millis(10);

/// The worker processes: one for each member of each category's group.
pub(crate) struct Workers {
    url: String,
    members: u16,
    bug: bool,
    /// The category, the member's number in the group, and the process.
    processes: Vec<(usize, u16, Child)>,
}

impl Workers {
    pub(crate) fn start(url: &str, members: u16, bug: bool) -> Self {
        let mut workers = Self { url: url.to_owned(), members, bug, processes: Vec::new() };
        for category in 0..CATEGORIES.len() {
            for member in 0..members {
                let process = workers.spawn(category, member);
                workers.processes.push((category, member, process));
            }
        }
        workers
    }

    fn spawn(&self, category: usize, member: u16) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker", "--ignored", "--nocapture"]);
        command.env(URL, &self.url).env(CATEGORY, CATEGORIES[category]);
        command.env(MEMBER, member.to_string()).env(MEMBERS, self.members.to_string());
        if self.bug {
            command.env(BUG, "1");
        }
        // The worker ends when this end of the pipe is closed.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    /// Kills the worker with this index, and starts it again.
    pub(crate) fn kill_one(&mut self, number: usize) {
        let number = number % self.processes.len();
        let (category, member, process) = &mut self.processes[number];
        process.kill().unwrap();
        process.wait().unwrap();
        let (category, member) = (*category, *member);
        self.processes[number].2 = self.spawn(category, member);
    }

    /// Waits until every worker has handled its category up to `ends`.
    pub(crate) async fn handled_through(&mut self, store: &Arc<dyn MessageStore>, ends: [GlobalPosition; 2]) {
        for number in 0..self.processes.len() {
            let (category, member, _) = self.processes[number];
            let stream = format!("{}+position-accounts+{member}+{}", CATEGORIES[category], self.members);
            let stream = StreamName::new(stream).unwrap();
            loop {
                let ended = self.processes[number].2.try_wait().unwrap();
                assert!(ended.is_none(), "a worker ended by itself: {ended:?}");
                let last = store.last_message(&stream, None).await.unwrap();
                let position = last.map(|last| last.decode_data::<Recorded>().unwrap().position);
                if position.is_some_and(|position| position >= ends[category]) {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, _, process) in &mut self.processes {
            // The process may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[derive(serde::Deserialize)]
struct Recorded {
    position: GlobalPosition,
}

/// Carries out commands until standard input is closed, or until the process is killed.
pub(crate) async fn work() {
    let Ok(url) = std::env::var(URL) else { return };
    let setting = |name: &str| std::env::var(name).unwrap();
    let store = connect(&url).await.unwrap();
    let decide = CommandHandler::<Account>::new(&store);
    let decide = if std::env::var(BUG).is_ok() { decide.plant(PlantedBug::RememberedNothing) } else { decide };
    let group = GroupMember::new(setting(MEMBER).parse().unwrap(), setting(MEMBERS).parse().unwrap()).unwrap();
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let consumer = Consumer::new(setting(CATEGORY), decide).identifier("accounts").group(group).concurrency(4);
    let consumer = consumer.poll_interval(LOOK).save_after(20, LOOK);
    consumer.run_until(&store, async { drop(closed.await) }).await.unwrap();
}
