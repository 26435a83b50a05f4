//! The options of a store.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::config::{Config, TargetSessionAttrs};

use super::PlantedBug;
use super::connections::{self, Connections};
use super::hosts::{self, Connected, Hosts};
use super::prepared::ParameterTypes;
use super::tls::{self, Parameters, Tls};
use crate::planted::Planted;
use crate::{Error, Limits, Result};

/// The default time within which the server must answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// The driver's default time before it probes an idle connection, which is too long to notice a lost host.
const DRIVER_KEEPALIVE: Duration = Duration::from_hours(2);

/// A setting that only this library makes. No server knows it, so it has no effect. If it does not arrive, a pooler is
/// between (see [`super::pooler`]).
const SESSION: &str = "message_store.session";

/// What is read from a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartOfStandby {
    None,
    Categories,
    /// The connections are those to the standby.
    All,
}

/// The options of a [`PostgresStore`](super::PostgresStore).
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    /// As the URL names it, without the settings.
    base: Config,
    /// The number of the host that served last.
    last_host: Arc<AtomicUsize>,
    /// The parameters that each session begins with.
    settings: Vec<(&'static str, String)>,
    /// Whether a pooler is between. `None`: the store finds out when it is opened.
    pub(super) pooler: Option<bool>,
    pub(super) parameter_types: Arc<ParameterTypes>,
    pub(super) tls: Tls,
    pub(super) connections: Connections,
    pub(super) limits: Limits,
    pub(super) notifies: bool,
    pub(super) answer_within: Duration,
    part_of_standby: PartOfStandby,
    /// A missing schema is created.
    pub(super) creates: bool,
    pub(super) planted: Planted<PlantedBug>,
}

