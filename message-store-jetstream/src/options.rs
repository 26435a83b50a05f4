//! The options with which a store is opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use message_store::{Error, Limits, Result};
use percent_encoding::percent_decode_str;

/// The greatest length of a store's name.
const NAME: usize = 100;

/// How a store is opened.
///
/// ```
/// use message_store_jetstream::JetstreamOptions;
///
/// let options = JetstreamOptions::from_url("nats://one:4222,two:4222,three:4222/accounts?replicas=3")?;
/// assert_eq!(options.describe(), "nats://one:4222,two:4222,three:4222/accounts");
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct JetstreamOptions {
    pub(crate) servers: Vec<ServerAddr>,
    /// What was written of the servers, without user and password.
    shown: String,
    pub(crate) store: String,
    pub(crate) replicas: usize,
    pub(crate) limits: Limits,
    /// Whether a store that does not exist is created.
    pub(crate) creates: bool,
    /// Whether the servers flush before they answer, as the user says. They do not say it themselves.
    pub(crate) syncs_always: bool,
    pub(crate) bug: Option<PlantedBug>,
    user: Option<(String, String)>,
    token: Option<String>,
    credentials: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    requires_tls: bool,
}

/// A protection that a test switches off.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PlantedBug {
    IdsAreNotChecked,
    ConditionsAreCheckedBefore,
}

impl JetstreamOptions {
    /// The options in a URL: `nats://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/STORE[?OPTION=VALUE&…]`.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `replicas` | the servers that keep the log: 1, 3 or 5. It counts when the store is created. Default: 1 |
    /// | `sync` | `always`: says that the servers have `sync_interval: always`. Without it, the store warns when it is opened |
    /// | `credentials` | a file with credentials |
    /// | `token` | a token |
    /// | `tls` | `require`: no connection without TLS. A server that wants TLS gets it in any case |
    /// | `ca` | a file with the certificates of authorities, in PEM |
    /// | `cert`, `key` | files with the client's certificate and key, in PEM |
    ///
    /// A user without a password is a token. Names and values are percent-decoded.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another URL. The error does not contain the URL, which may have a password.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it must begin with nats://"))?;
        if !["nats", "tls"].contains(&scheme) {
            return Err(invalid("it must begin with nats://"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, store) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if store.is_empty() || store.len() > NAME || !store.bytes().all(is_token) {
            let reason = "after the servers comes the store's name, such as nats://localhost/accounts: letters, digits, - and _, \
                          at most 100";
            return Err(invalid(reason));
        }
        let servers: Vec<ServerAddr> = hosts.split(',').map(server).collect::<Result<_>>()?;
        let mut options = Self {
            servers,
            shown: hosts.to_owned(),
            store: store.to_owned(),
            replicas: 1,
            limits: Limits::default(),
            creates: true,
            syncs_always: false,
            bug: None,
            user: None,
            token: None,
            credentials: None,
            ca: None,
            certificate: None,
            requires_tls: scheme == "tls",
        };
        match user.map(|user| user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)))) {
            Some((user, Some(password))) => options.user = Some((decoded(user)?, decoded(password)?)),
            Some((token, None)) => options.token = Some(decoded(token)?),
            None => {}
        }
        let (mut certificate, mut key) = (None, None);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = decoded(value)?;
            match name {
                "replicas" => options.replicas = replicas(&value)?,
                "sync" if value == "always" => options.syncs_always = true,
                "sync" => return Err(invalid("sync= has one value: always")),
                "credentials" => options.credentials = Some(value.into()),
                "token" => options.token = Some(value),
                "tls" if value == "require" => options.requires_tls = true,
                "tls" => return Err(invalid("tls= has one value: require")),
                "ca" => options.ca = Some(value.into()),
                "cert" => certificate = Some(value.into()),
                "key" => key = Some(value.into()),
                other => {
                    let known = "replicas, sync, credentials, token, tls, ca, cert and key";
                    return Err(invalid(format!("{other:?} is no option; there are {known}")));
                }
            }
        }
        options.certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(invalid("cert= and key= come together")),
        };
        Ok(options)
    }

    /// Says that the servers have `sync_interval: always`: they flush a message to the disk before they acknowledge it. By
    /// default, NATS flushes every two minutes, and power that fails on most servers at once takes messages that were
    /// acknowledged.
    pub fn syncs_always(mut self) -> Self {
        self.syncs_always = true;
        self
    }

    /// Opens the store only if it exists.
    pub fn existing(mut self) -> Self {
        self.creates = false;
        self
    }

    /// Sets the limits of the store. Default: [`Limits::default`]. What the server allows for one message counts too.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Switches a protection off, for a test that must fail then.
    #[doc(hidden)]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// The servers and the store, without secrets.
    pub fn describe(&self) -> String {
        format!("nats://{}/{}", self.shown, self.store)
    }

    /// The name of the JetStream stream.
    pub(crate) fn log(&self) -> String {
        format!("MS_{}", self.store)
    }

    pub(crate) async fn connect_options(&self) -> Result<ConnectOptions> {
        let mut options = ConnectOptions::new()
            .name(format!("message-store {}", self.store))
            .connection_timeout(Duration::from_secs(5))
            // A server that is silent is given up after three of them.
            .ping_interval(Duration::from_secs(3))
            .reconnect_delay_callback(|attempts| Duration::from_millis(50 * (attempts.min(20) as u64)))
            .require_tls(self.requires_tls);
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if let Some(credentials) = &self.credentials {
            options = with_credentials(options, credentials).await?;
        }
        Ok(options)
    }
}

