SELECT CASE
  WHEN seqcache > 1 THEN format(
    'each session draws %s positions in advance, so that they are not in order. ALTER SEQUENCE message_store.messages_global_position_seq CACHE 1', seqcache)
  WHEN seqincrement <> 1 OR seqcycle THEN 'it does not count up by one'
END
FROM pg_sequence
WHERE seqrelid = to_regclass('message_store.messages_global_position_seq')
