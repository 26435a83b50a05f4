//! Reading.

use std::cmp::Ordering;

use message_store::store::Backlog;
use message_store::{
    Batch, Category, Error, GlobalPosition, Limits, Message, MessageStore as _, Position, Read, Result, StreamName,
    StreamRead,
};

use crate::record::{FOREIGN, Record, sequence};
use crate::store::JetstreamStore;

/// The messages of one step of a read backwards.
const STEP: usize = 100;

/// A message of a stream, and its place in the log.
#[derive(Clone, Copy, Debug)]
struct Found {
    position: i64,
    sequence: u64,
}

impl JetstreamStore {
    /// Messages of a subject, or of those that a wildcard matches, from a sequence number on; the sequence number of the last
    /// record that was read; and whether it was the last.
    pub(crate) async fn read_range(
        &self,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<Message>, Option<u64>, bool)> {
        let Limits { batch_messages, batch_bytes, .. } = *self.limits();
        let read = self.log.range(subject, from, limit.min(batch_messages), batch_bytes).await?;
        let (last, is_end) = (read.records.last().map(|last| last.sequence), read.is_end());
        self.see(last.unwrap_or_default());
        let messages = read.records.into_iter().map(|record| self.message_in(&record)).collect::<Result<_>>()?;
        Ok((messages, last, is_end))
    }

    /// The messages of a category behind a position. The server counts them.
    pub(crate) async fn backlog_of(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        let subject = self.log.subjects.category(category);
        let first = self.log.range(&subject, sequence(after.next()), 1, usize::MAX >> 33);
        let (first, last) = tokio::try_join!(first, self.log.last(&subject))?;
        let end = last.map_or(GlobalPosition::ZERO, |last| last.global_position());
        let oldest = first.records.first().map(|oldest| oldest.time);
        Ok(Backlog::new(first.records.len() as u64 + first.behind, oldest, end))
    }

    fn message_in(&self, record: &Record) -> Result<Message> {
        let stream = self.log.subjects.stream_of(&record.subject).ok_or_else(|| {
            let context = format!("reading the record {}", record.sequence);
            let reason = format!("its subject {} names no stream. {FOREIGN}", record.subject);
            Error::backend(context, false, reason)
        })?;
        record.message(stream)
    }

    /// Messages from a global position on, in batches of the server, until as many as the read wants were looked at.
    pub(crate) async fn read_matching(&self, subject: &str, read: &Read) -> Result<Batch> {
        let look_at = read.look_at().min(self.limits().batch_messages);
        let (mut passing, mut last, mut looked_at, mut bytes) = (Vec::new(), None, 0, 0);
        let mut from = sequence(read.from);
        while looked_at < look_at && bytes < self.limits().batch_bytes {
            let (messages, through, is_end) = self.read_range(subject, from, look_at - looked_at).await?;
            let Some(through) = through else { break };
            (from, last) = (through + 1, messages.last().map(|last| last.global_position));
            looked_at += messages.len();
            let found = messages.into_iter().filter(|message| read.filter.passes(message));
            passing.extend(found.inspect(|message| bytes += message.data.len() + message.metadata.len()));
            if is_end {
                break;
            }
        }
        Ok(Batch::of(passing, last, read).within(self.limits()))
    }

    /// Messages of a stream.
    pub(crate) async fn read_stream_range(
        &self,
        stream: &StreamName,
        read: &StreamRead,
    ) -> Result<(Vec<Message>, bool)> {
        let limit = read.limit.min(self.limits().batch_messages);
        if limit == 0 {
            return Ok((Vec::new(), false));
        }
        if read.backwards {
            self.backwards(stream, read.from, limit).await
        } else {
            self.forwards(stream, read.from, limit).await
        }
    }

