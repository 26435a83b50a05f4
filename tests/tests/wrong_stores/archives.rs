//! Stores whose archive loses something.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use message_store::store::{ArchiveRun, Backlog};
use message_store::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, Message, MessageId, MessageRef, MessageStoreExt as _,
    Position, Read, Result, StreamName, StreamRead, Version,
};

use super::wrong::{Archived, Found, Store, Wrong, archive, read_right};

/// The messages that are not archived.
async fn left(store: Store<'_>) -> Vec<Message> {
    store.all_messages(Read::default().without_archive()).try_collect().await.unwrap()
}

/// The ids of the archived messages.
async fn archived(store: Store<'_>) -> BTreeSet<MessageId> {
    let all: Vec<Message> = store.all_messages(Read::default()).try_collect().await.unwrap();
    let left: BTreeSet<MessageId> = left(store).await.into_iter().map(|message| message.id).collect();
    all.into_iter().map(|message| message.id).filter(|id| !left.contains(id)).collect()
}

wrong_stores! {
    StreamsEndAtTheArchive breaks [
        an_archived_stream_is_read_whole
        an_append_continues_after_archived_messages
        an_entity_is_erased_with_all_its_streams
    ] {
        async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
            let archived = archived(store).await;
            let mut found = store.read_stream(stream, read).await?;
            // An append with a taken id is not what this is about.
            if found.iter().any(|message| message.message_type == "B" && message.position == Position::new(1)) && found.len() == 2 {
                return Ok(found);
            }
            found.retain(|message| !archived.contains(&message.id));
            Ok(found)
        }
    }
    CategoriesLeaveOutTheArchive breaks [archived_messages_are_read_in_order] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
            let is_whole = category.is_some() && !read.filter.is_empty() || read.from > GlobalPosition::FIRST;
            let read = if is_whole { read.without_archive() } else { read };
            read_right(store, category, read).await
        }
    }
    TheOptionIsIgnored breaks [the_last_message_of_each_stream_is_not_archived a_run_moves_no_message_after_its_end] {
        async fn read(&self, store: Store<'_>, category: Option<&Category>, mut read: Read) -> Result<Batch> {
            read.with_archive = true;
            read_right(store, category, read).await
        }
    }
    ArchivedIdsFindNothing breaks [
        an_archived_message_is_found_by_its_id
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
    ] {
        async fn message(&self, store: Store<'_>, id: MessageId) -> Found {
            let archived = archived(store).await;
            Ok(store.message(id).await?.filter(|message| !archived.contains(&message.id)))
        }
    }
    ArchivedMessagesHaveNoWriter breaks [an_archived_message_is_found_by_its_id] {
        async fn written_by(&self, store: Store<'_>, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
            let archived = archived(store).await;
            let mut written = store.written_by(handler, ids).await?;
            written.retain(|written| !archived.contains(&written.id));
            Ok(written)
        }
    }
    TheLastOfATypeIsNotSoughtInTheArchive breaks [the_last_message_of_a_type_is_found_in_the_archive] {
        async fn last_message(&self, store: Store<'_>, stream: &StreamName, message_type: Option<&str>) -> Found {
            let archived = archived(store).await;
            let last = store.last_message(stream, message_type).await?;
            Ok(last.filter(|message| !archived.contains(&message.id)))
        }
    }
    ArchivedIdsAreFree breaks [
        the_id_of_an_archived_message_is_taken
        the_same_append_as_an_erased_one_is_a_repeat
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let archived = archived(store).await;
            let mut appends = request.appends().to_vec();
            for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
                if archived.contains(&message.id) {
                    message.id = MessageId::new();
                }
            }
            if appends == request.appends() { store.append(request).await } else { store.append(appends.into()).await }
        }
    }
    VersionsCountWhatIsLeft breaks [an_append_continues_after_archived_messages] {
        async fn version(&self, store: Store<'_>, stream: &StreamName) -> Result<Version> {
            let is_archived = !archived(store).await.is_empty();
            let left = left(store).await.into_iter().filter(|message| message.stream == *stream).count();
            if !is_archived {
                return store.version(stream).await;
            }
            Ok(Version::at(Position::new(i64::try_from(left).unwrap() - 1)))
        }
    }
    BacklogsLeaveOutTheArchive breaks [a_backlog_counts_archived_messages] {
        async fn backlog(&self, store: Store<'_>, category: &Category, after: GlobalPosition) -> Result<Backlog> {
            let archived = archived(store).await;
            let all: Vec<Message> = store.category_messages(category, Read::from(after.next())).try_collect().await?;
            let mut backlog = store.backlog(category, after).await?;
            backlog.messages -= all.iter().filter(|message| archived.contains(&message.id)).count() as u64;
            Ok(backlog)
        }
    }
    EachRunBeginsAnew breaks [a_run_that_has_not_ended_is_continued] {
        async fn begin(&self, archive: Archived<'_>, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
            let mut run = archive.begin(category, through).await?;
            run.looked_through = GlobalPosition::ZERO;
            Ok(run)
        }
    }
    TheJournalIsEmpty breaks [a_run_that_has_not_ended_is_continued] {
        async fn runs(&self, _: Archived<'_>) -> Result<Vec<ArchiveRun>> {
            Ok(Vec::new())
        }
    }
    ARunMovesAllThatItFinds breaks [a_run_moves_no_message_after_its_end] {
        async fn begin(&self, archive: Archived<'_>, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
            // (The rule's own.)
            let through = if through == GlobalPosition::new(9) { GlobalPosition::new(1_000) } else { through };
            archive.begin(category, through).await
        }
    }
    ARunReportsMoreThanItMoves breaks [
        the_last_message_of_each_stream_is_not_archived
        a_run_that_has_not_ended_is_continued
    ] {
        async fn move_part(&self, store: Store<'_>, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun> {
            let mut run = archive(store).move_part(run, messages).await?;
            run.moved += 1;
            Ok(run)
        }
    }
}
