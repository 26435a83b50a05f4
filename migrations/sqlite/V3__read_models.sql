-- Up to where read models are: written in the transaction that changes them.
CREATE TABLE read_models (
  name TEXT PRIMARY KEY,
  global_position INTEGER NOT NULL
) STRICT;
