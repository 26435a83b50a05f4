-- The global position up to which each read model has applied messages. The transaction that changes the read model saves it.
CREATE TABLE view_positions (
  view TEXT PRIMARY KEY,
  global_position INTEGER NOT NULL
) STRICT;
