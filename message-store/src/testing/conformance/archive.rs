//! Rules of the archive: a message that moves is lost to no reader.

use futures_util::TryStreamExt as _;

use super::given::{append, append_one, category, filtered, is_empty, message, numbered, stream, types, types_in, version};
use super::{Rule, Subject};
use crate::store::{Archive, ArchiveRun};
use crate::{
    Append, Error, Filter, GlobalPosition, GroupMember, Message, MessageId, MessageStore, MessageStoreExt as _,
    Metadata, Position, Read, StreamRead,
};

/// The archive, unless the store has none.
fn archive_of(store: &dyn MessageStore) -> Option<&dyn Archive> {
    let archive = store.archive();
    if archive.is_none() {
        println!("not checked: the store has no archive");
    }
    archive
}

/// Moves all messages of the category `account` that may move.
async fn archive_all(store: &dyn MessageStore, archive: &dyn Archive) -> ArchiveRun {
    let through = store.given_out(None).await.unwrap();
    let mut run = archive.begin(&category("account"), through).await.unwrap();
    while run.ended_at.is_none() {
        run = archive.move_part(&run, 3).await.unwrap();
    }
    run
}

/// Three streams of the category, and one of another, whose messages alternate.
async fn written(store: &dyn MessageStore) {
    for number in 0..6 {
        for name in ["account-1", "account-2", "account-3+1", "other-1"] {
            append_one(store, name, numbered(number)).await;
        }
    }
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.id).collect()
}

/// The messages of a read of a category, or of all, in batches of two.
async fn read(store: &dyn MessageStore, of: Option<&str>, read: Read) -> Vec<(MessageId, GlobalPosition)> {
    let read = read.limit(2);
    let messages: Vec<Message> = match of {
        Some(name) => store.category_messages(&category(name), read).try_collect().await.unwrap(),
        None => store.all_messages(read).try_collect().await.unwrap(),
    };
    messages.iter().map(|message| (message.id, message.global_position)).collect()
}

