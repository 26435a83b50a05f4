//! The SQL of the reads. A scope (`sql/scope_*.sql`) and a filter (`sql/passes.sql`) are put into a frame.

/// The plain and the weighed statement of a scope (see [`batch_read`](super::batch_read)).
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) plain: String,
    pub(super) weighed: String,
}

impl Statements {
    pub(super) fn new(scope: &str) -> Self {
        let in_frame = |frame: &str| frame.replace("{scope}", scope);
        let (plain, weighed) = (include_str!("sql/read.sql"), include_str!("sql/read_weighed.sql"));
        Self { plain: in_frame(plain), weighed: in_frame(weighed) }
    }

    pub(super) fn filtered(scope: &str) -> Self {
        let in_frame =
            |frame: &str| frame.replace("{passes}", include_str!("sql/passes.sql")).replace("{scope}", scope);
        let (plain, weighed) = (include_str!("sql/read_filtered.sql"), include_str!("sql/read_filtered_weighed.sql"));
        Self { plain: in_frame(plain), weighed: in_frame(weighed) }
    }
}
