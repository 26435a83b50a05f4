//! Stores that change a message.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use message_store::{Json, Message, MessageId};

use super::wrong::{Found, Store, Wrong};

fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap()
}

wrong_stores! {
    TextsLoseWhatIsNotAscii breaks [texts_of_all_scripts_are_read_back] {
        fn shown(&self, message: Message) -> Message {
            let ascii = message.data.text().replace(|character: char| !character.is_ascii(), "?");
            changed!(message, data = Json::parse(ascii).unwrap())
        }
    }
    NumbersAreFloats breaks [numbers_are_read_back_to_the_last_digit] {
        fn shown(&self, message: Message) -> Message {
            let value: serde_json::Value = message.data.decode().unwrap();
            changed!(message, data = Json::encode(&value).unwrap())
        }
    }
    NothingBecomesAnEmptyObject breaks [
        arrays_objects_and_nothing_at_all_are_read_back
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
        an_entity_is_erased_with_all_its_streams
    ] {
        fn shown(&self, message: Message) -> Message {
            let data = if message.data.is_empty() { Json::parse("{}").unwrap() } else { message.data.clone() };
            changed!(message, data = data)
        }
    }
    MetadataIsDropped breaks [
        metadata_is_read_back
        a_timer_that_is_due_becomes_its_message_once
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
        an_entity_is_erased_with_all_its_streams
    ] {
        fn shown(&self, message: Message) -> Message {
            changed!(message, metadata = Json::NULL)
        }
    }
    TypesLoseWhatIsNotAscii breaks [types_and_stream_names_are_read_back] {
        fn shown(&self, message: Message) -> Message {
            changed!(message, message_type = message.message_type.replace(|character: char| !character.is_ascii(), "?"))
        }
    }
    EachReadGivesAMessageAnotherId breaks [
        a_message_keeps_the_id_that_its_writer_gave_it
        every_way_of_reading_finds_the_same_message
        a_message_is_found_by_its_id
        a_batch_that_says_that_the_stream_ends_has_its_last_message
        a_failed_condition_names_the_message_that_matches
        an_archived_stream_is_read_whole
        archived_messages_are_read_in_order
        an_archived_message_is_found_by_its_id
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
    ] {
        fn shown(&self, message: Message) -> Message {
            changed!(message, id = MessageId::new())
        }
    }
    TimesAreWholeSeconds breaks [
        the_time_of_a_message_is_the_time_of_its_write
        a_backlog_is_counted_from_a_position_to_the_end_of_its_category
    ] {
        fn shown(&self, message: Message) -> Message {
            changed!(message, time = whole_seconds(message.time))
        }
    }
    AMessageThatIsFoundByItsIdHasNoMetadata breaks [
        every_way_of_reading_finds_the_same_message
        a_timer_that_is_due_becomes_its_message_once
        an_erased_message_loses_its_data_and_keeps_its_places
        an_archived_message_is_erased
        an_erased_message_is_archived_as_it_is
    ] {
        async fn message(&self, store: Store<'_>, id: MessageId) -> Found {
            Ok(store.message(id).await?.map(|message| changed!(message, metadata = Json::NULL)))
        }
    }
}
