//! Fills an empty store with the messages that `tests/tests/postgres/upgrade.rs` expects in a database of an earlier version.

use anyhow::{Context as _, Result};
use message_store::intents::Once;
use message_store::{
    Append, Error, ExpectedVersion, Json, Key, MessageStoreExt as _, Metadata, NewMessage, StreamName, connect,
};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("usage: database-for-upgrades URL")?;
    let store = connect(&url).await?;
    let metadata = Metadata::new().correlation(&StreamName::new("transfer-1")?);
    let deposited = |amount: u64| NewMessage::new("Deposited", Json::encode(&amount)?).with_metadata(&metadata);
    let messages = [10, 20].into_iter().map(deposited).collect::<Result<_, Error>>()?;
    let stream = StreamName::new("account-1")?;
    store.append_to(&stream, ExpectedVersion::NoStream, messages).await?;
    let append = Append::to(stream).message(deposited(30)?);
    let work = async || Ok::<_, anyhow::Error>((vec![append], "done".to_owned()));
    let _ = Once::new(&store, "tests")?.run(&Key::new("k")?, &Json::NULL, work).await?;
    Ok(())
}
