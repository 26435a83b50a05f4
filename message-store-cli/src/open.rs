//! The store of a command.

use std::env;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use message_store::postgres::PostgresOptions;
use message_store::sqlite::SqliteOptions;
use message_store::{Error, MessageStore};

use crate::contexts::{self, Contexts, has_password};
use crate::exit::Exit;
use crate::output::remark;

/// The environment variable with a store's URL.
const URL: &str = "MESSAGE_STORE_URL";
/// The environment variable with the name of a context.
const CONTEXT: &str = "MESSAGE_STORE_CONTEXT";

/// The store that a command opens.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreUrl {
    /// The store: `postgres://USER@HOST/DATABASE`, `sqlite:PATH` or `nats://HOST/STORE` [env: `MESSAGE_STORE_URL`]
    #[arg(long = "store", value_name = "URL", global = true)]
    url: Option<String>,
    /// A store by its name in the file of contexts [env: `MESSAGE_STORE_CONTEXT`]
    #[arg(long, value_name = "NAME", conflicts_with = "url", global = true)]
    context: Option<String>,
}

impl StoreUrl {
    /// The store's URL: of the arguments, of the environment, or of the current context.
    pub(crate) fn url(&self) -> Result<String> {
        if let Some(url) = &self.url {
            if has_password(url) {
                remark(format!(
                    "warning: other users of this machine see the password in the arguments; {URL} or a context hides it"
                ));
            }
            return Ok(url.clone());
        }
        let of_context = |name: &str| Contexts::read(&contexts::place()?)?.named(name)?.url();
        if let Some(name) = &self.context {
            return of_context(name);
        }
        if let Some(url) = env::var(URL).ok().filter(|url| !url.is_empty()) {
            return Ok(url);
        }
        if let Some(name) = env::var(CONTEXT).ok().filter(|name| !name.is_empty()) {
            return of_context(&name);
        }
        match Contexts::read(&contexts::place()?)?.current {
            Some(name) => of_context(&name),
            None => {
                Err(Exit::Usage.because(format!("no store is named: give --store URL or --context NAME, or set {URL}")))
            }
        }
    }

    /// Opens the store, as [`open`] does.
    pub(crate) async fn open(&self) -> Result<Arc<dyn MessageStore>> {
        open(&self.url()?).await
    }
}

/// Opens a store. One that does not exist is not made, because its name may be misspelt.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn MessageStore>> {
    let opened: Result<Arc<dyn MessageStore>, Error> = match Backend::of(url)? {
        Backend::Sqlite => open_sqlite(url).await?,
        Backend::Postgres => PostgresOptions::from_url(url)?.existing().open().await.map(|store| Arc::new(store) as _),
        #[cfg(feature = "jetstream")]
        Backend::Jetstream => open_jetstream(url).await?,
    };
    opened.map_err(|error| match error {
        error @ Error::Backend { .. } => Exit::NoAnswer.because(message_store::chain(&error)),
        error => error.into(),
    })
}

async fn open_sqlite(url: &str) -> Result<Result<Arc<dyn MessageStore>, Error>> {
    if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !Path::new(path).exists()) {
        let text = format!("there is no such file as {path}; `message-store migrate` makes a store");
        return Err(Exit::NotFound.because(text));
    }
    Ok(SqliteOptions::from_url(url)?.existing().open().await.map(|store| Arc::new(store) as _))
}

#[cfg(feature = "jetstream")]
async fn open_jetstream(url: &str) -> Result<Result<Arc<dyn MessageStore>, Error>> {
    let options = message_store_jetstream::JetstreamOptions::from_url(url)?.existing();
    match message_store_jetstream::JetstreamStore::open_with(options).await {
        Err(error @ Error::Schema { .. }) => Err(Exit::NotFound.because(error.to_string())),
        opened => Ok(opened.map(|store| Arc::new(store) as _)),
    }
}

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
    #[cfg(feature = "jetstream")]
    Jetstream,
}

impl Backend {
    /// The kind of the store that a URL names.
    ///
    /// # Errors
    /// For a URL of another kind.
    pub(crate) fn of(url: &str) -> Result<Self> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            #[cfg(feature = "jetstream")]
            Some("nats" | "tls") => Ok(Self::Jetstream),
            #[cfg(not(feature = "jetstream"))]
            Some("nats" | "tls") => Err(Exit::Usage.because("this program was built without the feature jetstream")),
            _ => {
                let text =
                    "the store must be written as postgres://USER@HOST/DATABASE, sqlite:PATH or nats://HOST/STORE";
                Err(Exit::Usage.because(text))
            }
        }
    }
}
