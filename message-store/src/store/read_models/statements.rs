//! The statements on the tables of positions, in the words of a backend.

/// The statements of one backend. Their parameters are `$1`, `$2`, ….
#[derive(Debug)]
pub struct Statements {
    pub(super) versions: String,
    pub(super) lock_versions: String,
    pub(super) lock_position: String,
    pub(super) add_position: String,
    pub(super) add_version: String,
    pub(super) save_position: String,
    pub(super) set_state: String,
    pub(super) replace_state: String,
    pub(super) hold_effects: String,
    pub(super) set_failure: String,
    pub(super) add_skipped: String,
    pub(super) skipped: String,
    pub(super) forget_skipped: String,
}

impl Statements {
    /// `schema` is before the name of each table, `for_update` locks rows, and `skipped_at` is a time in microseconds.
    #[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code))]
    pub(crate) fn new(schema: &str, for_update: &str, skipped_at: &str) -> Self {
        let fill = |sql: &str| {
            let sql = sql.replace("{schema}", schema).replace("{for_update}", for_update);
            sql.replace("{skipped_at}", skipped_at)
        };
        Self {
            versions: fill(include_str!("sql/versions.sql")),
            lock_versions: fill(include_str!("sql/lock_versions.sql")),
            lock_position: fill(include_str!("sql/lock_position.sql")),
            add_position: fill(include_str!("sql/add_position.sql")),
            add_version: fill(include_str!("sql/add_version.sql")),
            save_position: fill(include_str!("sql/save_position.sql")),
            set_state: fill(include_str!("sql/set_state.sql")),
            replace_state: fill(include_str!("sql/replace_state.sql")),
            hold_effects: fill(include_str!("sql/hold_effects.sql")),
            set_failure: fill(include_str!("sql/set_failure.sql")),
            add_skipped: fill(include_str!("sql/add_skipped.sql")),
            skipped: fill(include_str!("sql/skipped.sql")),
            forget_skipped: fill(include_str!("sql/forget_skipped.sql")),
        }
    }

    /// The statements of every batch, which a backend prepares before the transaction.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    pub(crate) fn of_each_batch(&self) -> [&str; 3] {
        [&self.lock_position, &self.versions, &self.save_position]
    }
}
