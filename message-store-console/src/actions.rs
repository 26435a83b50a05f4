//! What changes something: each action comes from a form of a page of this console, which has shown what it changes.

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use message_store::consumer::{DeadLetter, DeadLetters, LetterState, MoveTo, Pauses, Positions, SavedPosition};
use message_store::{GlobalPosition, MessageId};

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::guard::{is_from_here, is_same};
use crate::html::{page, visible};

/// The reason of a change whose author has given none.
const WITHOUT_REASON: &str = "in the console";

/// A form for an action. Its fields name what is changed.
pub(crate) fn form(console: &Console, action: &str, label: &str, fields: &[(&str, &str)]) -> Markup {
    html! {
        @if console.allows_actions {
            form method="post" action=(format!("/actions/{action}")) {
                (hidden(console, fields))
                button { (label) }
            }
        }
    }
}

fn hidden(console: &Console, fields: &[(&str, &str)]) -> Markup {
    html! {
        input type="hidden" name="form" value=(console.form);
        @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
    }
}

/// Asks, and does it when the answer is yes.
pub(crate) async fn act(
    State(console): State<Console>,
    Path(action): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let fields = Fields::of(fields)?;
    if !console.allows_actions {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "this console only reads; `--allow-actions` lets it change something",
        ));
    }
    if !is_from_here(&headers) || !is_same(fields.text("form"), &console.form) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "the form is not of a page of this console; load its page again",
        ));
    }
    let consumer = Consumer { category: fields.text("category"), identifier: fields.get("identifier") };
    let is_sure = fields.get("sure") == Some("yes");
    let (question, back) = match &*action {
        "retry" | "discard" => (consumer.change_letter(&console, &action, &fields, is_sure).await?, "/dead-letters"),
        "pause" | "resume" => (consumer.pause(&console, action == "pause", &fields, is_sure).await?, "/consumers"),
        "reset" => (consumer.reset(&console, &fields, is_sure).await?, "/consumers"),
        _ => return Err(Failure::not_found("there is no such action")),
    };
    match question {
        None => Ok(Redirect::to(back).into_response()),
        Some(question) => Ok(page(
            &console,
            "Are you sure?",
            back,
            &html! {
                p { (visible(&question)) }
                form method="post" {
                    (hidden(&console, &fields.all()))
                    @if action == "pause" || action == "discard" { label { "Reason " input name="why" required; } }
                    button name="sure" value="yes" { "Yes, " (action) }
                    a href=(back) { "No" }
                }
            },
        )
        .into_response()),
    }
}

/// A consumer, by its names.
struct Consumer<'a> {
    category: &'a str,
    identifier: Option<&'a str>,
}

impl Consumer<'_> {
    /// Returns what to ask; `None` when it is done.
    async fn change_letter(
        &self,
        console: &Console,
        action: &str,
        fields: &Fields,
        is_sure: bool,
    ) -> Result<Option<String>, Failure> {
        let letters = DeadLetters::of(&console.store, self.category, self.identifier)?;
        let id: MessageId = fields.parse("message")?.ok_or_else(|| Failure::invalid("no message is named"))?;
        let found = letters.show(id).await?.filter(DeadLetter::is_open);
        let letter = found.ok_or_else(|| Failure::not_found("the letter is closed, or is not there any more"))?;
        if letter.state != LetterState::Parked {
            return Err(Failure::new(StatusCode::CONFLICT, "a delivery is requested already, and has not ended"));
        }
        if !is_sure {
            let error = if console.hides_data { "hidden" } else { &letter.error };
            let (of_type, message, attempts) = (&letter.message_type, &letter.message, letter.attempts);
            let what = format!("{of_type} {message}, after {attempts} attempts: {error}");
            return Ok(Some(match action {
                "retry" => format!("One message is delivered again: {what}"),
                _ => format!("One message is given up, and will not be handled: {what}"),
            }));
        }
        let changed = match action {
            "retry" => letters.retry(&letter).await?,
            _ => letters.discard(&letter, fields.get("why").unwrap_or(WITHOUT_REASON)).await?,
        };
        if !changed {
            return Err(Failure::new(StatusCode::CONFLICT, "the letter has changed meanwhile; look at it again"));
        }
        Ok(None)
    }

    async fn pause(
        &self,
        console: &Console,
        pauses: bool,
        fields: &Fields,
        is_sure: bool,
    ) -> Result<Option<String>, Failure> {
        let wishes = Pauses::of(&console.store, self.category, self.identifier)?;
        if !is_sure {
            let mut waiting = 0;
            let positions = Positions::of(&console.store, self.category)?;
            let found = self.positions(&positions).await?;
            for saved in &found {
                waiting += positions.backlog(saved).await?.messages;
            }
            let name = self.name();
            return Ok(Some(if pauses {
                format!("{name} hands out no message until it is resumed; {waiting} messages wait for it now")
            } else {
                format!("{name} goes on; {waiting} messages wait for it")
            }));
        }
        if pauses {
            wishes.pause(fields.get("why").unwrap_or(WITHOUT_REASON)).await?;
        } else {
            wishes.resume().await?;
        }
        Ok(None)
    }

    async fn reset(&self, console: &Console, fields: &Fields, is_sure: bool) -> Result<Option<String>, Failure> {
        let positions = Positions::of(&console.store, self.category)?;
        let wanted: i64 = fields.parse("to")?.ok_or_else(|| Failure::invalid("no position is given"))?;
        if wanted < 0 {
            return Err(Failure::invalid("a position is not below zero"));
        }
        let to = positions.resolve(MoveTo::Position(GlobalPosition::new(wanted))).await?;
        let found = self.positions(&positions).await?;
        if found.iter().any(|saved| !saved.is_stopped) {
            return Err(Failure::new(
                StatusCode::CONFLICT,
                format!("{} runs, or has crashed; stop it before", self.name()),
            ));
        }
        if !is_sure {
            let mut sentences = vec![format!("{} is set to {to}.", self.name())];
            for saved in &found {
                let category = message_store::Category::new(self.category)?;
                let before = console.store.backlog(&category, saved.position).await?.messages;
                let after = console.store.backlog(&category, to).await?.messages;
                sentences.push(match after.checked_sub(before) {
                    Some(again) => format!("{}: {again} messages are delivered again.", saved.stream),
                    None => format!("{}: {} messages are passed over.", saved.stream, before - after),
                });
            }
            return Ok(Some(sentences.join(" ")));
        }
        for saved in &found {
            positions.set(saved, MoveTo::Position(to)).await?;
        }
        Ok(None)
    }

    /// Its positions; those of all members of a group.
    async fn positions(&self, positions: &Positions) -> Result<Vec<SavedPosition>, Failure> {
        let is_its = |saved: &SavedPosition| saved.identifier.as_deref() == self.identifier;
        let found: Vec<_> = positions.list().await?.into_iter().filter(is_its).collect();
        if found.is_empty() {
            return Err(Failure::not_found(format!("{} has never run", self.name())));
        }
        Ok(found)
    }

    fn name(&self) -> String {
        let identifier = self.identifier.map_or_else(String::new, |identifier| format!(" ({identifier})"));
        format!("the consumer of {}{identifier}", self.category)
    }
}
