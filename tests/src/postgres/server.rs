//! Finds a server: by a given URL, else in Docker, else with local programs.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::{Client, NoTls};

#[cfg(feature = "docker")]
use super::docker::DockerServer;
use super::given::GivenServer;
use super::local::{LocalServer, Purpose};
use super::{DATABASE_URL, FORCED_WAY};

/// The way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An existing server, by its URL.
    Url,
    /// A server in a container.
    Docker,
    /// A private cluster, made with the programs on this machine.
    Local,
}

/// A running server. It runs until [`Server::stop`] is called.
#[derive(Debug)]
pub enum Server {
    /// A server that the tests did not start.
    Given(GivenServer),
    /// A container that the tests started.
    #[cfg(feature = "docker")]
    Docker(Box<DockerServer>),
    /// A private cluster that the tests started.
    Local(LocalServer),
}

impl Server {
    /// Finds or starts a server.
    ///
    /// # Errors
    /// Returns an error that names each way, why it failed, and how to correct it.
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

    /// The description of the server, in one line.
    pub fn describe(&self) -> String {
        match self {
            Self::Given(_) => format!("the server that {DATABASE_URL} names"),
            #[cfg(feature = "docker")]
            Self::Docker(server) => format!("a container of {}", server.image()),
            Self::Local(server) => format!("a private cluster of {}", server.programs().display()),
        }
    }

    /// Stops the server if it was started here, and removes the test databases.
    ///
    /// # Errors
    /// Returns an error if the server could not be stopped.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Given(server) => server.clean_up().await,
            #[cfg(feature = "docker")]
            Self::Docker(server) => server.stop().await,
            Self::Local(server) => server.stop(),
        }
    }
}

/// Connects, and starts the task that drives the connection.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Waits until a server that was just started answers. `alive` returns an error if the server has ended.
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