impl PostgresOptions {
    /// The options in a `postgres://` URL, and defaults for the others.
    ///
    /// `sslmode` and `sslrootcert` have the meaning that they have to libpq. Without `sslmode`, a local host is not
    /// encrypted, and any other host must have a certificate for its name, of an authority that the system or
    /// `sslrootcert` trusts (`verify-full`). That needs the feature `tls`. Without the feature, connections are not
    /// encrypted, and a distant host is reached with a warning.
    ///
    /// `connections` is the greatest number of connections ([`connections`](Self::connections)). `pooler` says whether a
    /// pooler that hands out transactions is between: `transaction` or `none` ([`pooler`](Self::pooler)).
    /// `category_reads=standby` lets a standby serve reads of categories
    /// ([`read_categories_from_standby`](Self::read_categories_from_standby)).
    ///
    /// With several hosts, set `target_session_attrs=read-write`: connections lead to the primary. A primary in whose place a
    /// standby was promoted is not used again until the store is opened again.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the URL cannot be read.
    pub fn from_url(url: &str) -> Result<Self> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::invalid(
                "store URL",
                "it must begin with postgres://, as in postgres://user@host/database",
            ));
        }
        let (url, parameters) = Parameters::take_from(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::invalid("store URL", source)
        })?;
        if config.get_application_name().is_none() {
            config.application_name("message-store");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        probe_often(&mut config);
        let tls = parameters.apply(&mut config)?;
        let mut options = Self {
            base: config,
            last_host: Arc::default(),
            settings: Vec::new(),
            pooler: parameters.pooler,
            parameter_types: Arc::default(),
            tls,
            connections: Connections::divided(parameters.connections.unwrap_or(connections::DEFAULT)),
            limits: Limits::default(),
            notifies: true,
            answer_within: ANSWER_WITHIN,
            part_of_standby: PartOfStandby::None,
            creates: true,
            planted: Planted::NONE,
        };
        // A version check must see all committed messages, and therefore needs a new snapshot for each statement.
        options.set("default_transaction_isolation", "read committed");
        // The start of a parallel worker costs more than the read of a batch.
        options.set("max_parallel_workers_per_gather", "0");
        options.set(SESSION, "on");
        Ok(options.read_categories_from_standby(parameters.reads_categories_from_standby))
    }

    /// Sets the greatest number of connections of an open store (10, at least 3). The parameter `connections` of a URL
    /// does the same.
    ///
    /// About half of them read. The others append, one listens for wake-ups, and one renews the leases of elastic groups.
    /// A connection is opened when it is needed. With 3, none listens, and readers in this process find the messages of
    /// other processes by polling; with fewer than 6, a member of an elastic group opens one more. A call that is given up
    /// is cancelled over a connection that exists for that moment.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = Connections::divided(connections);
        self
    }

    /// Sets whether a pooler that hands out transactions, such as `PgBouncer`, is between this process and the server. The
    /// parameter `pooler` of a URL (`transaction` or `none`) does the same. By default, the store finds out when it is
    /// opened: parameters of a session that it asks for do not arrive.
    ///
    /// Behind a pooler, statements are not prepared, readers in this process find the messages of other processes by
    /// polling, an append takes three round trips, and the plans and time limits are those of the server's settings.
    pub fn pooler(mut self, is_between: bool) -> Self {
        self.pooler = Some(is_between);
        self
    }

    /// Sets the number of connections that read.
    #[cfg(feature = "testing")]
    pub fn reading_connections(mut self, connections: usize) -> Self {
        self.connections.reads = connections.max(1);
        self
    }

    /// Sets the limits of messages and batches.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets whether appends wake readers in other processes. Default: yes. Without it, these readers poll.
    pub fn notifications(mut self, on: bool) -> Self {
        self.notifies = on;
        self
    }

    /// Sets the time within which the server must answer (25 s, at least 100 ms). The server ends a statement at four
    /// fifths of this time, with the error [`TimedOut`](Error::TimedOut), unless the URL sets another
    /// `statement_timeout`. If no answer has arrived at the limit, the connection counts as lost. A statement of a
    /// read model has the same limit.
    pub fn answer_within(mut self, time: Duration) -> Self {
        self.answer_within = time.max(Duration::from_millis(100));
        self
    }

    /// Sets whether a standby among the hosts of the URL serves reads of categories. Default: no. The standby gives what it
    /// has, and the primary the rest: no reader sees a difference, but for the data of erased messages, which a standby has
    /// until it has carried out the erasure. While no standby serves, the primary gives all. The store then has up to four
    /// connections more, to the standby.
    pub fn read_categories_from_standby(mut self, on: bool) -> Self {
        self.part_of_standby = if on { PartOfStandby::Categories } else { PartOfStandby::None };
        self
    }

    /// Opens only a store that exists. By default, a missing schema is created.
    pub fn existing(mut self) -> Self {
        self.creates = false;
        self
    }

    /// Switches off a protection.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.planted = Planted::one(bug);
        self
    }

    /// The parameters of a connection. A pooler takes no settings.
    pub(super) fn config(&self) -> Config {
        let mut config = self.base.clone();
        if !self.is_behind_pooler() {
            let settings =
                self.settings.iter().map(|(name, value)| format!(" -c {name}={}", value.replace(' ', "\\ ")));
            config.options(self.base.get_options().unwrap_or_default().to_owned() + &settings.collect::<String>());
        }
        config
    }

    pub(super) fn is_behind_pooler(&self) -> bool {
        self.pooler == Some(true)
    }

    /// Whether no host is reached over a network.
    pub(super) fn is_local(&self) -> bool {
        tls::is_all_local(&self.base)
    }

    /// Opens a connection outside the pools. It is closed when it is dropped.
    pub(super) async fn connect(&self) -> Result<Client> {
        let connected = self.hosts().connect().await;
        let connected = connected.map_err(|error| error.at_first(format!("connecting to {}", self.place())))?;
        let Connected { client, messages, .. } = connected;
        tokio::spawn(async move {
            if let Err(error) = tls::drive(messages).await {
                tracing::debug!(target: "message_store::postgres", error = crate::chain(&error), "a connection ended");
            }
        });
        Ok(client)
    }

    /// The hosts, with the parameters of a connection.
    pub(super) fn hosts(&self) -> Hosts {
        let hosts = Hosts::of(&self.config(), &self.tls, self.answer_within, &self.last_host);
        if self.is_of_standby() { hosts.of_standby() } else { hosts }
    }

    /// The options of connections to a standby.
    pub(super) fn of_standby(mut self) -> Self {
        self.base.target_session_attrs(TargetSessionAttrs::Any);
        self.last_host = Arc::default();
        self.part_of_standby = PartOfStandby::All;
        self
    }

    /// Whether these are the options of connections to a standby.
    pub(super) fn is_of_standby(&self) -> bool {
        self.part_of_standby == PartOfStandby::All
    }

    /// Whether the store reads categories from a standby.
    pub(super) fn reads_categories_from_standby(&self) -> bool {
        self.part_of_standby == PartOfStandby::Categories
    }

    /// Makes sure that the primary is told from its standbys, if categories are read from a standby.
    pub(super) fn tell_primary_from_standby(&mut self) -> Result<()> {
        if !self.reads_categories_from_standby() {
            return Ok(());
        }
        if self.base.get_hosts().len().max(self.base.get_hostaddrs().len()) < 2 {
            let reason = "with category_reads=standby, it must name the hosts of the primary and of its standby";
            return Err(Error::invalid("store URL", reason));
        }
        self.base.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(())
    }

    /// The hosts, ports and database, without user and password.
    pub(super) fn place(&self) -> String {
        format!("postgres://{}/{}", hosts::places_of(&self.base), self.base.get_dbname().unwrap_or_default())
    }

    pub(super) fn answer_limit(&self) -> Option<Duration> {
        (!self.planted.is(PlantedBug::SilenceIsWaitedOut)).then_some(self.answer_within)
    }

    /// The server's limits for all sessions: it ends a statement before this process takes it for lost, and notices
    /// when this process is lost.
    pub(super) fn with_time_limits(mut self) -> Self {
        let is_set = |parameter| self.base.get_options().is_some_and(|options| options.contains(parameter));
        let statement = (!is_set("statement_timeout")).then(|| (self.answer_within * 4 / 5).as_millis().to_string());
        if let Some(limit) = statement {
            self.set("statement_timeout", &limit);
        }
        for (parameter, value) in
            [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")]
        {
            self.set(parameter, value);
        }
        self
    }

    /// Settings for sessions that only append.
    pub(super) fn for_appends(mut self) -> Self {
        self.set("plan_cache_mode", "force_generic_plan");
        for off in ["enable_hashjoin", "enable_mergejoin"] {
            self.set(off, "off");
        }
        self
    }

    /// Settings for all sessions. A plan that is made while the table is small is kept while it grows, so it must not be
    /// one that reads the whole table, or a whole category. The statements of a read model are planned without these
    /// settings (`lock_read_model.sql`). JIT is off because a plan that cannot do without a setting seems expensive, and
    /// would be compiled.
    pub(super) fn with_indexes_only(mut self) -> Self {
        if !self.planted.is(PlantedBug::ReadsPlanFreely) {
            for off in ["enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"] {
                self.set(off, "off");
            }
        }
        self
    }

    /// Sets a parameter of the server for every session.
    pub(super) fn set(&mut self, parameter: &'static str, value: &str) {
        self.settings.push((parameter, value.to_owned()));
    }
}

/// Makes TCP notice within half a minute that the server's host is lost, unless the URL says otherwise.
fn probe_often(config: &mut Config) {
    if config.get_keepalives_idle() == DRIVER_KEEPALIVE {
        config.keepalives_idle(Duration::from_secs(10));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(5));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(20));
    }
}
