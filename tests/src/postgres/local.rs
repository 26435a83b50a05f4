//! A private cluster, made with the server programs on this machine, on a free port of the loopback address, in a
//! temporary folder.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::server::wait_until_ready;

/// A server of a private cluster. Call `stop`: dropping this value leaves the server running.
#[derive(Debug)]
pub struct LocalServer {
    programs: PathBuf,
    account: Option<Account>,
    folder: TempDir,
    settings: Vec<&'static str>,
    port: u16,
    server: Child,
    url: String,
}

/// The ways in which a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server ends its sessions, and saves its data.
    Fast,
    /// As in a crash of all its processes.
    Immediate,
    /// Only its first process is killed. The others notice that and end.
    Kill,
    /// All its processes are killed.
    KillAll,
}

/// The purpose of a server. It selects the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For tests: fast, without durability.
    Tests,
    /// The server's default settings, but without waiting for the disk.
    Defaults,
    /// So few locks that a batch of conditions easily needs more.
    FewLocks,
    /// As in production: a commit waits for the disk.
    Measuring,
}

impl Purpose {
    fn settings(self) -> Vec<&'static str> {
        match self {
            Self::Tests => vec!["fsync=off", "max_connections=400"],
            Self::Defaults => vec!["fsync=off"],
            Self::FewLocks => vec!["fsync=off", "max_connections=40", "max_locks_per_transaction=10"],
            // No checkpoint runs in one round and not in another.
            Self::Measuring => vec![
                "max_connections=400",
                "shared_buffers=1GB",
                "max_wal_size=16GB",
                "checkpoint_timeout=1h",
                "autovacuum_naptime=10s",
            ],
        }
    }
}

