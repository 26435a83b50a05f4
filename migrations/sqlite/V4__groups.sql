-- Elastic consumer groups: the members, and the slots that they divide among themselves. Times are microseconds since 1970, UTC.
--
-- A member owns its slots while its lease lasts. Each change of the owner begins a new epoch of the slot, and every write of an
-- owner names the epoch.
CREATE TABLE group_members (
  group_name TEXT NOT NULL,
  name TEXT NOT NULL,
  id BLOB NOT NULL,
  lease_until INTEGER NOT NULL,
  wants_slots INTEGER NOT NULL,
  PRIMARY KEY (group_name, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_slots (
  group_name TEXT NOT NULL,
  number INTEGER NOT NULL,
  owner BLOB,
  epoch INTEGER NOT NULL DEFAULT 0,
  progress TEXT,
  saves INTEGER NOT NULL DEFAULT 0,
  changed_at INTEGER NOT NULL,
  saved_at INTEGER,
  PRIMARY KEY (group_name, number)
) STRICT, WITHOUT ROWID;
