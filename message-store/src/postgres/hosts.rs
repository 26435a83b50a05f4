//! The hosts of a URL, and the one to which a connection leads.
//!
//! Problem: the driver tries the hosts in their order, for as long as each takes. So a host that accepts connections and then
//! stands still keeps every caller waiting, although the next host is the primary. And a primary in whose place a standby was
//! promoted still takes writes, which nobody will find. Fix: each host has its part of the time, and the host that served last
//! is tried first. A server says its timeline, which grows with each promotion, and a primary with a lower one than was seen
//! before is passed over. Why it is right: of the servers with the same system identifier, only a promotion makes a
//! higher timeline. An operator that goes back to such a server on purpose opens the store again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::config::{Config, Host, TargetSessionAttrs};

use super::history::Histories;
use super::tls::{self, Messages, Tls};
use super::{PlantedBug, failure};
use crate::Error;

/// The port of a host without one.
const PORT: u16 = 5432;

/// The hosts that connections may lead to.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    each: Arc<[Arc<Config>]>,
    tls: Tls,
    /// The time for one of several hosts.
    within: Duration,
    /// The number of the host that served last.
    last: Arc<AtomicUsize>,
    histories: Option<Arc<Histories>>,
    /// Only a standby of the primary will do.
    are_of_standby: bool,
}

/// A new connection.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) messages: Messages,
    /// The configuration with only the host of the connection.
    pub(super) config: Arc<Config>,
}

/// The reason why no host gave a connection. That of the last host.
#[derive(Debug)]
pub(super) enum NotConnected {
    Driver(tokio_postgres::Error),
    /// The host did not answer in its time, or ended the connection.
    Silent {
        place: String,
    },
    /// The host is a primary in whose place a standby was promoted.
    Deposed {
        place: String,
    },
    /// The host is no standby that has what the primary has.
    NoStandby {
        place: String,
        reason: String,
    },
}

impl Hosts {
    /// The hosts of a configuration. An attempt has `answer_within` for all of them.
    pub(super) fn of(config: &Config, tls: &Tls, answer_within: Duration, last: &Arc<AtomicUsize>) -> Self {
        let each = one_host_each(config);
        let share = answer_within / u32::try_from(each.len()).unwrap_or(u32::MAX).max(1);
        let within = config.get_connect_timeout().map_or(share, |limit| share.min(*limit));
        Self { each, tls: tls.clone(), within, last: Arc::clone(last), histories: None, are_of_standby: false }
    }

    /// The same hosts, and those of another history that was seen before are passed over.
    pub(super) fn of_histories(self, histories: &Arc<Histories>) -> Self {
        Self { histories: Some(Arc::clone(histories)), ..self }
    }

    /// The same hosts, and only a standby of the primary will do.
    pub(super) fn of_standby(self) -> Self {
        Self { are_of_standby: true, ..self }
    }

    /// Whether there are several.
    pub(super) fn are_several(&self) -> bool {
        self.each.len() > 1
    }

    /// Connects to the first host that is fit.
    pub(super) async fn connect(&self) -> Result<Connected, NotConnected> {
        if !self.are_several() {
            return self.connect_to(0).await;
        }
        let first = self.last.load(Ordering::Relaxed);
        let mut reason = None;
        for number in (first..self.each.len()).chain(0..first) {
            let silent = |_| Err(NotConnected::Silent { place: place_of(&self.each[number]) });
            let connected = timeout(self.within, self.connect_to(number)).await.unwrap_or_else(silent);
            match connected {
                Ok(connected) => {
                    // Where every session will do, the order of the hosts is the operator's.
                    if self.are_of_standby || connected.config.get_target_session_attrs() != TargetSessionAttrs::Any {
                        self.last.store(number, Ordering::Relaxed);
                    }
                    return Ok(connected);
                }
                Err(error) => reason = Some(error),
            }
        }
        Err(reason.unwrap_or_else(|| unreachable!("there are several hosts")))
    }

