-- The versions of read models. `read_models` has the position of each, under `position_name`. A position without a row here is that of
-- version 1, which serves.
CREATE TABLE message_store.read_model_versions (
  name text NOT NULL,
  version integer NOT NULL,
  position_name text NOT NULL UNIQUE,
  state text NOT NULL,
  effects_after bigint NOT NULL DEFAULT 0,
  failure text,
  PRIMARY KEY (name, version)
);

-- Readers see one version.
CREATE UNIQUE INDEX read_model_versions_serving ON message_store.read_model_versions (name) WHERE state = 'serving';

-- The messages that a version could not apply and has passed over.
CREATE TABLE message_store.read_model_skipped (
  name text NOT NULL,
  version integer NOT NULL,
  global_position bigint NOT NULL,
  message_id uuid NOT NULL,
  stream_name text NOT NULL,
  position bigint NOT NULL,
  message_type text NOT NULL,
  error text NOT NULL,
  skipped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, version, global_position)
);
