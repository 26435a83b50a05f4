//! Rules of consumer groups: each entity belongs to one member.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;

use super::given::{append, category, filtered, stream};
use super::{Rule, Subject};
use crate::{Filter, GroupMember, MessageStore, MessageStoreExt as _, StreamName};
use crate::store::Slots;

const SIZE: u16 = 3;
const ENTITIES: usize = 20;

/// The streams that each member reads. The store has entities with two streams each, and a stream without an entity.
async fn shares(store: &dyn MessageStore) -> Vec<BTreeSet<StreamName>> {
    for entity in 0..ENTITIES {
        append(store, &format!("account-{entity}"), &["A"]).await;
        append(store, &format!("account-{entity}+compound"), &["B"]).await;
    }
    append(store, "account", &["WithoutAnEntity"]).await;
    let mut shares = Vec::new();
    for member in 0..SIZE {
        let read = filtered(Filter::default().member(GroupMember::new(member, SIZE).unwrap())).limit(7);
        let account = category("account");
        let messages = store.category_messages(&account, read).map_ok(|message| message.stream);
        shares.push(messages.try_collect().await.unwrap());
    }
    shares
}

contract! {$ groups groups_tests {
    async fn every_entity_comes_to_a_member_of_a_group(subject) {
        let streams: BTreeSet<_> = shares(&*subject.store()).await.into_iter().flatten().collect();
        assert_eq!(streams.iter().filter(|stream| stream.id().is_some()).count(), ENTITIES * 2);
    }

    async fn no_stream_comes_to_two_members_of_a_group(subject) {
        let shares = shares(&*subject.store()).await;
        let streams: BTreeSet<_> = shares.iter().flatten().collect();
        assert_eq!(shares.iter().map(BTreeSet::len).sum::<usize>(), streams.len());
    }

    /// The entity is the cardinal id.
    async fn all_streams_of_an_entity_come_to_one_member_of_a_group(subject) {
        for share in shares(&*subject.store()).await {
            for stream in &share {
                let Some(entity) = stream.cardinal_id() else { continue };
                let its = share.iter().filter(|other| other.cardinal_id() == Some(entity));
                assert_eq!(its.count(), 2, "of the streams of {entity}");
            }
        }
    }

    async fn a_stream_without_an_entity_comes_to_no_member_of_a_group(subject) {
        assert!(shares(&*subject.store()).await.iter().flatten().all(|stream| stream.id().is_some()));
    }

    /// Members are assigned by Message DB's hash, so that members on different backends and toolkits agree.
    async fn members_are_told_apart_by_the_hash_of_the_cardinal_id(subject) {
        for (member, share) in (0..).zip(shares(&*subject.store()).await) {
            for stream in share {
                let hash = stream.cardinal_hash().unwrap_or_default().unsigned_abs();
                assert_eq!(hash % u64::from(SIZE), member, "{stream}");
            }
        }
    }

    /// As the members of a group, by Message DB's hash. Streams without an entity come to slot 0.
    async fn a_read_of_slots_returns_the_streams_of_these_slots(subject) {
        let store = subject.store();
        let all: BTreeSet<_> = shares(&*store).await.into_iter().flatten().chain([stream("account")]).collect();
        for wanted in [vec![0, 2], vec![1], vec![1, 3, 4], vec![]] {
            let slots = Slots::new(wanted, 5).unwrap();
            let expected: BTreeSet<_> =
                all.iter().filter(|stream| slots.takes(stream.cardinal_hash())).cloned().collect();
            let read = filtered(Filter::default().slots(slots)).limit(7);
            let account = category("account");
            let messages = store.category_messages(&account, read).map_ok(|message| message.stream);
            assert_eq!(messages.try_collect::<BTreeSet<_>>().await.unwrap(), expected);
        }
    }
}}
