//! Archiving: it moves old messages of a category to the store's archive, if everything that reads the category has
//! handled them.
//!
//! A consumer that is behind would find its messages in the archive, so nothing would be lost. The check is there
//! because a message that waits for its consumer is not old: it is needed, and reads of the archive are slower.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use crate::consumer::{DeadLetters, LetterQuery, MoveTo, Positions, SavedPosition};
use crate::store::{Archive, ArchiveRun};
use crate::{Category, Error, GlobalPosition, MessageRef, MessageStore, Result, StreamName};

/// The default number of messages that one transaction moves.
const PART: u32 = 1_000;

/// Moves the messages of a category that are older than a time to the archive of the store.
///
/// The last message of each stream stays where it is. Archived messages keep their ids and positions, and every read
/// finds them, unless it [leaves them out](crate::Read::without_archive).
///
/// ```
/// use message_store::{Timestamp, connect};
/// use message_store::operations::Archiving;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let before: Timestamp = "2026-01-01T00:00:00Z".parse()?;
/// let archiving = Archiving::of(&store, "account", before)?;
/// for behind in archiving.plan().await?.behind {
///     println!("not yet: {behind}");
/// }
/// let moved = archiving.run(|progress| println!("{progress}")).await?;
/// # assert_eq!(moved, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Archiving {
    store: Arc<dyn MessageStore>,
    category: Category,
    before: Timestamp,
    left_out: BTreeSet<String>,
    part: u32,
}

/// What may be archived, and what prevents it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArchivePlan {
    #[allow(missing_docs)]
    pub category: Category,
    /// The messages up to this global position are older than the time. 0 if there are none.
    pub through: GlobalPosition,
    /// What has not handled all of them. If it is empty, they may be archived.
    pub behind: Vec<Behind>,
    /// A run that was begun before and has not ended. The next run goes on with it first.
    pub unfinished: Option<ArchiveRun>,
}

/// A reader of a category that has not handled all messages that are to be archived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behind {
    /// A consumer, a member of a group or an elastic group.
    Consumer {
        /// The stream of its position.
        stream: StreamName,
        /// All messages up to this global position are handled.
        position: GlobalPosition,
    },
    /// Messages that a consumer has set aside and that are not handled yet.
    Letters {
        /// The stream of the consumer's position.
        stream: StreamName,
        /// The number of the letters that are open.
        open: u64,
        /// The first message among them.
        first: MessageRef,
    },
    /// A read model. It may read another category: the store does not know that.
    ReadModel {
        #[allow(missing_docs)]
        name: String,
        /// All messages up to this global position are applied.
        position: GlobalPosition,
    },
}

impl Archiving {
    /// Archives messages of this category that were written before this time, by the database's clock.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid category, [`Error::Unsupported`] for a store without an archive.
    pub fn of(store: &Arc<dyn MessageStore>, category: &str, before: Timestamp) -> Result<Self> {
        archive_of(&**store)?;
        let (store, category) = (Arc::clone(store), Category::new(category)?);
        Ok(Self { store, category, before, left_out: BTreeSet::new(), part: PART })
    }

    /// Leaves a consumer or a read model out of account, because it no longer exists, or because it reads another
    /// category. A consumer is named by the stream of its position, such as `account:command+position`.
    #[must_use]
    pub fn leave_out(mut self, name: impl Into<String>) -> Self {
        self.left_out.insert(name.into());
        self
    }

    /// Sets the number of messages at which one transaction looks. Default: 1,000.
    #[must_use]
    pub fn part(mut self, messages: u32) -> Self {
        self.part = messages.max(1);
        self
    }

