//! The positions of read models that this process has moved: they tell a caller that waits for one.
//!
//! Problem: a caller that waits for a read model must poll, or learn that it has moved. Fix: what moves a position tells
//! it here, after the commit. Why it is right: it only saves time, because the caller reads the position itself. So
//! another process that moves the read model costs a poll, and no wrong answer.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::GlobalPosition;

/// The positions that this process has moved, by the names of the read models.
#[derive(Clone, Debug, Default)]
pub struct Moved(watch::Sender<HashMap<String, GlobalPosition>>);

impl Moved {
    /// For backends: a read model has moved to this position.
    pub fn to(&self, name: &str, position: GlobalPosition) {
        self.0.send_modify(|moved| match moved.get_mut(name) {
            Some(known) => *known = position,
            None => {
                moved.insert(name.to_owned(), position);
            }
        });
    }

    /// Waits until this process has moved the read model to this position, or until the deadline.
    pub async fn reaches(&self, name: &str, position: GlobalPosition, deadline: Instant) {
        let mut moved = self.0.subscribe();
        let reached = moved.wait_for(|moved| moved.get(name).is_some_and(|known| *known >= position));
        let _ = timeout_at(deadline, reached).await;
    }
}
