//! Troubles that the letters of a consumer show.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::consumers::arguments;
use super::{Trouble, TroubleKind};
use crate::consumer::{DeadLetter, DeadLetters, ErrorClass, LetterQuery};
use crate::{Category, Error, MessageStore, Result};

/// The number of letters of a consumer at which a diagnosis looks.
const LETTERS: usize = 1_000;
/// The number of entities that it names.
const NAMED: usize = 5;

pub(super) async fn look(
    store: &Arc<dyn MessageStore>,
    category: &Category,
    identifier: Option<&str>,
    troubles: &mut Vec<Trouble>,
) -> Result<()> {
    let letters = DeadLetters::of(store, category.as_str(), identifier)?;
    let query = LetterQuery::default();
    let found: Vec<DeadLetter> = match letters.select(&query).take(LETTERS).try_collect().await {
        Ok(found) => found,
        // The position of a consumer was set that has never run.
        Err(Error::Invalid { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let arguments = arguments(category, identifier);
    let is_undecodable = |letter: &&DeadLetter| letter.error_class == Some(ErrorClass::Undecodable);
    let undecodable: Vec<&DeadLetter> = found.iter().filter(is_undecodable).collect();
    if let Some(first) = undecodable.first() {
        let types: BTreeSet<&str> = undecodable.iter().map(|letter| letter.message_type.as_str()).collect();
        let types: Vec<&str> = types.into_iter().collect();
        let (count, types, message, error) = (undecodable.len(), types.join(", "), &first.message, &first.error);
        let what = format!("{count} messages of {category} cannot be decoded ({types}), such as {message}: {error}");
        let mend = format!(
            "Deploy a component that knows them, and then `message-store dead-letters retry {arguments} --all --error-class \
             undecodable`"
        );
        troubles.push(Trouble::new(TroubleKind::Undecodable, what, mend));
    }
    let holding: Vec<&DeadLetter> = found.iter().filter(|letter| letter.holds_its_entity()).collect();
    troubles.extend(holding.iter().take(NAMED).map(|letter| held(category, &arguments, letter)));
    if let Some(first) = found.iter().find(|letter| !is_undecodable(letter) && !letter.holds_its_entity())
        && undecodable.is_empty()
        && holding.is_empty()
    {
        let more = if found.len() == LETTERS { "at least " } else { "" };
        let what = format!("{more}{} messages of {category} could not be handled, such as {first}", found.len());
        let mend = format!(
            "`message-store dead-letters list {arguments}` shows why; when the reason is gone, `message-store dead-letters retry \
             {arguments} --all`"
        );
        troubles.push(Trouble::new(TroubleKind::DeadLetters, what, mend));
    }
    Ok(())
}

fn held(category: &Category, arguments: &str, letter: &DeadLetter) -> Trouble {
    let DeadLetter { message, message_type, error, .. } = letter;
    let (id, entity) = (message.id, message.stream.cardinal_id().unwrap_or_else(|| message.stream.as_str()));
    let what =
        format!("messages of the entity {entity} in {category} wait behind the {message_type} at {message}: {error}");
    let mend = format!(
        "Mend the reason, and then `message-store dead-letters retry {arguments} {id}`; or give it up with `message-store \
         dead-letters discard {arguments} {id} --why \"…\"`"
    );
    Trouble::new(TroubleKind::HeldEntity, what, mend)
}
