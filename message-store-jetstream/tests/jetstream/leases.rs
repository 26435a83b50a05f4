//! The leases of a group are one document, which many members change.

use std::time::Duration;

use message_store::store::Membership;
use message_store::{Json, MessageStore};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Server;

#[tokio::test]
async fn members_whose_leases_have_ended_do_not_fill_the_document_of_a_group() {
    let url = Server::shared().store();
    let store = JetstreamStore::open(&url).await.unwrap();
    let leases = store.leases().unwrap();
    leases.create_group("g", vec![Json::NULL; 2]).await.unwrap();
    let owner = Membership::new("g", "owner");
    assert!(leases.renew(&owner, Duration::from_hours(1), true).await.unwrap());
    let slots = leases.group("g").await.unwrap().slots;
    assert_eq!(leases.claim(&owner, &slots[..1]).await.unwrap().len(), 1);
    for number in 0..50 {
        let crashed = Membership::new("g", format!("crashed {number}"));
        assert!(leases.renew(&crashed, Duration::ZERO, true).await.unwrap());
    }
    assert!(leases.renew(&owner, Duration::from_hours(1), true).await.unwrap());
    let client = async_nats::connect(Server::shared().address()).await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    let question = format!(r#"{{"last_by_subj":"ms.{name}.d.group.g"}}"#);
    let document = client.request(format!("$JS.API.DIRECT.GET.MS_{name}"), question.into()).await.unwrap();
    let document = String::from_utf8_lossy(&document.payload).into_owned();
    assert!(document.contains("owner") && !document.contains("crashed"), "{document}");
    assert_eq!(leases.group("g").await.unwrap().slots[0].owner, Some(owner.id));
}
