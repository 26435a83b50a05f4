//! Snapshots: documents that are removed together. A large snapshot is divided among several, which are written in one batch.

use async_trait::async_trait;
use message_store::store::{Snapshot, SnapshotKey, Snapshots};
use message_store::{Error, History, MessageStore as _, Position, Result, StreamName, Uuid};
use serde::{Deserialize, Serialize};

use crate::batch::MAX_RECORDS;
use crate::documents::{Change, Document, WhenLost};
use crate::store::JetstreamStore;

const SNAPSHOT: &str = "snapshot";
/// The releases of a program whose snapshots stay.
const RELEASES: usize = 2;
/// The seconds after which the server forgets a snapshot.
const KEPT_FOR: u64 = 30 * 24 * 3600;

/// A part of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    /// The same for all parts of one snapshot.
    save: Uuid,
    parts: usize,
    position: Position,
    text: String,
}

#[async_trait]
impl Snapshots for JetstreamStore {
    async fn load(&self, key: &SnapshotKey) -> Result<Option<Snapshot>> {
        let Some(first) = self.log.document::<Part>(self.part(key, 0)).await?.content else { return Ok(None) };
        let rest = self.log.documents::<Part>((1..first.parts).map(|number| self.part(key, number))).await?;
        let mut content = first.text;
        for part in rest {
            // It is being replaced. A snapshot that is lost costs a read of the stream.
            let Some(part) = part.content.filter(|part| part.save == first.save) else { return Ok(None) };
            content.push_str(&part.text);
        }
        Ok(Some(Snapshot { position: first.position, content }))
    }

    async fn save(&self, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
        if history != self.history() {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        let texts = self.divided(&snapshot.content);
        if texts.len() > MAX_RECORDS {
            tracing::debug!(target: "message_store::jetstream", stream = %key.stream, "a snapshot is too large to be kept");
            return self.remove(&key.stream).await;
        }
        let (save, position, parts) = (Uuid::new_v4(), snapshot.position, texts.len());
        let mut change = Change::new("saving a snapshot", WhenLost::Again);
        loop {
            let subjects = (0..parts).map(|number| self.part(key, number));
            let documents = self.log.documents::<Part>(subjects).await?;
            let entries = documents.iter().zip(&texts).map(|(document, text)| {
                let part = Part { save, parts, position, text: (*text).to_owned() };
                document.replaced_by(&part).map(|entry| entry.for_seconds(KEPT_FOR))
            });
            if change.is_done(&self.log, &entries.collect::<Result<Vec<_>>>()?).await? {
                break;
            }
        }
        self.remove_earlier(key).await
    }

    async fn remove(&self, stream: &StreamName) -> Result<()> {
        let last = self.log.state().await?.last;
        self.log.purge(&self.log.subjects.documents(SNAPSHOT, &[stream.as_str()]), last + 1).await
    }
}

impl JetstreamStore {
    fn part(&self, SnapshotKey { stream, projection, fingerprint }: &SnapshotKey, number: usize) -> String {
        self.log.subjects.document(SNAPSHOT, &[stream.as_str(), projection, fingerprint, &number.to_string()])
    }

    /// The content, in parts that fit into a record. As JSON, a character can be six times as long.
    fn divided<'a>(&self, content: &'a str) -> Vec<&'a str> {
        let size = (self.max_payload() / 8).max(1);
        let (mut parts, mut rest) = (Vec::new(), content);
        while rest.len() > size {
            let (part, after) = rest.split_at(rest.floor_char_boundary(size));
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
        parts
    }

    /// Removes the snapshots of releases before the last ones.
    async fn remove_earlier(&self, key: &SnapshotKey) -> Result<()> {
        let firsts = self.log.subjects.documents(SNAPSHOT, &[key.stream.as_str(), &key.projection]);
        let parts = self.log.all_documents::<Part>(&firsts).await?;
        let mut releases: Vec<&Document<Part>> =
            parts.iter().filter(|part| part.content.is_some() && part.subject.ends_with(".0")).collect();
        releases.truncate(releases.len().saturating_sub(RELEASES));
        for outdated in releases {
            let Some((snapshot, _)) = outdated.subject.rsplit_once('.') else { continue };
            let parts = outdated.content.as_ref().map_or(1, |first| first.parts as u64);
            self.log.purge(&format!("{snapshot}.*"), outdated.sequence + parts).await?;
        }
        Ok(())
    }
}
