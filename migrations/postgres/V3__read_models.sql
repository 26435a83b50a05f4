-- Up to where read models are: written in the transaction that changes them.
CREATE TABLE message_store.read_models (
  name text PRIMARY KEY,
  global_position bigint NOT NULL
);
