//! The component as a service, run as a program: a signal stops it after the messages under way.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

use account_component::component::{COMMANDS, command_stream};
use account_component::messages;
use message_store::consumer::Positions;
use message_store::{Append, NewMessage, connect};

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
