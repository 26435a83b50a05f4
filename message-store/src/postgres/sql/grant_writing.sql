-- The rights that a role needs to write messages, to save positions of read models, to be a member of groups, to set and fire timers,
-- to keep snapshots, and to report.
GRANT EXECUTE ON FUNCTION message_store.write_message, message_store.append_message, message_store.append_messages,
  message_store.append_messages_unless,
  message_store.place_messages, message_store.decide_appends,
  message_store.publish_first_bound, message_store.publish_later_bound, message_store.lock_categories,
  message_store.lock_free_categories, message_store.find_key,
  message_store.take_key, message_store.lease_key, message_store.release_key, message_store.sweep,
  message_store.assert_slot, message_store.change_timers, message_store.fire_timers
TO {role};
GRANT SELECT, INSERT, UPDATE ON message_store.read_models, message_store.read_model_versions, message_store.group_slots TO {role};
GRANT SELECT, INSERT, DELETE ON message_store.read_model_skipped TO {role};
GRANT SELECT ON message_store.timers TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON message_store.group_members, message_store.snapshots,
  message_store.service_reports TO {role};
