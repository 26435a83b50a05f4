//! The leases of elastic consumer groups. Each call is one statement, except an operator's change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::Connection;
use super::failure::backend;
use super::pool::Pool;
use super::row::get;
use crate::store::{GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
use crate::{Error, History, Json, Result};

const CREATE: &str = include_str!("sql/create_group.sql");
const GROUPS: &str = include_str!("sql/groups.sql");
const MEMBERS: &str = include_str!("sql/group_members.sql");
const SLOTS: &str = include_str!("sql/group_slots.sql");
const RENEW: &str = include_str!("sql/renew_member.sql");
const CLAIM: &str = include_str!("sql/claim_slots.sql");
const SAVE: &str = include_str!("sql/save_slots.sql");
const LEAVE: &str = include_str!("sql/leave_group.sql");
const LOCK: &str = include_str!("sql/lock_slots.sql");
const SET: &str = include_str!("sql/set_slots.sql");

/// The leases, over the connections of a pool.
#[derive(Debug)]
pub(super) struct PostgresLeases {
    pub(super) pool: Pool,
    /// The connection for heartbeats. The runtime that opens it is that of a keeper. If it ends, another keeper opens it
    /// again.
    pub(super) apart: Pool,
}

impl PostgresLeases {
    async fn query(
        &self,
        context: &'static str,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let query =
            async |connection: &mut Connection| connection.query(sql, parameters).await.map_err(backend(context));
        self.pool.with(query).await
    }

    async fn execute(
        &self,
        context: &'static str,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64> {
        let execute =
            async |connection: &mut Connection| connection.execute(sql, parameters).await.map_err(backend(context));
        self.pool.with(execute).await
    }
}

#[async_trait]
impl Leases for PostgresLeases {
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()> {
        let progress: Vec<Option<&str>> = progress.iter().map(Json::as_str).collect();
        self.execute("creating a group", CREATE, &[&group, &progress]).await.map(drop)
    }

    async fn groups(&self) -> Result<Vec<String>> {
        self.query("listing groups", GROUPS, &[]).await?.iter().map(|row| get(row, 0)).collect()
    }

    async fn group(&self, group: &str) -> Result<GroupRecord> {
        let members = self.query("reading a group", MEMBERS, &[&group]).await?;
        let members = members
            .iter()
            .map(|row| Ok(MemberRecord::new(get::<String>(row, 0)?, get(row, 1)?, duration(row, 2)?, get(row, 3)?)));
        let members = members.collect::<Result<_>>()?;
        let slots = self.query("reading a group", SLOTS, &[&group]).await?;
        Ok(GroupRecord::new(members, slots.iter().map(slot_in).collect::<Result<_>>()?))
    }

    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        let Membership { group, name, id } = member;
        let renewed =
            self.execute("renewing a lease", RENEW, &[group, name, id, &time.as_secs_f64(), &wants_slots]).await?;
        Ok(renewed > 0)
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        let (numbers, epochs): (Vec<i32>, Vec<i64>) =
            slots.iter().map(|slot| (i32::from(slot.number), slot.epoch)).unzip();
        let claimed = self.query("claiming slots", CLAIM, &[&member.group, &member.id, &numbers, &epochs]).await?;
        claimed.iter().map(slot_in).collect()
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
        let context = || backend("saving the progress of slots");
        let (numbers, epochs): (Vec<i32>, Vec<i64>) =
            saves.iter().map(|save| (i32::from(save.number), save.epoch)).unzip();
        let progress: Vec<Option<&str>> =
            saves.iter().map(|save| save.progress.as_ref().and_then(Json::as_str)).collect();
        let releases: Vec<bool> = saves.iter().map(|save| save.is_release).collect();
        let parameters: &[&(dyn ToSql + Sync)] = &[&member.group, &member.id, &numbers, &epochs, &progress, &releases];
        let save = async |connection: &mut Connection| {
            // A server cannot change its history without losing its connections.
            let is_same = history.is_none_or(|history| history == connection.history());
            if !is_same || !connection.begin_writing(None).await.map_err(context())? {
                return Err(Error::HistoryChanged { store: self.pool.place() });
            }
            let saved = connection.query(SAVE, parameters).await;
            connection.end_writing(saved.is_ok()).await.map_err(context())?;
            saved.map_err(context())
        };
        let saved = self.pool.with(save).await?;
        saved.iter().map(|row| Ok(number(get(row, 0)?))).collect()
    }

    async fn leave(&self, member: &Membership) -> Result<()> {
        self.execute("leaving a group", LEAVE, &[&member.group, &member.id]).await.map(drop)
    }

    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        let context = || backend("setting the progress of slots");
        let numbers: Vec<i32> = slots.iter().map(|(slot, _)| i32::from(slot.number)).collect();
        let progress: Vec<Option<&str>> = slots.iter().map(|(_, progress)| progress.as_str()).collect();
        let set = async |connection: &mut Connection| {
            let [lock, set] = connection.prepare_all([LOCK, SET]).await.map_err(context())?;
            let transaction = connection.transaction().await.map_err(context())?;
            let rows = lock.query(transaction.client(), &[&group]).await.map_err(context())?;
            let mut now = Vec::new();
            for row in &rows {
                now.push((number(get(row, 0)?), get::<i64>(row, 1)?, get::<i64>(row, 2)?));
            }
            let is_unchanged = slots.iter().all(|(slot, _)| now.contains(&(slot.number, slot.epoch, slot.saves)));
            if is_unchanged {
                set.execute(transaction.client(), &[&group, &numbers, &progress]).await.map_err(context())?;
            }
            transaction.commit().await.map_err(context())?;
            Ok(is_unchanged)
        };
        self.pool.with(set).await
    }

    async fn apart(&self) -> Result<Arc<dyn Leases>> {
        Ok(Arc::new(Self { pool: self.apart.clone(), apart: self.apart.clone() }))
    }
}

fn slot_in(row: &Row) -> Result<SlotRecord> {
    let mut slot = SlotRecord::new(number(get(row, 0)?), Json::from_database(get(row, 3)?));
    slot.owner = get(row, 1)?;
    slot.epoch = get(row, 2)?;
    slot.saves = get(row, 4)?;
    slot.owned_or_free_for = duration(row, 5)?;
    slot.saved_at = get(row, 6)?;
    Ok(slot)
}

fn number(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// A number of seconds. The clock may have been set back.
fn duration(row: &Row, column: usize) -> Result<Duration> {
    let seconds: f64 = get(row, column)?;
    Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|error| Error::backend("reading a group", false, error))
}
