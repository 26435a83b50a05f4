-- The problem of the sequence of global positions; NULL if there is none. The comparison is safe while writers work:
-- every position that the statement sees in the table was drawn before the statement began.
SELECT CASE
  WHEN s.last_value < h.position THEN format(
    'it is at %s, and the table is at %s: new messages would get positions that are taken or passed. Stop all writers, then: SELECT setval(''message_store.messages_global_position_seq'', %s)',
    s.last_value, h.position, h.position)
END
FROM (SELECT max(global_position) AS position FROM message_store.messages) AS h
CROSS JOIN message_store.messages_global_position_seq s
