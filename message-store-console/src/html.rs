//! What all pages share: their frame, their links, and how the content of messages is shown.

use axum::http::header;
use axum::response::IntoResponse;
use maud::{DOCTYPE, Markup, html};
use message_store::{Message, MessageId, StreamName, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Console;
use crate::json::indented;

/// The screens: their paths and names.
const SCREENS: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/categories", "Categories"),
    ("/search", "Search"),
    ("/consumers", "Consumers"),
    ("/dead-letters", "Dead letters"),
    ("/repeats", "Repeats"),
    ("/tail", "Live tail"),
];
/// What is shown of data in a list, and on a page of its own, in bytes of the page.
const SHORT: usize = 160;
const LONG: usize = 24_000;
/// What is shown of a name, and of an error.
const NAME: usize = 120;
const ERROR: usize = 300;
/// What need not be encoded in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A page in its frame. `current` is the path of its screen.
pub(crate) fn page(console: &Console, title: &str, current: &str, content: &Markup) -> Markup {
    live_page(console, (title, current), None, content)
}

/// A page that a browser loads again after these seconds.
pub(crate) fn live_page(
    console: &Console,
    (title, current): (&str, &str),
    seconds: Option<u32>,
    content: &Markup,
) -> Markup {
    let body = html! {
        header {
            a.skip href="#content" { "Skip to the content" }
            nav aria-label="Screens" {
                @for (path, name) in SCREENS {
                    a href=(path) aria-current=[(path == current).then_some("page")] { (name) }
                }
            }
            p.store { (visible(&console.store.describe())) }
        }
        main id="content" { h1 { (visible(title)) } (content) }
    };
    framed(title, seconds, &body)
}

/// A page without a store.
pub(crate) fn bare_page(title: &str, content: &Markup) -> Markup {
    framed(title, None, &html! { main id="content" { (content) } })
}

fn framed(title: &str, refresh: Option<u32>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (visible(title)) " – message store" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
            }
            body { (body) }
        }
    }
}

pub(crate) async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")],
        include_str!("style.css"),
    )
}

/// A text as a part of a path or of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// A text without characters that are not seen, or that change the order of others.
pub(crate) fn visible(text: &str) -> String {
    let is_hidden = |character: char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(character, '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().map(|character| if is_hidden(character) { '\u{fffd}' } else { character }).collect()
}

/// The beginning of a text that takes at most so many bytes of a page.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        bytes += if matches!(character, '&' | '<' | '>' | '"') { 6 } else { character.len_utf8() };
        bytes > most
    });
    end.map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}

/// A name of a message, of a stream, or of a field.
pub(crate) fn name(text: &str) -> String {
    visible(&cut(text, NAME))
}

/// An error or a reason. It can quote what a message contains.
pub(crate) fn error(console: &Console, text: &str) -> Markup {
    if console.hides_data {
        return html! { em { "hidden" } };
    }
    html! { (visible(&cut(text, ERROR))) }
}

pub(crate) fn stream_link(stream: &StreamName) -> Markup {
    html! { a href=(format!("/streams/{}", encoded(stream.as_str()))) { (name(stream.as_str())) } }
}

pub(crate) fn category_link(category: &str) -> Markup {
    html! { a href=(format!("/categories/{}", encoded(category))) { (name(category)) } }
}

pub(crate) fn message_link(id: MessageId) -> Markup {
    html! { a.id href=(format!("/messages/{id}")) title=(id) { (cut(&id.to_string(), 8)) } }
}

/// A time, to the second, with the whole of it as a title.
pub(crate) fn time(time: Timestamp) -> Markup {
    let text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    html! { time datetime=(time) title=(time) { (text) } }
}

/// The data of a message in a list.
pub(crate) fn short_data(console: &Console, message: &Message) -> Markup {
    if message.is_erased() {
        return html! { em { "erased" } };
    }
    if console.hides_data {
        return html! { em { "hidden" } };
    }
    html! { code { (visible(&cut(message.data.text(), SHORT))) } }
}

/// JSON on a page of its own.
pub(crate) fn long_json(console: &Console, text: &str) -> Markup {
    if console.hides_data {
        return html! { p { em { "hidden" } } };
    }
    html! { pre tabindex="0" { (visible(&cut(&indented(text, LONG * 2), LONG))) } }
}

/// A list of messages.
pub(crate) fn messages<'a>(console: &Console, messages: impl IntoIterator<Item = &'a Message>) -> Markup {
    html! {
        div.wide { table {
            thead { tr { th { "Global" } th { "Time" } th { "Type" } th { "Stream" } th { "At" } th { "Message" } th { "Data" } } }
            tbody {
                @for message in messages {
                    tr {
                        td.number { (message.global_position) }
                        td { (time(message.time)) }
                        td { (name(&message.message_type)) }
                        td { (stream_link(&message.stream)) }
                        td.number { (message.position) }
                        td { (message_link(message.id)) }
                        td { (short_data(console, message)) }
                    }
                }
            }
        } }
    }
}

/// A field of a form, with its name for people.
pub(crate) fn field(name: &str, label: &str, value: &str) -> Markup {
    html! { label { (label) " " input name=(name) value=(visible(value)); } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{0}c\nd"), "a\u{fffd}b\u{fffd}c\nd");
        assert_eq!(visible("a\u{61c}\u{2060}\u{ad}"), "a\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(cut("äöü", 5), "äö…");
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("a<b", 6), "a…");
        assert_eq!(encoded("a+b/c?"), "a%2Bb%2Fc%3F");
    }
}
