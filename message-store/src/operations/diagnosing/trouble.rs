//! A trouble, and what mends it.

use std::fmt;

/// The kinds of troubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TroubleKind {
    /// The server does not wait for the disk.
    NotDurable,
    /// The schema is older than this library.
    SchemaToUpgrade,
    /// A role lacks a right, or has one too many.
    Rights,
    /// Another part of the schema is not as it should be.
    Schema,
    /// A transaction of another program holds a lock of the store, or keeps readers of all messages waiting.
    ForeignTransaction,
    /// The clocks of two machines differ.
    ClocksApart,
    /// A service has not reported for long.
    ServiceSilent,
    /// A service has ended with an error, and none of its name was started since then.
    ServiceFailed,
    /// A service says that it is not ready.
    ServiceNotReady,
    /// All connections of a service are in use, and callers wait for one.
    FullPool,
    /// A consumer finds messages, but gets no wake-up.
    NoWakeUps,
    /// A standby is to serve reads of categories, and none does.
    StandbyAway,
    /// The store has lost its latest messages, as a failover to a standby that was behind does.
    MessagesLost,
    /// A consumer has handled more than the store has.
    StoreBehind,
    /// A slot of an elastic group has no owner.
    UnownedSlot,
    /// A message has ended the process of its consumer more than once.
    PoisonLoop,
    /// A message cannot be decoded.
    Undecodable,
    /// Messages of an entity wait behind one that could not be handled.
    HeldEntity,
    /// Messages could not be handled.
    DeadLetters,
    /// An operator has paused a consumer.
    Paused,
    /// A consumer has messages before it, and saves no progress.
    ConsumerStandsStill,
    /// A timer is due, and has not fired.
    TimersNotFired,
    /// A read model has stopped at a message.
    ReadModelStopped,
}

impl TroubleKind {
    /// Its name for programs, such as `unowned-slot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotDurable => "not-durable",
            Self::SchemaToUpgrade => "schema-to-upgrade",
            Self::Rights => "rights",
            Self::Schema => "schema",
            Self::ForeignTransaction => "foreign-transaction",
            Self::ClocksApart => "clocks-apart",
            Self::ServiceSilent => "service-silent",
            Self::ServiceFailed => "service-failed",
            Self::ServiceNotReady => "service-not-ready",
            Self::FullPool => "full-pool",
            Self::NoWakeUps => "no-wake-ups",
            Self::StandbyAway => "standby-away",
            Self::MessagesLost => "messages-lost",
            Self::StoreBehind => "store-behind",
            Self::UnownedSlot => "unowned-slot",
            Self::PoisonLoop => "poison-loop",
            Self::Undecodable => "undecodable",
            Self::HeldEntity => "held-entity",
            Self::DeadLetters => "dead-letters",
            Self::Paused => "paused",
            Self::ConsumerStandsStill => "consumer-stands-still",
            Self::TimersNotFired => "timers-not-fired",
            Self::ReadModelStopped => "read-model-stopped",
        }
    }
}

/// Something that is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    #[allow(missing_docs)]
    pub kind: TroubleKind,
    /// What is wrong, and where.
    pub what: String,
    /// The command that mends it, or what to do.
    pub mend: String,
}

impl Trouble {
    /// A trouble of this kind.
    pub fn new(kind: TroubleKind, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { kind, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.kind.name(), self.what, self.mend)
    }
}
