//! NATS servers for tests: `nats-server`, as `MESSAGE_STORE_TEST_NATS_SERVER` names it, or as it is found in the path. They listen
//! on 127.0.0.1, at free ports, and end with the test.

mod cluster;
mod dropping_proxy;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use cluster::Cluster;
pub use dropping_proxy::DroppingProxy;

/// The environment variable that names the program.
const PROGRAM: &str = "MESSAGE_STORE_TEST_NATS_SERVER";

/// When a server writes what it acknowledges to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Within two minutes: the server's default.
    Later,
    /// Before it acknowledges it.
    Before,
}

impl Flush {
    fn setting(self) -> &'static str {
        match self {
            Self::Later => "",
            Self::Before => ", sync_interval: always",
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    port: u16,
    /// A shell that ends the server when its input ends, which is so as well when this process is killed.
    keeper: Child,
    folder: TempDir,
    flush: Flush,
    settings: String,
}

impl Server {
    /// Starts a server by itself. `settings` are added to its configuration.
    ///
    /// # Panics
    /// Panics if it does not start.
    #[must_use]
    pub fn start(flush: Flush, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let keeper = run(folder.path(), port, flush, settings);
        wait_for(port);
        Self { port, keeper, folder, flush, settings: settings.to_owned() }
    }

    /// Kills the server, which has no time to write anything.
    ///
    /// # Panics
    /// Panics if its shell does not end.
    pub fn kill(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }

    /// Starts a killed server again, at the same port and with its data.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub fn start_again(&mut self) {
        self.keeper = run(self.folder.path(), self.port, self.flush, &self.settings);
        wait_for(self.port);
    }

    /// The folder with the server's data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The number of its process.
    ///
    /// # Panics
    /// Panics if it does not run.
    #[must_use]
    pub fn process(&self) -> u32 {
        std::fs::read_to_string(self.folder.path().join("nats.pid")).unwrap().trim().parse().unwrap()
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Flush::Later, ""))
    }

    /// The shared server; `None` where its tests are left out, because there is no program.
    pub fn shared_unless_left_out() -> Option<&'static Self> {
        let is_left_out = std::env::var_os(PROGRAM).is_some_and(|program| program == "none");
        if is_left_out {
            println!("left out: a store on JetStream, since {PROGRAM} is none");
        }
        (!is_left_out).then(Self::shared)
    }

    /// The URL of a store that no other test uses.
    #[must_use]
    pub fn store(&self) -> String {
        format!("nats://{}/t{}", self.address(), message_store::Uuid::new_v4().simple())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The program of the server.
///
/// # Panics
/// Panics if there is none, and says how to get one.
#[must_use]
pub fn program() -> PathBuf {
    let named = std::env::var_os(PROGRAM).map(PathBuf::from);
    let program = named.unwrap_or_else(|| "nats-server".into());
    let found = Command::new(&program).arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "there is no NATS server to test with: {} cannot be run. Either\n\
         - name one of 2.12 or later by MESSAGE_STORE_TEST_NATS_SERVER, or\n\
         - put nats-server into the path, or\n\
         - run ./run-tests, which fetches one",
        program.display()
    );
    program
}

/// Starts a server with its data in this folder. It ends when the process does, or when its standard input is closed.
///
/// # Panics
/// Panics if it cannot be started.
#[must_use]
pub fn run(folder: &Path, port: u16, flush: Flush, settings: &str) -> Child {
    let mut text = String::new();
    writeln!(text, "listen: 127.0.0.1:{port}").unwrap();
    writeln!(text, "pid_file: \"{}\"", folder.join("nats.pid").display()).unwrap();
    writeln!(text, "jetstream {{ store_dir: \"{}\"{} }}", folder.join("data").display(), flush.setting()).unwrap();
    text.push_str(settings);
    let config = folder.join("nats.conf");
    std::fs::write(&config, text).unwrap();
    let log = folder.join("nats.log");
    let script = r#""$0" -c "$1" -l "$2" & server=$!; cat > /dev/null; kill -9 $server; wait $server 2> /dev/null"#;
    let mut keeper = Command::new("sh");
    keeper.args(["-c", script]).arg(program()).arg(config).arg(log);
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until a server listens.
///
/// # Panics
/// Panics if it does not listen within a minute.
pub fn wait_for(port: u16) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the NATS server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that is free now.
///
/// # Panics
/// Panics if there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