    async fn forwards(
        &self,
        stream: &StreamName,
        from: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        let subject = self.log.subjects.stream(stream);
        let Some(mut from) = self.place_of(stream, &subject, from.unwrap_or(Position::FIRST)).await? else {
            return Ok((Vec::new(), true));
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < limit && bytes < self.limits().batch_bytes {
            let (messages, through, is_end) = self.read_range(&subject, from, limit - found.len()).await?;
            let Some(through) = through else { return Ok((self.limits().cut(found), true)) };
            from = through + 1;
            bytes += messages.iter().map(|message| message.data.len() + message.metadata.len()).sum::<usize>();
            for message in messages {
                check_follows(found.last(), &message)?;
                found.push(message);
            }
            if is_end {
                let count = found.len();
                let cut = self.limits().cut(found);
                let is_whole = cut.len() == count;
                return Ok((cut, is_whole));
            }
        }
        Ok((self.limits().cut(found), false))
    }

    async fn backwards(
        &self,
        stream: &StreamName,
        from: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        let subject = self.log.subjects.stream(stream);
        let Some(last) = self.log.last(&subject).await? else { return Ok((Vec::new(), true)) };
        let last = self.message_in(&last)?;
        let mut upper = from.map_or(last.position, |from| from.min(last.position)).get();
        let (mut found, mut bytes) = (Vec::new(), 0);
        if upper == last.position.get() {
            bytes += last.data.len() + last.metadata.len();
            found.push(last);
            upper -= 1;
        }
        while upper >= 0 && found.len() < limit && bytes < self.limits().batch_bytes {
            let step = STEP.min(limit - found.len());
            let lowest = (upper + 1 - i64::try_from(step).unwrap_or(i64::MAX)).max(0);
            let (messages, _) = self.forwards(stream, Some(Position::new(lowest)), step).await?;
            let mut messages: Vec<_> = messages.into_iter().filter(|message| message.position.get() <= upper).collect();
            // A batch of large messages ends before them; the rest is read forwards too.
            while messages.last().is_some_and(|last| last.position.get() < upper) {
                let next = messages.last().map(|last| last.position.next());
                let (more, is_end) = self.forwards(stream, next, step).await?;
                let is_done = more.is_empty() || is_end;
                messages.extend(more.into_iter().filter(|message| message.position.get() <= upper));
                if is_done {
                    break;
                }
            }
            bytes += messages.iter().map(|message| message.data.len() + message.metadata.len()).sum::<usize>();
            found.extend(messages.into_iter().rev());
            upper = lowest - 1;
        }
        found.truncate(limit);
        let found = self.limits().cut(found);
        let is_end = upper < 0 && found.last().is_none_or(|last| last.position == Position::FIRST);
        Ok((found, is_end))
    }

    /// The sequence number at or below which no message of the stream stands that is at this position or behind it. `None`
    /// if there is no such message.
    async fn place_of(&self, stream: &StreamName, subject: &str, position: Position) -> Result<Option<u64>> {
        let wanted = position.get();
        if wanted <= 0 {
            return Ok(Some(1));
        }
        let known = self.heads.known(stream);
        if let Some(head) = known.filter(|head| head.version.get() + 1 == wanted) {
            return Ok(Some(head.sequence + 1));
        }
        let Some(last) = self.log.last(subject).await? else { return Ok(None) };
        let mut high = Found { position: last.position()?.get(), sequence: last.sequence };
        if wanted > high.position {
            return Ok(None);
        }
        let mut low = Found { position: -1, sequence: 0 };
        let mut halves = false;
        // `low` is before the wanted message, and `high` is at it or behind it. No message stands between `high` and the
        // number to which it is set below.
        while high.position != wanted && high.sequence - low.sequence > 1 {
            let guess = if halves { u64::midpoint(low.sequence, high.sequence) } else { guess(low, high, wanted) };
            let guess = guess.clamp(low.sequence + 1, high.sequence - 1);
            halves = !halves;
            let Some(found) = self.log.next(subject, guess).await? else { break };
            let found = Found { position: found.position()?.get(), sequence: found.sequence };
            match found.position.cmp(&wanted) {
                Ordering::Less => low = found,
                Ordering::Equal => high = found,
                Ordering::Greater => high = Found { position: found.position, sequence: guess },
            }
        }
        Ok(Some(high.sequence))
    }
}

/// Refuses a message that stands twice in its stream, or out of order.
fn check_follows(earlier: Option<&Message>, message: &Message) -> Result<()> {
    match earlier.map(|earlier| earlier.position.next()) {
        Some(expected) if message.position != expected => {
            let context = format!("reading {} at global position {}", message.stream, message.global_position);
            let reason =
                format!("its message has the position {}, and {expected} follows. {FOREIGN}", message.position);
            Err(Error::backend(context, false, reason))
        }
        _ => Ok(()),
    }
}

/// Where the message would stand if the messages stood at equal distances.
fn guess(low: Found, high: Found, wanted: i64) -> u64 {
    let between = u128::from(high.sequence - low.sequence);
    let part = u128::try_from(wanted - low.position).unwrap_or_default();
    let of = u128::try_from(high.position - low.position).unwrap_or(1).max(1);
    low.sequence + u64::try_from(between * part / of).unwrap_or_default()
}