contract! {$ archive archive_tests {
    async fn an_archived_stream_is_read_whole(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let at = Position::new;
        let reads = [
            StreamRead::default(),
            StreamRead::forwards_from(at(2)),
            StreamRead::forwards_from(at(1)).limit(3),
            StreamRead::forwards_from(at(5)),
            StreamRead::forwards_from(at(6)),
            StreamRead::backwards(),
            StreamRead::backwards().limit(1),
            StreamRead::backwards().limit(4),
            StreamRead::backwards_from(at(3)).limit(2),
            StreamRead::backwards_from(at(9)),
        ];
        let name = stream("account-1");
        let mut before = Vec::new();
        for read in &reads {
            before.push(ids(&store.read_stream(&name, read.clone()).await.unwrap()));
        }
        archive_all(&*store, archive).await;
        for (read, before) in reads.iter().zip(before) {
            assert_eq!(ids(&store.read_stream(&name, read.clone()).await.unwrap()), before, "{read:?}");
        }
    }

    async fn archived_messages_are_read_in_order(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let member = Filter::default().member(GroupMember::new(0, 2).unwrap());
        let from = Read::from(GlobalPosition::new(6));
        let reads = [
            (Some("account"), Read::default()),
            (Some("account"), from.clone()),
            (Some("account"), filtered(member)),
            (Some("account"), filtered(Filter::default().message_types(["Numbered"]))),
            (None, Read::default()),
            (None, from),
        ];
        let mut before = Vec::new();
        for (of, what) in &reads {
            before.push(read(&*store, *of, what.clone()).await);
        }
        archive_all(&*store, archive).await;
        for ((of, what), before) in reads.iter().zip(before) {
            assert_eq!(read(&*store, *of, what.clone()).await, before, "{of:?} {what:?}");
        }
    }

    async fn the_last_message_of_each_stream_is_not_archived(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let run = archive_all(&*store, archive).await;
        assert_eq!(run.moved, 15);
        let left = store.read_category(&category("account"), Read::default().without_archive()).await.unwrap();
        assert!(left.messages.iter().all(|message| message.position == Position::new(5)), "{:?}", left.messages);
        assert_eq!(left.messages.len(), 3);
        let others = store.read_category(&category("other"), Read::default().without_archive()).await.unwrap();
        assert_eq!(others.messages.len(), 6);
        let all = store.read_all(Read::default().without_archive()).await.unwrap();
        assert_eq!(all.messages.len(), 9);
    }

    async fn an_archived_message_is_found_by_its_id(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        let mut metadata = Metadata::default();
        metadata.handler = Some("account".to_owned());
        let first = message("A").with_metadata(&metadata).unwrap();
        let place = append_one(&*store, "account-1", first.clone()).await;
        append(&*store, "account-1", &["B"]).await;
        archive_all(&*store, archive).await;
        let found = store.message(first.id).await.unwrap().unwrap();
        assert_eq!((found.global_position, found.message_type.as_str()), (place.global_position, "A"));
        let written = store.written_by("account", &[first.id]).await.unwrap();
        assert_eq!(written, [found.reference()]);
    }

    async fn the_last_message_of_a_type_is_found_in_the_archive(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        append(&*store, "account-1", &["A", "B", "A", "C"]).await;
        archive_all(&*store, archive).await;
        for (message_type, expected) in [(Some("A"), Some(2)), (Some("B"), Some(1)), (Some("D"), None), (None, Some(3))] {
            let last = store.last_message(&stream("account-1"), message_type).await.unwrap();
            assert_eq!(last.map(|last| last.position.get()), expected, "{message_type:?}");
        }
    }

    async fn the_id_of_an_archived_message_is_taken(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        let first = numbered(1);
        let place = append_one(&*store, "account-1", first.clone()).await;
        append(&*store, "account-1", &["B"]).await;
        archive_all(&*store, archive).await;
        let again = store.append(Append::to(stream("account-1")).message(first.clone()).into()).await.unwrap();
        assert_eq!((again.written, again.already_written), (vec![place], true));
        let other = numbered(2).with_id(first.id);
        for (name, taken) in [("account-1", other.clone()), ("account-2", first.clone()), ("other-1", other)] {
            let refused = store.append(Append::to(stream(name)).message(taken.clone()).into()).await;
            assert!(matches!(refused, Err(Error::IdConflict { .. })), "{name}: {refused:?}");
            // Beside another message, and in an append to two streams.
            let beside = Append::to(stream(name)).message(message("C")).message(taken);
            let two = vec![beside, Append::to(stream("mail-1")).message(message("C"))];
            let refused = store.append(two.into()).await;
            assert!(matches!(refused, Err(Error::IdConflict { .. })), "{name}: {refused:?}");
        }
        assert_eq!(types_in(&*store, "account-1").await, ["Numbered", "B"]);
        assert!(is_empty(&*store, "account-2").await && is_empty(&*store, "mail-1").await);
    }

    async fn an_append_continues_after_archived_messages(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        append(&*store, "account-1", &["A", "B"]).await;
        archive_all(&*store, archive).await;
        assert_eq!(store.version(&stream("account-1")).await.unwrap(), version(1));
        store.append_to(&stream("account-1"), version(1), vec![message("C")]).await.unwrap();
        archive_all(&*store, archive).await;
        let refused = store.append_to(&stream("account-1"), version(1), vec![message("D")]).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        store.append_to(&stream("account-1"), version(2), vec![message("D")]).await.unwrap();
        let found = store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        assert_eq!(types(&found), ["A", "B", "C", "D"]);
    }

    async fn a_backlog_counts_archived_messages(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let after = [GlobalPosition::ZERO, GlobalPosition::new(9), store.given_out(None).await.unwrap()];
        let mut before = Vec::new();
        for after in after {
            before.push(store.backlog(&category("account"), after).await.unwrap());
        }
        archive_all(&*store, archive).await;
        for (after, before) in after.into_iter().zip(before) {
            assert_eq!(store.backlog(&category("account"), after).await.unwrap(), before, "after {after}");
        }
    }

    async fn a_run_that_has_not_ended_is_continued(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let (accounts, through) = (category("account"), store.given_out(None).await.unwrap());
        let begun = archive.begin(&accounts, through).await.unwrap();
        let moved = archive.move_part(&begun, 4).await.unwrap();
        assert_eq!((moved.moved, moved.ended_at), (4, None));
        let other = subject.reopen().await;
        let continued = match &other {
            Ok(other) => archive_of(&**other).unwrap().begin(&accounts, GlobalPosition::new(1)).await.unwrap(),
            Err(cannot) => {
                cannot.say("that another process continues a run");
                archive.begin(&accounts, GlobalPosition::new(1)).await.unwrap()
            }
        };
        assert_eq!(continued, moved);
        let ended = archive_all(&*store, archive).await;
        assert_eq!((ended.number, ended.moved, ended.looked_through), (begun.number, 15, through));
        assert_eq!(archive.move_part(&begun, 4).await.unwrap(), ended);
        assert_eq!(archive.runs().await.unwrap(), std::slice::from_ref(&ended));
        assert_ne!(archive.begin(&accounts, through).await.unwrap().number, ended.number);
    }

    async fn a_run_moves_no_message_after_its_end(subject) {
        let store = subject.store();
        let Some(archive) = archive_of(&*store) else { return };
        written(&*store).await;
        let through = GlobalPosition::new(9);
        let mut run = archive.begin(&category("account"), through).await.unwrap();
        while run.ended_at.is_none() {
            run = archive.move_part(&run, 2).await.unwrap();
        }
        let archived = |message: &Message| message.global_position <= through;
        let whole = read(&*store, Some("account"), Read::default()).await;
        let left = store.read_category(&category("account"), Read::default().without_archive()).await.unwrap();
        assert!(!left.messages.iter().any(archived), "{:?}", left.messages);
        assert_eq!(left.messages.len(), whole.iter().filter(|(_, position)| *position > through).count());
    }
}}
