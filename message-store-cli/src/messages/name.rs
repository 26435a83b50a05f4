//! Messages as an operator names them.

use anyhow::Result;
use message_store::{GlobalPosition, Message, MessageId, MessageStore, Read, Uuid};

use crate::exit::Exit;

/// A message's id, or its global position.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Id(MessageId),
    At(GlobalPosition),
}

pub(crate) fn name(text: &str) -> Result<Name, String> {
    match (text.parse::<Uuid>(), text.parse::<i64>()) {
        (Ok(id), _) => Ok(Name::Id(MessageId::from_uuid(id))),
        (_, Ok(position @ 1..)) => Ok(Name::At(GlobalPosition::new(position))),
        _ => Err("a message is named by its id or by its global position, from 1".to_owned()),
    }
}

impl Name {
    /// The message, which must be in the store.
    pub(crate) async fn find(self, store: &dyn MessageStore) -> Result<Message> {
        let found = match self {
            Self::Id(id) => store.message(id).await?,
            Self::At(position) => {
                let found = store.read_all(Read::from(position).limit(1)).await?.messages;
                found.into_iter().find(|message| message.global_position == position)
            }
        };
        found.ok_or_else(|| {
            Exit::NotFound.because(match self {
                Self::Id(id) => format!("there is no message with the id {id}"),
                Self::At(position) => format!("there is no message at global position {position}"),
            })
        })
    }
}
