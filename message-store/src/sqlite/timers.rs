//! Timers. The writer's thread changes and fires them.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use super::SqliteStore;
use super::timer_changes::timer_in;
use crate::store::{Due, Timer, TimerChange, TimerChanged, TimerQuery, Timers};
use crate::{Category, MessageStore as _, Result};

#[async_trait]
impl Timers for SqliteStore {
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        changes.iter().try_for_each(|change| change.check(self.limits()))?;
        self.writer.change_timers(changes).await
    }

    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>> {
        let list = move |connection: &Connection| {
            let TimerQuery { due_within, category, after, limit } = query;
            let now = Timestamp::now();
            let until = due_within.map_or(i64::MAX, |time| Due::After(time).at(now).as_microsecond());
            let (due, key) = after.map_or((i64::MIN, None), |(due, key)| (due.as_microsecond(), Some(key)));
            let (stream, name) = key.as_ref().map_or(("", ""), |key| (key.stream.as_str(), &key.name));
            let category = category.as_ref().map(Category::as_str);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(include_str!("sql/timers.sql"))?;
            let parameters = (until, due, stream, name, category, limit);
            statement.query_map(parameters, |row| timer_in(row, now.as_microsecond()))?.collect()
        };
        self.readers.read("listing timers", list).await
    }

    async fn fire(&self, timers: &[Timer]) -> Result<usize> {
        self.writer.fire_timers(timers.to_vec()).await
    }
}
