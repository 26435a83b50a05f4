//! Whether a consumer has ever run in the store.
//!
//! Problem: if an operator misspells the name of a consumer, there are no letters, and the operator believes that all
//! is well. Fix: if there are no letters, the store must have a position of the consumer. Otherwise the call fails. Why
//! it is right: a consumer saves its position when it starts, before it reads messages.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;

use super::letter::DeadLetters;
use crate::consumer::position_store::{PositionStore, identifier_in};
use crate::{Error, MessageStoreExt as _, Read, Result, StreamName};

impl DeadLetters {
    /// # Errors
    /// [`Error::Invalid`] if the store has neither a position nor a letter of the consumer.
    pub(super) async fn assert_consumer_has_run(&self) -> Result<()> {
        let identifier = self.identifier.as_deref();
        let position = PositionStore::stream_name(&self.consumer_category, identifier)?;
        let has_letters = async || self.store.read_category(&self.category, Read::default().limit(1)).await;
        if self.store.version(&position).await?.position().is_some() || !has_letters().await?.messages.is_empty() {
            return Ok(());
        }
        if let Some(leases) = self.store.leases()
            && !leases.group(position.as_str()).await?.slots.is_empty()
        {
            return Ok(());
        }
        // Each member of a group has its own position, and the name contains the size of the group.
        let mut others = BTreeSet::new();
        let positions = position.category();
        let mut saves = std::pin::pin!(self.store.category_messages(&positions, Read::default()));
        while let Some(save) = saves.try_next().await? {
            let (other, _) = identifier_in(&save.stream);
            if other == identifier {
                return Ok(());
            }
            others.insert(other.map(str::to_owned));
        }
        if let Some(leases) = self.store.leases() {
            let groups = leases.groups().await?.into_iter().filter_map(|group| StreamName::new(group).ok());
            let of_category = groups.filter(|group| group.category() == positions);
            others.extend(of_category.map(|group| identifier_in(&group).0.map(str::to_owned)));
        }
        Err(Error::invalid("consumer", self.has_never_run(&position, &others)))
    }

    fn has_never_run(&self, position: &StreamName, others: &BTreeSet<Option<String>>) -> String {
        let named = |identifier: &Option<String>| match identifier {
            Some(identifier) => format!("with the identifier {identifier:?}"),
            None => "without an identifier".to_owned(),
        };
        let hint = if others.is_empty() {
            "No consumer of this category has: give the whole category that the consumer reads (such as \
             `account:command`, not `account`)"
                .to_owned()
        } else {
            let others: Vec<String> = others.iter().map(named).collect();
            format!("Consumers of this category have run {}", others.join(", "))
        };
        let of_group = self.identifier.as_ref().map(|_| format!(" (nor in {position}+number+size, for a group)"));
        format!(
            "no consumer of {} {} has ever run in {}: it has no position in {position}{}, and no letter in {}. {hint}",
            self.consumer_category,
            named(&self.identifier),
            self.store.describe(),
            of_group.unwrap_or_default(),
            self.category,
        )
    }
}
