//! Protections that a test can switch off, to show that the test notices.

/// A protection of a [`Consumer`](crate::consumer::Consumer) that a test switches off (`Consumer::plant`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub enum PlantedBug {
    /// Every event in the consumer's loop restarts the wait for the next read.
    WaitRestarted,
    /// A save of the position that is tried again has another message id.
    NewIdAtEachSave,
    /// Letters are not read before their messages are delivered.
    LettersUnread,
    /// Changes of letters after the start are not read.
    LettersReadAtTheStart,
    /// Every time-out counts as a fault of the store, and none as a fault of the message.
    EveryTimeOutPasses,
    /// After a crash, messages that may have caused it are handed out together.
    SuspectsTogether,
    /// The consumer does not check whether the store ends before the position.
    PositionUnchecked,
    /// The consumer does not check whether the store's history has changed.
    HistoryIgnored,
    /// Messages that other consumers of the process have under way are ignored.
    OtherConsumersUncounted,
    /// A member of a group reads the letters whose stream names it owns, instead of the letters of its own messages.
    LettersByName,
    /// Other messages begin before it is recorded that a message which was alone is handled.
    OthersBeginFirst,
    /// Letters are read before the position of the letter consumer is taken over.
    LettersReadFirst,
    /// A retry whose result could not be recorded counts as one that ended the process.
    UnrecordedIsCrash,
    /// A handler that asks for another delivery has failed finally.
    AgainIsFinal,
    /// The consumer reads the changes of letters only after wake-ups.
    OnlyWakeUps,
    /// A member of an elastic group writes letters without the fences of its slots.
    FencesLeftOut,
    /// The keeper of a lease is a task of the consumer's runtime.
    KeeperInRuntime,
    /// A member of an elastic group does not read the letters again when it has claimed slots.
    LettersNotReadOnClaim,
    /// A member of an elastic group releases slots while messages of them are under way.
    ReleasedWhileUnderWay,
    /// A member that has claimed slots does not resume the letters that the owner before left undone.
    LettersNotResumed,
    /// A checkpoint of letters is used at a position for which it lacks discarded letters.
    CheckpointsOfHigherPositions,
    /// A member of an elastic group that has claimed slots reads all letters, and not the changes of those that it
    /// knows.
    LettersReadOnClaim,
    /// A checkpoint of letters lists none.
    CheckpointsListNothing,
    /// A consumer reads no further while all messages that it has read wait.
    NotReadFurther,
    /// A position that was only taken over counts as the progress of its consumer.
    TakeOversCount,
    /// A consumer does not read whether an operator has paused it.
    PausesIgnored,
}
