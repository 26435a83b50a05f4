//! Opening a store: the server is tried, the log is created where it is missing, and checked.

use std::sync::Arc;

use async_nats::{Client, Event};
use message_store::store::WakeUps;
use message_store::{Error, Result, StoreId};
use serde::{Deserialize, Serialize};

use crate::attempts::attempts;
use crate::batch::Entry;
use crate::documents::{Change, WhenLost};
use crate::failure::Failure;
use crate::log::Log;
use crate::options::JetstreamOptions;
use crate::subjects::Subjects;

/// The first server that writes batches atomically. An earlier one does not know them, and writes a refused batch in part.
const LEAST_SERVER: (u64, u64) = (2, 12);
/// The form of the records that this version writes.
const FORM: u32 = 1;

/// The configuration of a log. What is not here has the server's default.
#[expect(clippy::struct_excessive_bools, reason = "the server names them")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Config {
    name: String,
    subjects: Vec<String>,
    storage: String,
    #[serde(rename = "num_replicas")]
    replicas: usize,
    retention: String,
    discard: String,
    /// In nanoseconds.
    duplicate_window: i64,
    #[serde(default)]
    allow_direct: bool,
    /// A server before 2.12 does not know it, and leaves it out of its answer.
    #[serde(default, rename = "allow_atomic")]
    allow_batches: bool,
    #[serde(default)]
    allow_rollup_hdrs: bool,
    #[serde(default)]
    allow_msg_ttl: bool,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default = "unlimited")]
    max_msgs: i64,
    #[serde(default = "unlimited")]
    max_bytes: i64,
    #[serde(default)]
    max_age: i64,
    #[serde(default = "unlimited")]
    max_msgs_per_subject: i64,
}

fn unlimited() -> i64 {
    -1
}

impl Config {
    fn of(options: &JetstreamOptions, subjects: &Subjects) -> Self {
        Self {
            name: options.log(),
            subjects: vec![subjects.all()],
            storage: "file".to_owned(),
            replicas: options.replicas,
            retention: "limits".to_owned(),
            discard: "new".to_owned(),
            // Ids are unique for ever: the server's own window is not used.
            duplicate_window: 100_000_000,
            allow_direct: true,
            allow_batches: true,
            allow_rollup_hdrs: true,
            allow_msg_ttl: true,
            deny_delete: true,
            max_msgs: unlimited(),
            max_bytes: unlimited(),
            max_age: 0,
            max_msgs_per_subject: unlimited(),
        }
    }

    /// What is wrong with the configuration that the server has, if anything is.
    fn fault(&self, wanted: &Self) -> Option<String> {
        if !self.allow_batches {
            return Some(
                "it does not allow atomic batches, so the server is older than 2.12, or another program made it"
                    .to_owned(),
            );
        }
        let adapted = Self {
            // What an operator may choose.
            max_bytes: self.max_bytes,
            replicas: self.replicas,
            duplicate_window: self.duplicate_window,
            ..wanted.clone()
        };
        (*self != adapted).then(|| format!("its configuration is {self:?}, and it must be {adapted:?}"))
    }
}

/// The document of the store itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    form: u32,
    pub(crate) id: StoreId,
}

/// A store that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) id: StoreId,
    pub(crate) wake_ups: Arc<WakeUps>,
    pub(crate) listener: async_nats::Subscriber,
}

/// Connects, and creates what is missing.
pub(crate) async fn open(options: &JetstreamOptions) -> Result<Opened> {
    let wake_ups = Arc::new(WakeUps::default());
    let client = connect(options, Arc::clone(&wake_ups)).await?;
    let version = client.server_info().version;
    if !is_supported(&version) {
        let what = format!("it as a store: its NATS server is {version}; atomic batches need 2.12 or later");
        return Err(Error::Unsupported { store: options.describe(), what });
    }
    let subjects = Subjects::new(&options.store);
    let config = configured(&client, options, &subjects).await?;
    let log = Log::new(client, &options.log(), subjects, config.replicas > 1);
    let listener = log.client().subscribe(log.subjects.wake_ups()).await;
    let listener = listener.map_err(|error| Error::backend("subscribing to wake-ups", true, error))?;
    try_batches(&log, options).await?;
    let id = identity(&log, options).await?;
    if !options.syncs_always {
        tracing::warn!(
            target: "message_store::jetstream",
            store = options.describe(),
            "acknowledged messages may be lost with the power: unless its servers have `sync_interval: always`, NATS writes \
             messages to the disk up to two minutes after it acknowledges them. Where they have, say sync=always in the URL"
        );
    }
    Ok(Opened { log, id, wake_ups, listener })
}

