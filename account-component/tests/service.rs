//! The component as a service, run as a program: a signal stops it after the messages under way.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

use account_component::component::{COMMANDS, command_stream};
use account_component::messages;
use message_store::consumer::Positions;
use message_store::{Append, Json, NewMessage, connect};

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_the_service_and_its_position_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    for (number, signal) in ["TERM", "INT"].into_iter().enumerate() {
        let store = connect(&url).await.unwrap();
        let mut service = Command::new(env!("CARGO_BIN_EXE_account-component"))
            .args(["run", "--store", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let account_id = number.to_string();
        let open = messages::Command::Open {
            account_id: account_id.clone(),
            customer_id: "c".into(),
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let append = Append::to(command_stream(&account_id).unwrap()).message(NewMessage::from_variant(&open).unwrap());
        let sent = store.append(append.into()).await.unwrap().written[0].global_position;
        let positions = Positions::of(&store, COMMANDS).unwrap();
        let until = async |is_reached: &dyn Fn(&message_store::consumer::SavedPosition) -> bool| {
            while !is_reached(&positions.get(None, None).await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        until(&|saved| saved.position >= sent).await;
        assert!(!positions.get(None, None).await.unwrap().is_stopped);
        let pid = service.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
        let status = tokio::task::spawn_blocking(move || service.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(positions.get(None, None).await.unwrap().is_stopped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_read_holds_its_account_and_no_other() {
    let store = connect("sqlite::memory:").await.unwrap();
    let service = account_component::component::service(&store, 4).start().await.unwrap();
    let open = |account: &str| {
        let (account_id, customer_id) = (account.to_owned(), "c".to_owned());
        let open = messages::Command::Open { account_id, customer_id, time: "2026-01-01T00:00:00Z".parse().unwrap() };
        Append::to(command_stream(account).unwrap()).message(NewMessage::from_variant(&open).unwrap())
    };
    let foreign = NewMessage::new("Deposit", Json::parse(r#"{"bogus":1}"#).unwrap());
    store.append(Append::to(command_stream("7").unwrap()).message(foreign).into()).await.unwrap();
    store.append(open("7").into()).await.unwrap();
    store.append(open("8").into()).await.unwrap();
    while store.version(&"account-8".parse().unwrap()).await.unwrap().position().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let letters = message_store::consumer::DeadLetters::of(&store, COMMANDS, None).unwrap();
    loop {
        // The foreign command and the one behind it.
        if letters.list().await.unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(store.version(&"account-7".parse().unwrap()).await.unwrap().position().is_none());
    service.stop();
    service.ended().await.unwrap();
}
