-- Elastic consumer groups: the members, and the slots that they divide among themselves.
--
-- A member owns its slots while its lease lasts, by this database's clock. Each change of the owner begins a new epoch of the slot,
-- and every write of an owner names the epoch.

CREATE TABLE message_store.group_members (
  group_name text NOT NULL,
  name text NOT NULL,
  id uuid NOT NULL,
  lease_until timestamptz NOT NULL,
  wants_slots boolean NOT NULL,
  PRIMARY KEY (group_name, name)
);

CREATE TABLE message_store.group_slots (
  group_name text NOT NULL,
  number integer NOT NULL,
  owner uuid,
  epoch bigint NOT NULL DEFAULT 0,
  progress jsonb,
  saves bigint NOT NULL DEFAULT 0,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  saved_at timestamptz,
  PRIMARY KEY (group_name, number)
) WITH (fillfactor = 50);