async fn connect(options: &JetstreamOptions, wake_ups: Arc<WakeUps>) -> Result<Client> {
    let events = move |event| {
        let wake_ups = Arc::clone(&wake_ups);
        async move {
            match event {
                // Wake-ups may have been lost.
                Event::Connected => wake_ups.wake_all(),
                event => tracing::info!(target: "message_store::jetstream", %event, "the connection to NATS"),
            }
        }
    };
    let connect = options.connect_options().await?.event_callback(events).connect(options.servers.clone());
    connect.await.map_err(|error| Error::backend(format!("connecting to {}", options.describe()), true, error))
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= LEAST_SERVER
}

/// The configuration of the log, which is created if it is missing.
async fn configured(client: &Client, options: &JetstreamOptions, subjects: &Subjects) -> Result<Config> {
    #[derive(Deserialize)]
    struct Info {
        config: Config,
    }
    let wanted = Config::of(options, subjects);
    let log = Log::new(client.clone(), &options.log(), subjects.clone(), false);
    let (info, create) = (format!("STREAM.INFO.{}", wanted.name), format!("STREAM.CREATE.{}", wanted.name));
    let read_or_create = || async {
        match log.call::<Info>(&info, &()).await {
            Err(Failure::Refused(error)) if error.is_no_log() && options.creates => {
                log.call::<Info>(&create, &wanted).await.map(Some)
            }
            Err(Failure::Refused(error)) if error.is_no_log() => Ok(None),
            result => result.map(Some),
        }
    };
    let context = format!("opening the log {} of {}", wanted.name, options.describe());
    let Some(Info { config: found }) = attempts!(&context, read_or_create()) else {
        let problem = format!("there is no log {}; `message-store migrate` makes it", wanted.name);
        return Err(Error::Schema { store: options.describe(), problem });
    };
    match found.fault(&wanted) {
        Some(problem) => {
            Err(Error::Schema { store: options.describe(), problem: format!("the log {}: {problem}", found.name) })
        }
        None => Ok(found),
    }
}

/// Tries whether a refused batch leaves nothing behind: a server may not do what its version says.
async fn try_batches(log: &Log, options: &JetstreamOptions) -> Result<()> {
    let subject = log.subjects.document("probe", &[&uuid::Uuid::new_v4().simple().to_string()]);
    let first = Entry::new(subject.clone(), "").for_seconds(60);
    let refused = Entry::new(subject.clone(), "").after(u64::MAX / 4).for_seconds(60);
    let batch = [first, refused];
    let is_refused = || async {
        match log.commit(&batch).await {
            Err(Failure::Refused(error)) if error.is_overtaken() => Ok(true),
            // A server that knows no batches does not name it in its answer.
            Err(Failure::NoAnswer(_)) if log.last(&subject).await.is_ok_and(|written| written.is_some()) => Ok(false),
            result => result.map(|_| false),
        }
    };
    let is_refused = attempts!("trying an atomic batch", is_refused());
    if is_refused && log.last(&subject).await?.is_none() {
        return Ok(());
    }
    let what = "it as a store: its NATS server wrote a batch that it had to refuse".to_owned();
    Err(Error::Unsupported { store: options.describe(), what })
}

fn identity_of(log: &Log) -> String {
    log.subjects.document("store", &["identity"])
}

/// The identity of the store, which it gets when it is opened first.
async fn identity(log: &Log, options: &JetstreamOptions) -> Result<StoreId> {
    let mut change = Change::new("giving the store its identity", WhenLost::Again);
    let Identity { form, id } = loop {
        let document = log.document::<Identity>(identity_of(log)).await?;
        if let Some(identity) = document.content {
            break identity;
        }
        // The next attempt finds it, whoever came first.
        let identity = Identity { form: FORM, id: StoreId::new() };
        change.is_done(log, &[document.replaced_by(&identity)?]).await?;
    };
    if form != FORM {
        let problem = format!("the log has records of form {form}, and this version knows form {FORM}");
        return Err(Error::Schema { store: options.describe(), problem });
    }
    Ok(id)
}

/// Gives the store a new identity.
pub(crate) async fn rotate(log: &Log) -> Result<StoreId> {
    let identity = Identity { form: FORM, id: StoreId::new() };
    let mut change = Change::new("giving the store another identity", WhenLost::Again);
    loop {
        let document = log.document::<Identity>(identity_of(log)).await?;
        if change.is_done(log, &[document.replaced_by(&identity)?]).await? {
            return Ok(identity.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_from_2_12_on_is_supported() {
        for version in ["2.12.0", "2.12.8", "2.15.1", "3.0.0-beta.1", "2.13.0-RC.1"] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["2.11.99", "2.9.10", "1.4.0", "", "new"] {
            assert!(!is_supported(version), "{version}");
        }
    }
}
