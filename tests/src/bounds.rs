//! Replacements for the functions that publish bounds for readers of all messages.

/// SQL that replaces the body of both functions that publish a bound by this PL/pgSQL.
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
