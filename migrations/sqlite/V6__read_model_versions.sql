-- The versions of read models. `read_models` has the position of each, under `position_name`. A position without a row here is that of
-- version 1, which serves.
CREATE TABLE read_model_versions (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  position_name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  effects_after INTEGER NOT NULL DEFAULT 0,
  failure TEXT,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- Readers see one version.
CREATE UNIQUE INDEX read_model_versions_serving ON read_model_versions (name) WHERE state = 'serving';

-- The messages that a version could not apply and has passed over. Times are microseconds since 1970, UTC.
CREATE TABLE read_model_skipped (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  global_position INTEGER NOT NULL,
  message_id TEXT NOT NULL,
  stream_name TEXT NOT NULL,
  position INTEGER NOT NULL,
  message_type TEXT NOT NULL,
  error TEXT NOT NULL,
  skipped_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
  PRIMARY KEY (name, version, global_position)
) STRICT, WITHOUT ROWID;
