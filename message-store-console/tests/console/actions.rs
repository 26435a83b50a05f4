//! What changes something: only when it is allowed, only from a form of the console, and only after a question.

use axum::http::StatusCode;
use message_store::GlobalPosition;
use message_store::consumer::{DeadLetters, LetterState, Pauses, Positions};
use message_store_console::Console;

use super::seeded::{Answered, Client, Seeded, on_both_stores};

const HOST: (&str, &str) = ("host", "localhost:8090");
const ORIGIN: (&str, &str) = ("origin", "http://localhost:8090");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The token in the forms of a page.
fn token(page: &str) -> String {
    page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

struct Operator {
    client: Client,
    token: String,
}

impl Operator {
    async fn post(&self, action: &str, fields: &str) -> Answered {
        let body = format!("form={}&{fields}", self.token);
        self.client.send(&format!("POST /actions/{action}"), &[HOST, ORIGIN, FORM], &body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_asks_and_is_done_when_the_answer_is_yes() {
    on_both_stores(async |seeded: &Seeded| {
        let client = Client::of(Console::new(&seeded.store).allow_actions(true));
        let token = token(&client.page("/dead-letters").await);
        let operator = Operator { client, token };
        let letters = DeadLetters::of(&seeded.store, "account:command", None).unwrap();
        let [first, second] = seeded.parked.each_ref().map(|message| message.id);
        let state = async |id| letters.show(id).await.unwrap().unwrap().state;
        let of = |id| format!("category=account%3Acommand&identifier=&message={id}");
        let letter = of(first);
        let asked = operator.post("retry", &letter).await;
        assert_eq!(asked.status, StatusCode::OK);
        assert!(
            asked.body.contains("One message is delivered again") && asked.body.contains("name=\"sure\""),
            "{}",
            asked.body
        );
        assert_eq!(state(first).await, LetterState::Parked, "nothing is done before the answer");
        assert_eq!(operator.post("retry", &format!("{letter}&sure=yes")).await.status, StatusCode::SEE_OTHER);
        assert_eq!(state(first).await, LetterState::Retrying);
        let discard = "sure=yes&why=a+test";
        assert_eq!(operator.post("discard", &format!("{letter}&{discard}")).await.status, StatusCode::CONFLICT);
        let letter = of(second);
        assert_eq!(operator.post("discard", &format!("{letter}&{discard}")).await.status, StatusCode::SEE_OTHER);
        assert_eq!(state(second).await, LetterState::Discarded("a test".to_owned()));
        assert_eq!(operator.post("retry", &format!("{letter}&sure=yes")).await.status, StatusCode::NOT_FOUND);

        let consumer = "category=account%3Acommand&identifier=copy";
        let pauses = Pauses::of(&seeded.store, "account:command", Some("copy")).unwrap();
        assert!(operator.post("pause", consumer).await.body.contains("0 messages wait"));
        assert!(pauses.current().await.unwrap().is_none());
        operator.post("pause", &format!("{consumer}&sure=yes&why=look")).await;
        assert_eq!(pauses.current().await.unwrap().unwrap().reason, "look");
        operator.post("resume", &format!("{consumer}&sure=yes")).await;
        assert!(pauses.current().await.unwrap().is_none());
        let asked = operator.post("reset", &format!("{consumer}&to=0")).await;
        assert!(asked.body.contains("6 messages are delivered again"), "{}", asked.body);
        operator.post("reset", &format!("{consumer}&to=0&sure=yes")).await;
        let positions = Positions::of(&seeded.store, "account:command").unwrap();
        assert_eq!(positions.get(Some("copy"), None).await.unwrap().position, GlobalPosition::ZERO);
        for (action, fields, status) in [
            ("reset", "category=account%3Acommand&identifier=none&to=0", StatusCode::NOT_FOUND),
            ("reset", "category=account%3Acommand&to=far", StatusCode::BAD_REQUEST),
            ("retry", "category=account%3Acommand&message=x", StatusCode::BAD_REQUEST),
            ("reset", "category=account%3Acommand&identifier=copy&to=-5", StatusCode::BAD_REQUEST),
            ("pause", "category=none&identifier=ghost", StatusCode::NOT_FOUND),
            ("drop", "category=account%3Acommand", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(operator.post(action, fields).await.status, status, "{action} {fields}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_from_elsewhere_is_refused() {
    on_both_stores(async |seeded: &Seeded| {
        let reads = Client::new(&seeded.store);
        assert!(!reads.page("/dead-letters").await.contains("<form method=\"post\""));
        let pause = "category=account%3Acommand&identifier=copy&sure=yes&why=w";
        let refused = reads.send("POST /actions/pause", &[HOST, ORIGIN, FORM], pause).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let client = Client::of(Console::new(&seeded.store).allow_actions(true));
        let form = format!("form={}&{pause}", token(&client.page("/consumers").await));
        let elsewhere = ("origin", "http://evil.example");
        for (headers, body) in [
            (&[HOST, elsewhere, FORM][..], &*form),
            (&[HOST, ("origin", "null"), FORM], &form),
            (&[HOST, FORM], &form),
            (&[HOST, ORIGIN, FORM], pause),
            (&[HOST, ORIGIN, FORM], &format!("form=other&{pause}")),
        ] {
            let refused = client.send("POST /actions/pause", headers, body).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
        }
        let pauses = Pauses::of(&seeded.store, "account:command", Some("copy")).unwrap();
        assert!(pauses.current().await.unwrap().is_none());
        // The same form of the console itself is taken.
        let taken = client.send("POST /actions/pause", &[HOST, ORIGIN, FORM], &form).await;
        assert_eq!(taken.status, StatusCode::SEE_OTHER);
        assert!(pauses.current().await.unwrap().is_some());
    })
    .await;
}
