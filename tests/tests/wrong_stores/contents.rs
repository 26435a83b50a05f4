//! Stores that return a message changed.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use message_store::{Json, Message, MessageId, MessageStore, Result};

use super::wrong::Wrong;

fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap()
}

wrong_stores! {
    TextsLoseWhatIsNotAscii breaks [] {
        fn shown(&self, message: Message) -> Message {
            let ascii = message.data.text().replace(|character: char| !character.is_ascii(), "?");
            Message { data: Json::parse(ascii).unwrap(), ..message }
        }
    }
    NumbersAreFloats breaks [] {
        fn shown(&self, message: Message) -> Message {
            let value: serde_json::Value = message.data.decode().unwrap();
            Message { data: Json::encode(&value).unwrap(), ..message }
        }
    }
    NothingBecomesAnEmptyObject breaks [] {
        fn shown(&self, message: Message) -> Message {
            let data = if message.data.is_empty() { Json::parse("{}").unwrap() } else { message.data };
            Message { data, ..message }
        }
    }
    MetadataIsDropped breaks [] {
        fn shown(&self, message: Message) -> Message {
            Message { metadata: Json::NULL, ..message }
        }
    }
    TypesLoseWhatIsNotAscii breaks [] {
        fn shown(&self, message: Message) -> Message {
            Message { message_type: message.message_type.replace(|character: char| !character.is_ascii(), "?"), ..message }
        }
    }
    EachReadGivesAMessageAnotherId breaks [] {
        fn shown(&self, message: Message) -> Message {
            Message { id: MessageId::new(), ..message }
        }
    }
    TimesAreWholeSeconds breaks [] {
        fn shown(&self, message: Message) -> Message {
            Message { time: whole_seconds(message.time), ..message }
        }
    }
    AMessageThatIsFoundByItsIdHasNoMetadata breaks [] {
        async fn message(&self, store: &dyn MessageStore, id: MessageId) -> Result<Option<Message>> {
            Ok(store.message(id).await?.map(|message| Message { metadata: Json::NULL, ..message }))
        }
    }
}
