//! Stores that keep read models wrongly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use message_store::store::{
    ReadModel, ReadModelBug, ReadModelVersion, Skipped, SqlTransaction, SqlValue, Update, VersionState,
};
use message_store::{GlobalPosition, Message, Result, Source};

use super::wrong::{Models, Wrong};

/// What a store does with an author's model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    AppliesTwice,
    SaysWhatIsApplied,
    RemovesNothing,
}

/// An author's model, as a wrong store calls it.
struct Called {
    model: Arc<dyn ReadModel>,
    fault: Fault,
}

fn called(model: &Arc<dyn ReadModel>, fault: Fault) -> Arc<dyn ReadModel> {
    Arc::new(Called { model: Arc::clone(model), fault })
}

#[async_trait]
impl ReadModel for Called {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn version(&self) -> u32 {
        self.model.version()
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.model.create(transaction).await
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.model.apply(transaction, message).await?;
        if self.fault == Fault::AppliesTwice {
            self.model.apply(transaction, message).await?;
        }
        if self.fault == Fault::SaysWhatIsApplied && self.version() > 1 {
            self.model.effects(transaction, message).await?;
        }
        Ok(())
    }

    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.model.effects(transaction, message).await
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.model.switch(transaction).await
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        match self.fault {
            Fault::RemovesNothing => Ok(()),
            _ => self.model.remove(transaction, version).await,
        }
    }
}

/// Executes a statement that must not change anything.
struct Executed {
    name: String,
    sql: String,
}

#[async_trait]
impl ReadModel for Executed {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute(&self.sql, &[]).await.map(drop)
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        Ok(())
    }
}

wrong_stores! {
    EachMessageIsAppliedTwice breaks [
        each_message_is_applied_once_in_the_order_of_the_positions
        updates_at_the_same_time_apply_each_message_once
        messages_of_several_categories_are_applied_in_their_global_order
        a_batch_with_a_message_that_fails_changes_nothing
        a_message_that_is_skipped_is_recorded
        a_higher_version_is_built_beside_the_one_that_serves
        each_message_has_its_effects_once_whatever_versions_apply_it
        after_a_position_was_set_back_messages_are_applied_again_without_effects
        a_query_of_a_read_model_changes_nothing
        an_update_of_an_owner_that_has_lost_its_slot_changes_nothing
    ] {
        fn model(&self, model: &Arc<dyn ReadModel>) -> Arc<dyn ReadModel> {
            called(model, Fault::AppliesTwice)
        }
    }
    UpdatesDoNotLookAtThePosition breaks [updates_at_the_same_time_apply_each_message_once] {
        fn update(&self, update: &Update) -> Update {
            update.clone().plant(ReadModelBug::PositionUnchecked)
        }
    }
    OneCategoryIsApplied breaks [messages_of_several_categories_are_applied_in_their_global_order] {
        fn update(&self, update: &Update) -> Update {
            match &update.categories[..] {
                [_] => update.clone(),
                [first, ..] => Update::of(first),
                [] => unreachable!("an update has a category"),
            }
        }
    }
    ABatchIsAppliedMessageByMessage breaks [a_batch_with_a_message_that_fails_changes_nothing] {
        fn update(&self, update: &Update) -> Update {
            update.clone().limit(1)
        }
    }
    SkippedMessagesAreNotRecorded breaks [a_message_that_is_skipped_is_recorded] {
        async fn skipped(&self, _: Models<'_>, _: &str) -> Result<Vec<Skipped>> {
            Ok(Vec::new())
        }
    }
    AVersionServesBeforeItHasCaughtUp breaks [a_higher_version_is_built_beside_the_one_that_serves] {
        fn update(&self, update: &Update) -> Update {
            update.clone().plant(ReadModelBug::SwitchedEarly)
        }
    }
    AVersionThatIsBuiltIsSaidToServe breaks [a_higher_version_is_built_beside_the_one_that_serves] {
        async fn versions(&self, models: Models<'_>, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
            let mut versions = models.versions(name).await?;
            for version in versions.iter_mut().filter(|version| version.state == VersionState::Building) {
                version.state = VersionState::Serving;
            }
            Ok(versions)
        }
    }
    EachVersionHasEffects breaks [each_message_has_its_effects_once_whatever_versions_apply_it] {
        fn model(&self, model: &Arc<dyn ReadModel>) -> Arc<dyn ReadModel> {
            called(model, Fault::SaysWhatIsApplied)
        }
    }
    APositionIsNotSetBack breaks [after_a_position_was_set_back_messages_are_applied_again_without_effects] {
        async fn set_position(&self, models: Models<'_>, name: &str, _: GlobalPosition) -> Result<bool> {
            Ok(!models.versions(Some(name)).await?.is_empty())
        }
    }
    AVersionBeforeDoesNotServeAgain breaks [a_version_before_can_serve_again] {
        async fn switch_to(&self, models: Models<'_>, name: &str, version: u32) -> Result<bool> {
            let versions = models.versions(Some(name)).await?;
            match versions.iter().find(|known| known.version == version) {
                Some(known) if known.state == VersionState::StandsBy => Ok(true),
                _ => models.switch_to(name, version).await,
            }
        }
    }
    ADroppedVersionKeepsItsTable breaks [a_version_that_was_dropped_is_gone] {
        fn model(&self, model: &Arc<dyn ReadModel>) -> Arc<dyn ReadModel> {
            called(model, Fault::RemovesNothing)
        }
    }
    VersionsOfAllModelsAreFound breaks [versions_are_found_by_the_name_of_their_model] {
        async fn versions(&self, models: Models<'_>, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
            let found = models.versions(name).await?;
            if found.is_empty() { models.versions(None).await } else { Ok(found) }
        }
    }
    AQueryWrites(AtomicU64) breaks [a_query_of_a_read_model_changes_nothing] {
        async fn query(&self, models: Models<'_>, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
            if sql.starts_with("SELECT") {
                return models.query(sql, parameters).await;
            }
            let name = format!("executed-{}", self.0.fetch_add(1, Ordering::SeqCst));
            let model: Arc<dyn ReadModel> = Arc::new(Executed { name, sql: sql.to_owned() });
            models.begin(&model).await?;
            Ok(Vec::new())
        }
    }
    ANullIsAnEmptyText breaks [values_are_returned_as_they_were_given] {
        async fn query(&self, models: Models<'_>, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
            let mut rows = models.query(sql, parameters).await?;
            for value in rows.iter_mut().flatten().filter(|value| **value == SqlValue::Null) {
                *value = SqlValue::Text(String::new());
            }
            Ok(rows)
        }
    }
    TheFenceOfAnUpdateIsIgnored breaks [an_update_of_an_owner_that_has_lost_its_slot_changes_nothing] {
        fn update(&self, update: &Update) -> Update {
            if update.fence.is_some() { Update::of(&update.categories[0]) } else { update.clone() }
        }
    }
}
