use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::given_messages;
use super::*;
use crate::store::{Due, TimerChange, TimerKey};
use crate::{Append, AppendRequest, Message};

#[derive(Serialize, Deserialize)]
enum Event {
    Opened { holder: String },
}

#[derive(Serialize)]
enum Mail {
    Greet { holder: String },
    Advertise {},
}

/// Writes two mails, and gives its writes these names.
struct Mails<F>(F);

#[async_trait]
impl<F: Fn(&str) -> String + Send + Sync + 'static> Handler for Mails<F> {
    fn name(&self) -> &'static str {
        "Mails"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Opened"]
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let Some(Event::Opened { holder }) = message.decode_variant()? else { return Ok(Outcome::Unhandled) };
        let mail = |mail| -> crate::Result<Append> {
            Ok(Append::to(StreamName::new("mail-1")?).message(NewMessage::from_variant(&mail)?))
        };
        let _ = context.write(&(self.0)("greeting"), mail(Mail::Greet { holder })?).await?;
        Ok(context.write(&(self.0)("advertisement"), mail(Mail::Advertise {})?).await?)
    }
}

fn right() -> impl Handler {
    Mails(str::to_owned)
}

fn opened() -> Event {
    Event::Opened { holder: "Ann".to_owned() }
}

fn greeting() -> WrittenTo {
    written_to("mail-1", &Mail::Greet { holder: "Ann".to_owned() })
}

#[test]
fn a_right_case_passes() {
    given_messages()
        .when_handled(right(), "account-1", &opened())
        .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
    given_messages().when_handled(right(), "account-1", &Mail::Advertise {}).then([]);
}

#[test]
fn messages_from_before_do_not_count() {
    given_messages()
        .in_stream("mail-1", opened())
        .when_handled(right(), "account-1", &opened())
        .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
}

#[test]
#[should_panic(expected = "delivered once, what Mails writes for Opened is not as expected")]
fn a_message_that_is_not_expected_fails_the_case() {
    given_messages().when_handled(right(), "account-1", &opened()).then([greeting()]);
}

#[test]
#[should_panic(expected = "delivered twice, what Mails writes for Opened is not as expected")]
fn a_handler_that_writes_again_fails_the_case() {
    let writes = AtomicU64::new(0);
    let wrong = Mails(move |name: &str| format!("{name} {}", writes.fetch_add(1, Ordering::SeqCst)));
    given_messages()
        .when_handled(wrong, "account-1", &opened())
        .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
}

/// Remembers outside the store which messages it has begun to handle.
struct Begun<H>(H, Mutex<HashSet<MessageId>>);

#[async_trait]
impl<H: Handler> Handler for Begun<H> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        self.0.message_types()
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let is_new = self.1.lock().unwrap().insert(message.id);
        if is_new { self.0.handle(message, context).await } else { Ok(Outcome::Ignored) }
    }
}

#[test]
#[should_panic(expected = "when the answer of each write is lost, what Mails writes for Opened is not as expected")]
fn a_handler_that_does_not_go_on_after_a_failure_fails_the_case() {
    given_messages()
        .when_handled(Begun(right(), Mutex::default()), "account-1", &opened())
        .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
}

/// Greets, advertises after this time, and cancels the timer that reminds.
struct Remind(Duration);

#[async_trait]
impl Handler for Remind {
    fn name(&self) -> &'static str {
        "Remind"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Opened"]
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let Some(Event::Opened { holder }) = message.decode_variant()? else { return Ok(Outcome::Unhandled) };
        let mail = StreamName::new("mail-1")?;
        let key = |name: &str| TimerKey::new(mail.clone(), name);
        let advertisement = NewMessage::from_variant(&Mail::Advertise {})?;
        let write =
            AppendRequest::from(Append::to(mail.clone()).message(NewMessage::from_variant(&Mail::Greet { holder })?))
                .timer(TimerChange::set(key("advertise"), Due::After(self.0), mail.clone(), advertisement))
                .timer(TimerChange::Cancel { key: key("remind") });
        Ok(context.write("greeting", write).await?)
    }
}

const WEEK: Duration = Duration::from_hours(7 * 24);

fn advertised() -> WrittenTo {
    written_to("mail-1", &Mail::Advertise {}).by_timer("mail-1", "advertise", Due::After(WEEK))
}

fn reminding(name: &str) -> TimerChange {
    let key = TimerKey::new(StreamName::new("mail-1").unwrap(), name);
    let reminder = NewMessage::from_variant(&Mail::Advertise {}).unwrap();
    TimerChange::set(key, Due::After(WEEK), StreamName::new("mail-2").unwrap(), reminder)
}

#[test]
fn timers_are_compared() {
    given_messages()
        .timer(reminding("remind"))
        .timer(reminding("other"))
        .when_handled(Remind(WEEK), "account-1", &opened())
        .then([
            greeting(),
            advertised(),
            written_to("mail-2", &Mail::Advertise {}).by_timer("mail-1", "other", Due::After(WEEK)),
        ]);
}

#[test]
fn a_timer_that_is_due_at_a_time_is_compared_with_it() {
    let due = Due::At("2099-01-01T00:00:00.123456789Z".parse().unwrap());
    let TimerChange::Set { key, to, message, .. } = reminding("other") else { unreachable!() };
    given_messages()
        .timer(TimerChange::set(key, due, to, message))
        .when_handled(right(), "account-1", &Mail::Advertise {})
        .then([written_to("mail-2", &Mail::Advertise {}).by_timer("mail-1", "other", due)]);
}

#[test]
#[should_panic(expected = "delivered once, what Remind writes for Opened is not as expected")]
fn a_timer_that_is_not_expected_fails_the_case() {
    given_messages().when_handled(Remind(WEEK), "account-1", &opened()).then([greeting()]);
}

#[test]
#[should_panic(expected = "delivered once, what Remind writes for Opened is not as expected")]
fn a_timer_that_is_due_at_another_time_fails_the_case() {
    given_messages()
        .when_handled(Remind(WEEK + Duration::from_secs(1)), "account-1", &opened())
        .then([greeting(), advertised()]);
}

#[test]
#[should_panic(expected = "delivered once, what Remind writes for Opened is not as expected")]
fn a_timer_that_still_waits_fails_the_case() {
    given_messages()
        .timer(reminding("other"))
        .when_handled(Remind(WEEK), "account-1", &opened())
        .then([greeting(), advertised()]);
}
