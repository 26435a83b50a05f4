//! The rules of lockers, and the page that shows this crate.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use first_component::{Command, Event, Locker};
use message_store::testing::given;

fn rent(rental_id: &str, member: &str) -> Command {
    Command::Rent { rental_id: rental_id.into(), member: member.into() }
}

fn rented(rental_id: &str, member: &str) -> Event {
    Event::Rented { rental_id: rental_id.into(), member: member.into() }
}

#[test]
fn a_free_locker_is_rented() {
    given::<Locker>([]).when(rent("r1", "Ann")).then([rented("r1", "Ann")]);
}

#[test]
fn a_rented_locker_is_not_rented_again() {
    let rejected = Event::RentRejected { rental_id: "r2".into(), rented_to: "Ann".into() };
    given::<Locker>([rented("r1", "Ann")]).when(rent("r2", "Bob")).then([rejected]);
}

#[test]
fn only_the_present_rental_is_returned() {
    let give_back = |rental_id: &str| Command::Return { rental_id: rental_id.into() };
    let returned = Event::Returned { rental_id: "r1".into() };
    given::<Locker>([rented("r1", "Ann")]).when(give_back("r1")).then([returned.clone()]);
    given::<Locker>([rented("r1", "Ann"), returned, rented("r2", "Bob")]).when(give_back("r1")).then([]);
}

#[test]
fn a_second_message_for_a_rental_changes_nothing() {
    given::<Locker>([]).when(rent("r1", "Ann")).then_repeat(rent("r1", "Ann"), []);
}

/// The guide's page and the crate are the same.
mod page {
    use super::Path;

    const PAGE: &str = include_str!("../../../docs/guide/src/your-first-component.md");

    /// Lines without their indentation.
    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).collect()
    }

    fn is_in_the_crate(snippet: &[&str]) -> bool {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        ["src", "tests"].iter().flat_map(|part| std::fs::read_dir(folder.join(part)).unwrap()).any(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            lines(&text).windows(snippet.len()).any(|window| window == snippet)
        })
    }

    #[test]
    fn each_piece_of_code_on_the_page_is_in_this_crate() {
        let pieces: Vec<_> = PAGE.split("```rust,ignore\n").skip(1).collect();
        assert!(pieces.len() > 5, "the page has lost its code");
        for piece in pieces {
            let snippet = lines(piece.split("```").next().unwrap());
            assert!(is_in_the_crate(&snippet), "not in the crate: {snippet:#?}");
        }
    }
}
