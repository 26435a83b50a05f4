-- The global position up to which each read model has applied messages. The transaction that changes the read model saves it.
CREATE TABLE message_store.view_positions (
  view text PRIMARY KEY,
  global_position bigint NOT NULL
);
