//! `PgBouncer` in transaction mode, between a store and a server.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::local::{account_to_become, command, folder_for};
use super::server::connect;

/// A running `PgBouncer`. It is stopped when it is dropped.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    folder: TempDir,
    port: u16,
    ignores_options: bool,
    size: usize,
}

impl Pooler {
    /// Starts a pooler for the databases of a server, with at most `size` sessions for each. It refuses the startup
    /// parameter `options`, or ignores it.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn start(url: &str, size: usize, ignores_options: bool) -> Self {
        Self::try_to_start(url, size, ignores_options).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn try_to_start(url: &str, size: usize, ignores_options: bool) -> Result<Self> {
        let mut last_failure = None;
        for _ in 0..5 {
            // The port is free now. If another program takes it before the pooler starts, another port is tried.
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            match Self::launch(url, port, size, ignores_options).await {
                Ok(pooler) => return Ok(pooler),
                Err(error) => last_failure = Some(error),
            }
        }
        Err(last_failure.unwrap_or_else(|| anyhow::anyhow!("no attempt was made")))
    }

    async fn launch(url: &str, port: u16, size: usize, ignores_options: bool) -> Result<Self> {
        let account = account_to_become()?;
        let folder = folder_for(account)?;
        let settings = folder.path().join("pgbouncer.ini");
        std::fs::write(&settings, settings_for(url, port, size, ignores_options)?)?;
        let process = command(program().context("pgbouncer is missing")?, account)
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log"))?)
            .spawn()
            .context("pgbouncer could not be started")?;
        let mut pooler = Self { process, folder, port, ignores_options, size };
        pooler.wait_until_ready(url).await?;
        Ok(pooler)
    }

    /// Waits until this pooler listens, and not another one that has taken its port.
    async fn wait_until_ready(&mut self, url: &str) -> Result<()> {
        let (url, listens) = (self.url(url)?, format!("listening on 127.0.0.1:{}", self.port));
        for attempt in 1.. {
            let log = std::fs::read_to_string(self.folder.path().join("log"))?;
            if let Some(status) = self.process.try_wait()? {
                bail!("pgbouncer ended with {status}: {log}");
            }
            if log.contains(&listens) {
                match connect(&url).await {
                    Ok(_) => break,
                    Err(error) if attempt >= 100 => return Err(error),
                    Err(_) => {}
                }
            } else if attempt >= 1_000 {
                bail!("pgbouncer does not listen: {log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The URL of the same database, through the pooler.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be read.
    pub fn url(&self, url: &str) -> Result<String> {
        let config: Config = url.parse()?;
        let (user, database) = (config.get_user().context("no user")?, config.get_dbname().context("no database")?);
        Ok(format!("postgres://{user}@127.0.0.1:{}/{database}", self.port))
    }

    /// Lets the pooler open its sessions on another server. Sessions that are in use stay until their transaction ends.
    ///
    /// # Panics
    /// Panics if the settings cannot be written.
    pub fn turn_to(&self, url: &str) {
        let settings = settings_for(url, self.port, self.size, self.ignores_options).unwrap();
        std::fs::write(self.folder.path().join("pgbouncer.ini"), settings).unwrap();
        let id = self.process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("the pooler's log:\n{}", log.unwrap_or_default());
        }
    }
}

fn settings_for(url: &str, port: u16, size: usize, ignores_options: bool) -> Result<String> {
    let config: Config = url.parse()?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => bail!("the server's URL names no host"),
    };
    let server_port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().context("the server's URL names no user")?;
    let password = config.get_password().map(|password| format!(" password={}", String::from_utf8_lossy(password)));
    let password = password.unwrap_or_default();
    let ignored = if ignores_options { "ignore_startup_parameters = options\n" } else { "" };
    Ok(format!(
        "[databases]\n* = host={host} port={server_port} user={user}{password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 500\nserver_round_robin = 1\n{ignored}"
    ))
}

fn program() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    places.push("/usr/sbin".into());
    places.into_iter().map(|place| place.join("pgbouncer")).find(|program| program.is_file())
}

/// Whether tests with a pooler are left out, because there is none (`MESSAGE_STORE_TEST_POOLER=none`). If so, prints that
/// they are left out.
pub fn poolers_are_left_out() -> bool {
    let are_left_out = std::env::var("MESSAGE_STORE_TEST_POOLER").is_ok_and(|pooler| pooler == "none");
    if are_left_out {
        println!("left out: it needs a pooler, and there is no pgbouncer on this machine");
    }
    are_left_out
}
