//! A message with its causes and effects, as a picture (SVG).

use std::collections::HashMap;

use maud::{Markup, html};
use message_store::MessageId;
use message_store::operations::Trace;

use crate::html::{cut, visible};

const WIDTH: usize = 244;
const HEIGHT: usize = 40;
/// How far an effect is right of its cause, and the width that all of them may take.
const RIGHT: usize = 270;
const WIDEST: usize = 1_600;
const NARROWEST: usize = 14;
const DOWN: usize = 54;
/// The greatest number of messages in a picture.
const MOST: usize = 60;
/// The number of characters in a line of a box.
const LINE: usize = 30;

/// Causes are left of their effects. The message with this id is marked.
pub(crate) fn graph(trace: &Trace, here: MessageId) -> Markup {
    // As many before the message as after it.
    let at = trace.messages.iter().position(|traced| traced.message.id == here).unwrap_or_default();
    let first = at.saturating_sub(MOST / 2).min(trace.messages.len().saturating_sub(MOST));
    let shown = trace.messages.iter().skip(first).take(MOST);
    let depths = || shown.clone().map(|traced| traced.depth);
    let (least, most) = (depths().min().unwrap_or_default(), depths().max().unwrap_or_default());
    let right = (WIDEST / (most - least).max(1)).clamp(NARROWEST, RIGHT);
    let places: HashMap<MessageId, (usize, usize)> = shown
        .clone()
        .enumerate()
        .map(|(row, traced)| (traced.message.id, (4 + (traced.depth - least) * right, 4 + row * DOWN)))
        .collect();
    let width = places.values().map(|(x, _)| x + WIDTH + 4).max().unwrap_or_default();
    let height = places.len() * DOWN + 4;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Causes and effects; the list below has the same messages"
            width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) {
            @for traced in shown {
                @let (x, y) = places[&traced.message.id];
                @if let Some((from_x, from_y)) = traced.cause.and_then(|cause| places.get(&cause)) {
                    path d=(format!("M{} {} V{} H{x}", from_x + 16, from_y + HEIGHT, y + HEIGHT / 2)) {}
                }
                a href=(format!("/messages/{}", traced.message.id)) {
                    rect.here[traced.message.id == here] x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="5" {}
                    text x=(x + 8) y=(y + 16) { (cut(&visible(&traced.message.message_type), LINE)) }
                    text x=(x + 8) y=(y + 32) { (cut(&visible(traced.message.stream.as_str()), LINE)) " at " (traced.message.position) }
                }
            }
        }
        @if trace.messages.len() > MOST {
            p { "The picture has messages " (first + 1) " to " (first + MOST) " of " (trace.messages.len()) "." }
        }
    }
}
