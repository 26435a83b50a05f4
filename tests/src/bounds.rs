//! Sabotage of the bounds that writers publish for readers of all messages.

/// SQL that puts this PL/pgSQL in the place of both functions that publish a bound.
pub fn instead_of_bounds(body: &str) -> String {
    let functions = ["publish_first_bound", "publish_later_bound"].map(|name| {
        format!(
            "CREATE OR REPLACE FUNCTION message_store.{name}() RETURNS void LANGUAGE plpgsql AS $$
             -- message-store functions 1000
             BEGIN {body} END $$;"
        )
    });
    functions.concat()
}
