//! The server of `UmaDB`: the program of the peers, started again, on a free port of the loopback address, with its
//! file in a temporary folder.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running server. Dropping this value ends it, and removes its folder. It also ends when this process is killed,
/// because then its standard input ends.
pub struct UmaDb {
    address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl UmaDb {
    pub async fn start(program: &Path) -> Result<Self> {
        const ATTEMPTS: u32 = 1_000;
        let folder = tempfile::Builder::new().prefix("message-store-umadb-").tempdir()?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut process = Command::new(program)
            .args(["serve-umadb", "--listen", &address.to_string(), "--folder"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // An interrupt at the terminal reaches only the benchmarks.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        for _ in 0..ATTEMPTS {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Self { address, _process: process, _folder: folder });
            }
            if process.try_wait()?.is_some() {
                let output = process.wait_with_output().await?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!("its server ended: {}", said.lines().next().unwrap_or("it said nothing"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("its server does not answer")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