/// The user that runs the server, because PostgreSQL refuses to run as root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl LocalServer {
    /// Makes a cluster and starts its server, with the programs that are found on this machine.
    ///
    /// # Errors
    /// Returns an error if the programs are missing or the server does not start.
    pub async fn start(purpose: Purpose) -> Result<Self> {
        Self::start_with(find_programs()?, purpose).await
    }

    /// Makes a cluster and starts its server, with the programs in this folder. The user that runs the server must be
    /// allowed to read them.
    ///
    /// # Errors
    /// Returns an error as [`LocalServer::start`] does.
    pub async fn start_with(programs: PathBuf, purpose: Purpose) -> Result<Self> {
        let account = account_to_become()?;
        let folder = folder_for(account)?;
        let data = folder.path().join("data");
        let output = command(programs.join("initdb"), account)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D"])
            .arg(&data)
            .output()
            .context("initdb could not be started")?;
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());

        Self::launch(programs, account, folder, purpose.settings()).await
    }

    /// Makes and starts a hot standby of this server, on this machine.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be made or the server does not start.
    pub async fn standby(&self, purpose: Purpose) -> Result<Self> {
        let folder = self.copy(&["--write-recovery-conf"])?;
        Self::launch(self.programs.clone(), self.account, folder, purpose.settings()).await
    }

    /// As [`LocalServer::standby`], at this port, which another server had.
    ///
    /// # Errors
    /// Returns an error as [`LocalServer::standby`] does, and if the port stays taken.
    pub async fn standby_at(&self, port: u16, purpose: Purpose) -> Result<Self> {
        let folder = self.copy(&["--write-recovery-conf"])?;
        let settings = purpose.settings();
        let server = run_again(&self.programs, self.account, folder.path(), &settings, port).await?;
        let (programs, account, url) = (self.programs.clone(), self.account, url_at(port));
        Ok(Self { programs, account, folder, settings, port, server, url })
    }

    /// Makes and starts a standby with the present data of this server. It does not receive later writes.
    ///
    /// # Errors
    /// Returns an error as [`LocalServer::standby`] does.
    pub async fn standby_of_now(&self) -> Result<Self> {
        let folder = self.copy(&[])?;
        std::fs::File::create(folder.path().join("data/standby.signal"))?;
        Self::launch(self.programs.clone(), self.account, folder, Purpose::Tests.settings()).await
    }

    fn copy(&self, arguments: &[&str]) -> Result<TempDir> {
        let folder = folder_for(self.account)?;
        let output = command(self.programs.join("pg_basebackup"), self.account)
            .args(arguments)
            .args(["--wal-method=stream", "--checkpoint=fast", "--dbname", &self.url, "--pgdata"])
            .arg(folder.path().join("data"))
            .output()
            .context("pg_basebackup could not be started")?;
        ensure!(output.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(folder)
    }

    /// Makes a standby the primary.
    ///
    /// # Errors
    /// Returns an error if the standby does not become the primary.
    pub fn promote(&self) -> Result<()> {
        let output = command(self.programs.join("pg_ctl"), self.account)
            .args(["promote", "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .output()?;
        ensure!(output.status.success(), "pg_ctl promote failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Starts a server on the data in the folder.
    async fn launch(
        programs: PathBuf,
        account: Option<Account>,
        folder: TempDir,
        settings: Vec<&'static str>,
    ) -> Result<Self> {
        let mut last_failure = None;
        for _ in 0..5 {
            // The port is free now. If another program takes it before the server starts, another port is tried.
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            match run(&programs, account, folder.path(), &settings, port).await {
                Ok(server) => {
                    let url = url_at(port);
                    return Ok(Self { programs, account, folder, settings, port, server, url });
                }
                Err(error) => last_failure = Some(error),
            }
        }
        Err(last_failure.unwrap_or_else(|| anyhow::anyhow!("no attempt was made")))
    }

    /// Ends the server, and keeps its data for [`LocalServer::resume`].
    ///
    /// # Errors
    /// Returns an error if the server cannot be ended.
    pub fn end(&mut self, how: End) -> Result<()> {
        let mode = match how {
            End::Fast => "fast",
            End::Immediate => "immediate",
            End::Kill => {
                self.server.kill()?;
                self.server.wait()?;
                return Ok(());
            }
            End::KillAll => {
                self.signal("KILL")?;
                self.server.wait()?;
                return Ok(());
            }
        };
        let status = command(self.programs.join("pg_ctl"), self.account)
            .args(["stop", "-m", mode, "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "pg_ctl stop failed");
        self.server.wait()?;
        Ok(())
    }

    /// Starts the server again, at the same port, with the data that it had.
    ///
    /// # Errors
    /// Returns an error if the server does not start.
    pub async fn resume(&mut self) -> Result<()> {
        self.server = run_again(&self.programs, self.account, self.folder.path(), &self.settings, self.port).await?;
        Ok(())
    }

    /// Stops all its processes where they are. They go on after [`LocalServer::go_on`].
    ///
    /// # Errors
    /// Returns an error if they cannot be stopped.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// Returns an error if they cannot be reached.
    pub fn go_on(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Sends a signal to all its processes, the first one first, so that it starts no other.
    fn signal(&self, signal: &str) -> Result<()> {
        let first = self.server.id();
        let send = |process: u32| {
            let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).output();
            sent.map(|sent| sent.status.success())
        };
        ensure!(send(first)?, "the server has ended");
        for process in children_of(first)? {
            // It may have ended by itself.
            send(process)?;
        }
        Ok(())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the database `postgres`, for administration.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Gives the server a certificate and its key, in PEM. The server uses them for later connections, when `ssl` is on
    /// and its settings were loaded again.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub fn set_certificate(&self, certificate: &str, key: &str) -> Result<()> {
        for (name, content) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.folder.path().join("data").join(name);
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            if let Some(Account { user, group }) = self.account {
                chown(&path, Some(user), Some(group))?;
            }
        }
        Ok(())
    }

    /// The folder of the server's programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Stops the server, and removes its folder.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be removed.
    pub fn stop(mut self) -> Result<()> {
        let status = command(self.programs.join("pg_ctl"), self.account)
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            self.server.kill()?;
        }
        self.server.wait()?;
        self.folder.close().context("the cluster's folder could not be removed")
    }
}

fn url_at(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// The processes that a process has started.
fn children_of(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let of = status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|of| of.trim().parse().ok());
        if of == Some(parent) {
            children.push(process);
        }
    }
    Ok(children)
}

/// As [`run`], at a port that may be taken for a moment, with data that other processes may have for a moment.
async fn run_again(
    programs: &Path,
    account: Option<Account>,
    folder: &Path,
    settings: &[&'static str],
    port: u16,
) -> Result<Child> {
    const ATTEMPTS: u32 = 100;
    let mut attempt = 1;
    loop {
        match run(programs, account, folder, settings, port).await {
            // After the first process was killed, the others still have the data for a moment.
            Err(_) if attempt < ATTEMPTS => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            result => return result,
        }
        attempt += 1;
    }
}

/// Runs a server on the data in a folder, and waits until it answers.
async fn run(
    programs: &Path,
    account: Option<Account>,
    folder: &Path,
    settings: &[&'static str],
    port: u16,
) -> Result<Child> {
    let log = folder.join("log");
    let mut server = command(programs.join("postgres"), account)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
        .arg(folder)
        .args(settings.iter().flat_map(|setting| ["-c", *setting]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .spawn()
        .context("postgres could not be started")?;
    let url = url_at(port);
    let ready = wait_until_ready(&url, || match server.try_wait()? {
        Some(status) => bail!("postgres ended with {status}: {}", std::fs::read_to_string(&log)?.trim()),
        None => Ok(()),
    })
    .await;
    if ready.is_err() && server.try_wait()?.is_none() {
        server.kill()?;
        server.wait()?;
    }
    ready.map(|()| server)
}

pub(super) fn folder_for(account: Option<Account>) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("message-store-postgres-").tempdir()?;
    if let Some(Account { user, group }) = account {
        chown(folder.path(), Some(user), Some(group))?;
    }
    Ok(folder)
}

pub(super) fn command(program: impl AsRef<OsStr>, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(std::env::temp_dir());
    // A separate process group, so that an interrupt at the terminal reaches only the tests. The server is stopped
    // after them.
    command.process_group(0);
    if let Some(Account { user, group }) = account {
        command.uid(user).gid(group);
    }
    command
}

/// Whether tests that start servers of their own are left out, because there are no server programs
/// (`MESSAGE_STORE_TEST_SERVER_PROGRAMS=none`). If so, prints that they are left out.
pub fn servers_are_left_out() -> bool {
    let are_left_out = std::env::var("MESSAGE_STORE_TEST_SERVER_PROGRAMS").is_ok_and(|programs| programs == "none");
    if are_left_out {
        println!(
            "left out: it needs servers of its own, and there are no server programs (initdb, postgres) on this machine"
        );
    }
    are_left_out
}

/// As [`servers_are_left_out`], for tests that need these client programs too: packages of server programs may lack them.
pub fn programs_are_left_out(needed: &[&str]) -> bool {
    if servers_are_left_out() {
        return true;
    }
    let folder = find_programs();
    let is_missing = |program: &&&str| folder.as_ref().is_ok_and(|folder| !folder.join(program).exists());
    let missing: Vec<&&str> = needed.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        println!("left out: it needs {missing:?}, which these programs of PostgreSQL do not have");
    }
    !missing.is_empty()
}

/// The folder of the server's programs: the one that `MESSAGE_STORE_TEST_SERVER_PROGRAMS` names, else that of
/// `pg_config`, else the newest in Debian's folder, else one in the path.
fn find_programs() -> Result<PathBuf> {
    if let Some(place) = std::env::var_os("MESSAGE_STORE_TEST_SERVER_PROGRAMS").filter(|place| place != "none") {
        return Ok(place.into());
    }
    let mut places = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
        versions.sort();
        places.extend(versions.into_iter().rev());
    }
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places
        .into_iter()
        .find(|place| ["initdb", "postgres", "pg_ctl"].iter().all(|program| place.join(program).is_file()))
        .context("initdb, postgres and pg_ctl are nowhere (pg_config --bindir, /usr/lib/postgresql/*/bin, PATH)")
}

pub(super) fn account_to_become() -> Result<Option<Account>> {
    use std::os::unix::fs::MetadataExt as _;
    let own = tempfile::NamedTempFile::new()?.as_file().metadata()?.uid();
    if own != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let of = |name: &str| {
        accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name).and_then(
            |fields| Some(Account { user: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? }),
        )
    };
    let account = of("postgres").or_else(|| of("nobody"));
    Ok(Some(account.context("PostgreSQL does not run as root, and there is no user postgres or nobody to become")?))
}
