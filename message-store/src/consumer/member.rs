//! The start of a member of an elastic group.

use std::sync::Arc;

use super::ConsumerHandle;
use super::consumer_loop::Role;
use super::dead_letters::{DeadLetters, Delivery, Redelivery};
use super::groups::{ElasticGroup, Keeper, OwnedSlots, Share, SlotPositions, create_group, join};
use super::names::NameInUse;
use super::outages::Outages;
use super::partitions::Partitions;
use super::saved_progress::SavedProgress;
use super::settings::{Place, Settings};
use crate::handling::Handler;
use crate::store::Membership;
use crate::{Category, Error, GlobalPosition, MessageStore, Result};

/// Joins the group, which is created if it is new, and starts the consumer, its letter consumer and its keeper.
pub(super) async fn start_member<H: Handler>(
    handler: Arc<H>,
    settings: Settings,
    group: ElasticGroup,
    letters: DeadLetters,
    store: &Arc<dyn MessageStore>,
    name: NameInUse,
    outages: Outages,
) -> Result<ConsumerHandle> {
    if settings.member.is_some() {
        let reason = "it is elastic, and this consumer names a member of a fixed size too. Set one of them";
        return Err(Error::invalid("consumer group", reason));
    }
    let stream = settings.position_stream()?;
    let Some(leases) = store.leases() else {
        return Err(Error::Unsupported { store: store.describe(), what: "elastic groups".to_owned() });
    };
    let paused = settings.paused(store).await?;
    create_group(store, leases, &stream, group.slots, &settings.pace, &outages).await?;
    let membership = Membership::new(stream.as_str(), group.member_name());
    join(leases, &membership, group.lease).await?;

    let owned = Arc::new(OwnedSlots::new(membership, &group, settings.pace.planted));
    let letter_category = Category::new(letters.category())?;
    // Letters before this position are resumed when their slots are claimed.
    let (history, letters_end) = (store.history(), store.given_out(Some(&letter_category)).await?);
    let letter_settings = settings.of_letters(letters.category());
    let share = Share::Slots(Arc::clone(&owned));
    let place = (&stream, GlobalPosition::ZERO);
    let set_aside = Arc::new(settings.set_aside(letters, share, outages.clone(), place).await?);

    let redelivery = Redelivery::new(Arc::clone(&handler), Arc::clone(&set_aside));
    let letter_place = Place {
        positions: SavedProgress::Nowhere { history },
        partitions: Partitions::new(letters_end),
        role: Role::Letters(Arc::clone(&owned)),
    };
    let letter_consumer =
        letter_settings.launch(redelivery, store, letter_place, None, None, (outages.clone(), paused.clone())).await?;
    let keeper = Keeper::start(store, &owned)?;
    let delivery = Delivery { handler, set_aside: Arc::clone(&set_aside) };
    let place = Place {
        positions: SavedProgress::Slots(SlotPositions::new(store, &owned, &outages)),
        partitions: Partitions::of_slots(group.slots),
        role: Role::Member { keeper, owned },
    };
    let running = settings.launch(delivery, store, place, Some(set_aside), Some(name), (outages, paused)).await?;
    Ok(running.with_letter_consumer(letter_consumer))
}
