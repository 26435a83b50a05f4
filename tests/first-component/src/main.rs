//! Rents a locker, twice.

use first_component::{Command, Locker};
use message_store::consumer::Consumer;
use message_store::handling::CommandHandler;
use message_store::service::Service;
use message_store::{NewMessage, connect};

#[tokio::main]
async fn main() -> message_store::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite:lockers.db".to_owned());
    let store = connect(&url).await?;
    let lockers = CommandHandler::<Locker>::new(&store);
    let consumer = Consumer::new("locker:command", lockers.clone());
    let service = Service::new(&store).consumer(consumer).start().await?;

    let rent = |rental_id: &str, member: &str| {
        NewMessage::from_variant(&Command::Rent { rental_id: rental_id.into(), member: member.into() })
    };

    let first = rent("r1", "Ann")?;
    let rented = lockers.execute("7", first.clone()).await?;
    println!("Ann rents: {:?}, {}", rented.events, rented.outcome.kind());

    // The answer did not arrive, and Ann's phone sends the same message again.
    let again = lockers.execute("7", first).await?;
    println!("the same message: {:?}, {}", again.events, again.outcome.kind());

    // Or it makes a new message for the same rental.
    let another = lockers.execute("7", rent("r1", "Ann")?).await?;
    println!("another message: {:?}, {}", another.events, another.outcome.kind());

    let refused = lockers.execute("7", rent("r2", "Bob")?).await?;
    println!("Bob rents: {:?}, refused: {}", refused.events, refused.is_refused);

    service.stop();
    service.ended().await
}
