-- The global position up to which each read model has applied messages. The transaction that changes the read model saves it.
CREATE TABLE message_store.read_models (
  name text PRIMARY KEY,
  global_position bigint NOT NULL
);
