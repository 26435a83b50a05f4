-- Up to where read models are: written in the transaction that changes them.
CREATE TABLE view_positions (
  view TEXT PRIMARY KEY,
  global_position INTEGER NOT NULL
) STRICT;
