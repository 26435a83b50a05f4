//! Finding a server: a URL that was given, else Docker, else local programs.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::{Client, NoTls};

#[cfg(feature = "docker")]
use super::docker::DockerServer;
use super::given::GivenServer;
use super::local::{LocalServer, Purpose};
use super::{DATABASE_URL, FORCED_WAY};

/// How a server was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its URL.
    Url,
    /// In a container.
    Docker,
    /// A private cluster of the programs on this machine.
    Local,
}

/// A server, for as long as [`Server::stop`] is not called.
#[derive(Debug)]
pub enum Server {
    /// Somebody else's.
    Given(GivenServer),
    /// Ours, in a container.
    #[cfg(feature = "docker")]
    Docker(Box<DockerServer>),
    /// Ours, on this machine.
    Local(LocalServer),
}

impl Server {
    /// Finds or starts a server.
    ///
    /// # Errors
    /// Names each way that was tried, what was found, and the ways to mend it.
    pub async fn find() -> Result<Self> {
        let forced = std::env::var(FORCED_WAY).ok();
        let ways = match forced.as_deref() {
            None if std::env::var_os(DATABASE_URL).is_some() => vec![Way::Url],
            None => vec![Way::Docker, Way::Local],
            Some("url") => vec![Way::Url],
            Some("docker") => vec![Way::Docker],
            Some("local") => vec![Way::Local],
            Some(other) => bail!("{FORCED_WAY} is {other:?}; it may be url, docker or local"),
        };
        let mut failures = Vec::new();
        for way in ways {
            match Self::by(way).await {
                Ok(server) => return Ok(server),
                Err(error) => failures.push(format!("  {way:?}: {error:#}")),
            }
        }
        Err(anyhow!(
            "no PostgreSQL for the tests. Tried:\n{}\nAny one of these mends it:\n  \
             set {DATABASE_URL} to the URL of a server whose user may create databases;\n  \
             start Docker;\n  \
             install PostgreSQL's server programs (Debian: apt-get install postgresql)",
            failures.join("\n")
        ))
    }

    async fn by(way: Way) -> Result<Self> {
        Ok(match way {
            Way::Url => Self::Given(GivenServer::from_environment().await?),
            #[cfg(feature = "docker")]
            Way::Docker => Self::Docker(Box::new(DockerServer::start().await?)),
            #[cfg(not(feature = "docker"))]
            Way::Docker => bail!("this was built without the feature docker"),
            Way::Local => Self::Local(LocalServer::start(Purpose::Tests).await?),
        })
    }

    /// The URL of its database for administration.
    pub fn url(&self) -> &str {
        match self {
            Self::Given(server) => server.url(),
            #[cfg(feature = "docker")]
            Self::Docker(server) => server.url(),
            Self::Local(server) => server.url(),
        }
    }

    /// What it is, in a line.
    pub fn describe(&self) -> String {
        match self {
            Self::Given(_) => format!("the server that {DATABASE_URL} names"),
            #[cfg(feature = "docker")]
            Self::Docker(server) => format!("a container of {}", server.image()),
            Self::Local(server) => format!("a private cluster of {}", server.programs().display()),
        }
    }

    /// Stops what was started, and removes what was made.
    ///
    /// # Errors
    /// When it could not be stopped.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Given(server) => server.clean_up().await,
            #[cfg(feature = "docker")]
            Self::Docker(server) => server.stop().await,
            Self::Local(server) => server.stop(),
        }
    }
}

/// Connects, with a task that drives the connection.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Waits until a server that was just started answers; `alive` says whether there is still hope.
pub(super) async fn wait_until_ready(url: &str, mut alive: impl FnMut() -> Result<()>) -> Result<()> {
    const ATTEMPTS: u32 = 600;
    for attempt in 1.. {
        match connect(url).await {
            Ok(_) => break,
            Err(error) if attempt == ATTEMPTS => return Err(error).context("the server does not answer"),
            Err(_) => alive()?,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
