//! The SQL of the reads. A scope (`sql/scope_*.sql`), a filter (`sql/passes.sql`) and a table are put into a frame.

/// The table of messages, with the archive, which inherits from it.
const WITH_ARCHIVE: &str = "message_store.messages";
/// The table of messages alone.
const WITHOUT_ARCHIVE: &str = "ONLY message_store.messages";

/// The plain and the weighed statement of a scope (see [`batch_read`](super::batch_read)).
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) plain: String,
    pub(super) weighed: String,
}

/// The statements of a scope that read the archive too, and those that do not.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) with_archive: Statements,
    pub(super) without_archive: Statements,
}

impl Both {
    pub(super) fn new(scope: &str) -> Self {
        let frames = [include_str!("sql/read.sql"), include_str!("sql/read_weighed.sql")];
        Self::of(frames.map(str::to_owned), scope)
    }

    pub(super) fn filtered(scope: &str) -> Self {
        let frames = [include_str!("sql/read_filtered.sql"), include_str!("sql/read_filtered_weighed.sql")];
        Self::of(frames.map(|frame| frame.replace("{passes}", include_str!("sql/passes.sql"))), scope)
    }

    fn of([plain, weighed]: [String; 2], scope: &str) -> Self {
        let of_table = |table: &str| {
            let in_frame = |frame: &str| frame.replace("{messages}", table).replace("{scope}", scope);
            Statements { plain: in_frame(&plain), weighed: in_frame(&weighed) }
        };
        Self { with_archive: of_table(WITH_ARCHIVE), without_archive: of_table(WITHOUT_ARCHIVE) }
    }

    pub(super) fn get(&self, with_archive: bool) -> &Statements {
        if with_archive { &self.with_archive } else { &self.without_archive }
    }
}
