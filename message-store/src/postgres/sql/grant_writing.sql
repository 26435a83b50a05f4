-- The rights that a role needs to write messages and to save positions of read models.
GRANT EXECUTE ON FUNCTION message_store.write_message, message_store.append_message, message_store.append_messages,
  message_store.place_messages, message_store.decide_appends,
  message_store.publish_first_bound, message_store.publish_later_bound, message_store.lock_categories,
  message_store.lock_free_categories, message_store.find_key,
  message_store.take_key, message_store.lease_key, message_store.release_key, message_store.sweep
TO {role};
GRANT SELECT, INSERT, UPDATE ON message_store.read_models TO {role};
