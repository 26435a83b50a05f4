-- Up to where read models are: written in the transaction that changes them.
CREATE TABLE message_store.view_positions (
  view text PRIMARY KEY,
  global_position bigint NOT NULL
);
