//! Protections switched off, one at a time, so that a test can show that it would notice.

/// A protection of a [`Consumer`](crate::consumer::Consumer) to be switched off. For tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub enum PlantedBug {
    /// Whatever else the consumer does, the wait for the next look begins anew.
    WaitBegunAnew,
    /// A save of the position that is tried again has another message id.
    NewIdAtEachSave,
    /// Letters are not looked at before their messages are delivered.
    LettersUnread,
    /// What becomes of letters after the start is not learned.
    LettersReadAtTheStart,
    /// Every time-out passes with the store, and none is the message's.
    EveryTimeOutPasses,
    /// After a crash, messages that may have caused it are handed out together.
    SuspectsTogether,
    /// Whether the store ends before the position is not asked.
    PositionUnchecked,
    /// Whether the store has another history than before is not asked.
    HistoryIgnored,
    /// What another consumer of the process has under way does not count.
    OtherConsumersUncounted,
    /// The letters of a group are read by the member that their names belong to.
    LettersByName,
    /// Others begin before it is on record that a message which was alone is done.
    OthersBeginFirst,
    /// Letters are read before the position among them is taken over.
    LettersReadFirst,
    /// A retry whose end could not be recorded counts as one that ended the process.
    UnsaidIsCrash,
    /// What became of letters in another process is learned by wake-ups, and at no other time.
    WakeUpsAlone,
}