    async fn connect_to(&self, number: usize) -> Result<Connected, NotConnected> {
        let config = Arc::clone(&self.each[number]);
        let (client, mut messages) = tls::connect(&config, &self.tls).await.map_err(NotConnected::Driver)?;
        if let Some(histories) = self.histories.as_ref().filter(|_| self.are_of_standby) {
            let reason = tokio::select! {
                reason = histories.is_not_followed_by(&client) => reason.map_err(NotConnected::Driver)?,
                () = until_ended(&mut messages) => return Err(NotConnected::Silent { place: place_of(&config) }),
            };
            if let Some(reason) = reason {
                return Err(NotConnected::NoStandby { place: place_of(&config), reason });
            }
        } else if let Some(histories) = self.histories.as_ref().filter(|_| self.are_several())
            && !histories.has(PlantedBug::DeposedPrimariesServe)
        {
            let is_deposed = tokio::select! {
                is_deposed = histories.is_deposed(&client) => is_deposed.map_err(NotConnected::Driver)?,
                () = until_ended(&mut messages) => return Err(NotConnected::Silent { place: place_of(&config) }),
            };
            if is_deposed {
                return Err(NotConnected::Deposed { place: place_of(&config) });
            }
        }
        Ok(Connected { client, messages, config })
    }
}

/// Reads the messages of a connection until it ends.
async fn until_ended(messages: &mut Messages) {
    while let Some(Ok(_)) = messages.next().await {}
}

impl NotConnected {
    /// The error of a call.
    pub(super) fn into_error(
        self,
        context: impl Into<String>,
        of_driver: impl FnOnce(String, tokio_postgres::Error) -> Error,
    ) -> Error {
        match self {
            Self::Driver(error) => of_driver(context.into(), error),
            other => Error::backend(context, true, other.to_string()),
        }
    }

    /// The error of a call that connects for the first time.
    pub(super) fn at_first(self, context: impl Into<String>) -> Error {
        self.into_error(context, failure::failed)
    }
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => f.write_str(&crate::chain(error)),
            Self::Silent { place } => write!(f, "{place} did not answer in time"),
            Self::NoStandby { place, reason } => write!(f, "{place} {reason}"),
            Self::Deposed { place } => write!(
                f,
                "{place} was the primary until a standby was promoted in its place, and is not used; stop it. If it is to be the \
                 primary again, open the store again"
            ),
        }
    }
}

impl std::error::Error for NotConnected {}

/// The hosts of a configuration, in words.
pub(super) fn places_of(config: &Config) -> String {
    let each = one_host_each(config);
    let places: Vec<String> = each.iter().map(|config| place_of(config)).collect();
    if places.is_empty() { format!("localhost:{PORT}") } else { places.join(",") }
}

/// The host and port of a configuration with one host.
fn place_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map_or_else(|| "localhost".to_owned(), ToString::to_string),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(PORT))
}

/// The same configuration for each of its hosts alone. One that the driver would refuse stays as it is.
fn one_host_each(config: &Config) -> Arc<[Arc<Config>]> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |number: usize| number == 0 || number == count;
    if count <= 1 || !fits(hosts.len()) || !fits(addresses.len()) || !(ports.len() <= 1 || ports.len() == count) {
        return Arc::new([Arc::new(config.clone())]);
    }
    let one = |number| {
        let mut one = without_hosts(config);
        match hosts.get(number) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(number) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(number).or(ports.first()) {
            one.port(*port);
        }
        Arc::new(one)
    };
    (0..count).map(one).collect()
}

/// A configuration with all settings of another one, but for its hosts and ports.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(database) = config.get_dbname() {
        copy.dbname(database);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        copy.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs())
        .load_balance_hosts(config.get_load_balance_hosts());
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_the_settings_of_the_url() {
        let url = "postgres://me:secret@one:1,two:2/store?target_session_attrs=read-write&connect_timeout=3\
                   &application_name=a&options=-c%20a%3D1&keepalives_idle=7&keepalives_interval=8&keepalives_retries=9\
                   &tcp_user_timeout=4&sslmode=require&channel_binding=require&load_balance_hosts=random&sslnegotiation=direct&keepalives=0";
        let config: Config = url.parse().unwrap();
        let each = one_host_each(&config);
        assert_eq!(each.len(), 2);
        for (number, one) in each.iter().enumerate() {
            let place = ["one:1", "two:2"][number];
            assert_eq!(place_of(one), place);
            let alone = url.replace("one:1,two:2", place);
            assert_eq!(**one, alone.parse().unwrap(), "{place}");
        }
        assert_eq!(places_of(&config), "one:1,two:2");
    }

    #[test]
    fn a_port_is_that_of_all_hosts_and_a_single_host_stays_as_it_is() {
        let config: Config = "host=one,two port=7 dbname=store".parse().unwrap();
        assert_eq!(places_of(&config), "one:7,two:7");
        let single: Config = "postgres://one/store".parse().unwrap();
        assert_eq!(*one_host_each(&single)[0], single);
        assert_eq!(places_of(&single), "one:5432");
        assert_eq!(places_of(&Config::new()), "localhost:5432");
    }
}
