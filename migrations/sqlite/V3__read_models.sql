-- The global position up to which each read model has applied messages. The transaction that changes the read model saves it.
CREATE TABLE read_models (
  name TEXT PRIMARY KEY,
  global_position INTEGER NOT NULL
) STRICT;