#[cfg(feature = "credentials")]
async fn with_credentials(options: ConnectOptions, file: &std::path::Path) -> Result<ConnectOptions> {
    let read = options.credentials_file(file).await;
    read.map_err(|error| invalid(format!("the credentials in {} cannot be read: {error}", file.display())))
}

#[cfg(not(feature = "credentials"))]
#[expect(clippy::unused_async, reason = "with the feature it reads a file")]
async fn with_credentials(_options: ConnectOptions, _file: &std::path::Path) -> Result<ConnectOptions> {
    Err(invalid("credentials= needs the feature `credentials` of message-store-jetstream"))
}

impl fmt::Debug for JetstreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetstreamOptions")
            .field("store", &self.describe())
            .field("replicas", &self.replicas)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn server(host: &str) -> Result<ServerAddr> {
    // The host is not repeated: a password with a slash stands there.
    let unreadable =
        || invalid("the servers are HOST or HOST:PORT, separated by commas; in a user or password, / is %2F");
    if host.is_empty() || host.contains("://") {
        return Err(unreadable());
    }
    format!("nats://{host}").parse().map_err(|_| unreadable())
}

fn replicas(value: &str) -> Result<usize> {
    match value.parse() {
        Ok(replicas @ (1 | 3 | 5)) => Ok(replicas),
        _ => Err(invalid("replicas= is 1, 3 or 5")),
    }
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| invalid("a part of it is not UTF-8 when it is decoded"))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid("store URL", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_servers_a_store_and_options() {
        let url = "nats://ann:p%40ss@one,two:4333/main-2?replicas=3&tls=require";
        let options = JetstreamOptions::from_url(url).unwrap();
        assert_eq!((options.servers.len(), options.replicas, options.store.as_str()), (2, 3, "main-2"));
        assert_eq!(options.user, Some(("ann".to_owned(), "p@ss".to_owned())));
        assert!(options.requires_tls);
        assert_eq!(options.describe(), "nats://one,two:4333/main-2");
        assert!(!format!("{options:?}").contains("p@ss"));
    }

    #[test]
    fn a_url_with_a_mistake_is_refused_without_its_password() {
        for (url, reason) in [
            ("nats:accounts", "begin with nats://"),
            ("http://one/main", "begin with nats://"),
            ("nats://one", "the store's name"),
            ("nats://one/", "the store's name"),
            ("nats://one/a.b", "the store's name"),
            ("nats:///main", "HOST:PORT"),
            ("nats://one,,two/main", "HOST:PORT"),
            ("nats://ann:secret@one:port/main", "HOST:PORT"),
            ("nats://ann:sec/ret@one/main", "the store's name"),
            ("nats://one/main?replicas=2", "1, 3 or 5"),
            ("nats://one/main?replica=3", "no option"),
            ("nats://one/main?tls=maybe", "require"),
            ("nats://one/main?cert=a.pem", "come together"),
            ("nats://one/main?token=%FF", "UTF-8"),
        ] {
            let error = JetstreamOptions::from_url(url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("sec"), "{url}: {error}");
        }
    }
}