    /// Finds out what may be archived, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the time is in the future, or nothing has a name that is left out; the store's errors.
    pub async fn plan(&self) -> Result<ArchivePlan> {
        let now = self.store.now().await?;
        if self.before > now {
            let reason = format!("{} is in the future: the database's clock shows {now}", self.before);
            return Err(Error::invalid("time of the archive", reason));
        }
        let positions = Positions::of(&self.store, self.category.as_str())?;
        let through = positions.resolve(MoveTo::Time(self.before)).await?;
        let mut unknown = self.left_out.clone();
        let mut is_left_out = |name: &str| {
            unknown.remove(name);
            self.left_out.contains(name)
        };
        let mut behind = Vec::new();
        let mut consumers = positions.list().await?;
        consumers.retain(|saved| !is_left_out(saved.stream.as_str()));
        for SavedPosition { stream, position, .. } in consumers.iter().filter(|saved| saved.position < through) {
            behind.push(Behind::Consumer { stream: stream.clone(), position: *position });
        }
        behind.extend(self.letters(&consumers, through).await?);
        if let Some(read_models) = self.store.read_models() {
            for (name, position) in read_models.positions().await? {
                if !is_left_out(&name) && position < through {
                    behind.push(Behind::ReadModel { name, position });
                }
            }
        }
        if let Some(name) = unknown.first() {
            let reason = format!("no consumer of {} and no read model is named {name:?}", self.category);
            return Err(Error::invalid("archive", reason));
        }
        let unfinished = archive_of(&*self.store)?.runs().await?;
        let unfinished = unfinished.into_iter().find(|run| run.ended_at.is_none() && run.category == self.category);
        Ok(ArchivePlan { category: self.category.clone(), through, behind, unfinished })
    }

    /// The open letters of these consumers. The members of a group share their letters.
    async fn letters(&self, consumers: &[SavedPosition], through: GlobalPosition) -> Result<Vec<Behind>> {
        let (mut behind, mut identifiers) = (Vec::new(), BTreeSet::new());
        for SavedPosition { identifier, stream, .. } in consumers {
            if !identifiers.insert(identifier.clone()) {
                continue;
            }
            let letters = DeadLetters::of(&self.store, self.category.as_str(), identifier.as_deref())?;
            let query = LetterQuery::default();
            let mut open = std::pin::pin!(letters.select(&query));
            let mut found: Option<(u64, MessageRef)> = None;
            while let Some(letter) = open.try_next().await? {
                if letter.message.global_position <= through {
                    let (count, first) = found.take().unwrap_or((0, letter.message));
                    found = Some((count + 1, first));
                }
            }
            behind.extend(found.map(|(open, first)| Behind::Letters { stream: stream.clone(), open, first }));
        }
        Ok(behind)
    }

    /// Moves the messages, a part at a time, and calls `progress` after each part. Returns the number of moved messages.
    /// If a run was begun before and has not ended, this goes on with it first. If this ends half way, run it again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a consumer or a read model is behind; as [`Archiving::plan`].
    pub async fn run(&self, mut progress: impl FnMut(&ArchiveRun)) -> Result<u64> {
        let archive = archive_of(&*self.store)?;
        let mut moved = 0;
        loop {
            let plan = self.plan().await?;
            if let Some(unfinished) = plan.unfinished {
                moved += self.finish(archive, unfinished, &mut progress).await?;
                continue;
            }
            plan.assert_handled()?;
            if plan.through == GlobalPosition::ZERO {
                return Ok(moved);
            }
            let run = archive.begin(&self.category, plan.through).await?;
            let is_own = run.through == plan.through;
            moved += self.finish(archive, run, &mut progress).await?;
            if is_own {
                return Ok(moved);
            }
        }
    }

    /// Carries a run out to its end. Returns the number of messages that were moved meanwhile.
    async fn finish(
        &self,
        archive: &dyn Archive,
        mut run: ArchiveRun,
        progress: &mut impl FnMut(&ArchiveRun),
    ) -> Result<u64> {
        let before = run.moved;
        while run.ended_at.is_none() {
            run = archive.move_part(&run, self.part).await?;
            tracing::info!(target: "message_store::operations", "{run}");
            progress(&run);
        }
        Ok(run.moved - before)
    }
}

impl ArchivePlan {
    fn assert_handled(&self) -> Result<()> {
        if self.behind.is_empty() {
            return Ok(());
        }
        let behind: Vec<String> = self.behind.iter().map(Behind::to_string).collect();
        let reason = format!(
            "messages of {} up to {} are not handled yet: {}. Wait until they are, or leave out what no longer exists",
            self.category,
            self.through,
            behind.join("; ")
        );
        Err(Error::invalid("archive", reason))
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consumer { stream, position } => write!(f, "the consumer of {stream} is at {position}"),
            Self::Letters { stream, open, first } => {
                write!(f, "the consumer of {stream} has {open} open dead letters, of {first} and later messages")
            }
            Self::ReadModel { name, position } => write!(f, "the read model {name} is at {position}"),
        }
    }
}

fn archive_of(store: &dyn MessageStore) -> Result<&dyn Archive> {
    store.archive().ok_or_else(|| Error::Unsupported { store: store.describe(), what: "an archive".to_owned() })
}
